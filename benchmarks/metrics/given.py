"""The metric of imported answers: they were judged elsewhere, and their quality is all there is."""

from collections.abc import Sequence

from benchmarks.metrics.metric import Metric, percent
from cat_keras.data.records import Example
from cat_keras.errors import CatKerasError


class Given(Metric):
    """The mean of the qualities that came with the answers. It reads no text, so it cannot judge a new answer."""

    name = "given"
    per_example_name = "quality as given"

    def per_example(self, text: str, example: Example) -> float:
        raise CatKerasError(
            f"Imported answers keep the quality that they came with. Received: a new answer to {example.id!r}. "
            "Judge it where the others were judged, and import it"
        )

    def statistics(self, texts: Sequence[str], examples: Sequence[Example]) -> list[tuple[float, ...]]:
        return [(self.per_example(text, example),) for text, example in zip(texts, examples, strict=True)]

    def combine(self, *columns: Sequence[float]) -> dict[str, float]:
        return {"score": percent(columns[0])}
