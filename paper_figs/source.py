"""One folder of results, read once and only when a figure asks."""

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from benchmarks.report.numbers import alignment, summary
from benchmarks.report.reading import load
from cat_keras.errors import CatKerasError
from cat_keras.storage import store

PREDICTIONS = ("examples.parquet", "manifest.json", "predictions.parquet")


class Source:
    """A folder of kept results, see `benchmarks.report.reading.load`.

    Args:
        folder: holds at least a `manifest.json`. name: what figures call it.
        aside: whether only figures that compare runs show it, and none shows it alone.
    """

    def __init__(self, folder: Path, name: str = "", aside: bool = False):
        self.folder, self.name, self.aside = Path(folder), name or Path(folder).name, aside

    def has(self, *files: str) -> bool:
        return all((self.folder / file).is_file() for file in files)

    @cached_property
    def manifest(self) -> dict:
        return store.read_manifest(self.folder / "manifest.json")

    @property
    def settings(self) -> dict:
        """The profile as it was run."""
        return self.manifest.get("settings") or {}

    @property
    def imported(self) -> bool:
        """Whether the models answered elsewhere, so that nothing is known of how they were trained."""
        return "imported" in self.manifest

    @cached_property
    def run(self) -> load.Run:
        return load.load(self.folder)

    @cached_property
    def numbers(self) -> summary.Summary:
        """Every number of the report. Its bootstrap makes it the most expensive thing that a figure can ask for."""
        return summary.summarize(self.run)

    @cached_property
    def aligned(self) -> dict[str, alignment.Aligned]:
        """Bias–variance alignment of the methods that have five seeds or more."""
        return alignment.by_method(self.run)

    def json(self, file: str):
        return store.read_json(self.folder / file)

    def hashes(self, files: Iterable[str]) -> dict[str, str]:
        """`folder/file` → sha256 of each file."""
        return {f"{self.name}/{file}": store.sha256_file(self.folder / file) for file in files}


def sources(results: Path) -> list[Source]:
    """Every folder of results, by name; those in a folder within `results` are `aside`.

    Raises:
        CatKerasError: no such folder, or none with a manifest in it.
    """
    results = Path(results)
    folders = [path.parent.relative_to(results) for path in sorted(results.rglob("manifest.json"))]
    if not folders:
        raise CatKerasError(
            f"Figures are drawn from folders that hold a manifest.json. Received: {results}, which has none. "
            "Run a profile, and keep its results there"
        )
    return [Source(results / name, name.as_posix(), aside=len(name.parts) > 1) for name in folders]
