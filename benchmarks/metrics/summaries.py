"""The metric of summaries, computed by rouge-score (Lin, 2004, https://aclanthology.org/W04-1013)."""

import functools
from collections.abc import Sequence
from importlib.metadata import version

from benchmarks.metrics.metric import Metric, percent
from cat_keras.data.records import Example


class Rouge(Metric):
    """ROUGE-1, ROUGE-2 and ROUGE-Lsum (F-measure, no stemming): the best over the references, averaged over answers."""

    name = "rouge"
    per_example_name = "ROUGE-Lsum"
    kinds = ("rouge1", "rouge2", "rougeLsum")

    def per_example(self, text: str, example: Example) -> float:
        return self._scores(text, example)["rougeLsum"]

    def statistics(self, texts: Sequence[str], examples: Sequence[Example]) -> list[tuple[float, ...]]:
        scores = [self._scores(text, example) for text, example in zip(texts, examples, strict=True)]
        return [tuple(score[kind] for kind in self.kinds) for score in scores]

    def combine(self, *columns: Sequence[float]) -> dict[str, float]:
        return {kind: percent(column) for kind, column in zip(self.kinds, columns, strict=True)}

    def signature(self, examples: Sequence[Example]) -> str:
        return f"rouge-score stemmer:no|refs:max|version:{version('rouge-score')}"

    def _scores(self, text: str, example: Example) -> dict[str, float]:
        best = _scorer(self.kinds).score_multi(list(example.references), text)
        return {kind: best[kind].fmeasure for kind in self.kinds}


@functools.cache
def _scorer(kinds: tuple[str, ...]):
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(list(kinds), tokenizer=_Tokenizer())


class _Tokenizer:
    """rouge-score's tokenizer without stemming, with a memory: it is asked for a reference again for every system."""

    def __init__(self):
        from rouge_score.tokenize import tokenize

        self.tokenize = functools.lru_cache(maxsize=1 << 14)(lambda text: tokenize(text, None))
