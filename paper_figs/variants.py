"""Which objective, with which arguments, each method of a run was; and which runs differ in nothing but that."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.report.numbers.summary import Row
from paper_figs.source import Source

# The arguments of each objective unless it is given others; `losses.OBJECTIVES` says so too, but loads Keras.
DEFAULTS = {
    "xent": {"mask": "all", "w": 1.0},
    "dist": {"mask": "all", "w": 0.5},
    "cat-xent": {"mask": "either", "w": 1.0},
    "cat-dist": {"mask": "either", "w": 0.5},
    "gatekeeper": {},
    "rho-1": {"mask": "excess", "w": 1.0},
    "defer-token": {"helps": "gain"},
}
NAMES = ("name", "methods", "objectives", "variants", "arguments")  # settings that say what methods there are


@dataclass(frozen=True)
class Variant:
    """A method of a run: an objective with all its arguments."""

    source: Source
    method: str
    objective: str
    arguments: dict

    @property
    def plain(self) -> bool:
        """Whether it is the objective without the hybrids' additions."""
        return not any(self.arguments.get(name) for name in ("floor", "beta")) and self.arguments.get("k", 1) == 1

    @property
    def row(self) -> Row:
        return self.source.numbers.row(self.method)


def variants(sources: Iterable[Source]) -> list[Variant]:
    """Every method of some runs.

    A manifest names them under `objectives`, `{method: {"objective": …, "arguments": {…}}}`; without that entry, a
    method is the objective of its name with the profile's arguments for it.
    """
    every_variant = []
    for source in sources:
        named = source.manifest.get("objectives") or {
            method: {"objective": method, "arguments": source.settings.get("arguments", {}).get(method, {})}
            for method in source.manifest.get("methods", ())
        }
        for method, how in named.items():
            arguments = DEFAULTS.get(how["objective"], {}) | how.get("arguments", {})
            every_variant.append(Variant(source, method, how["objective"], arguments))
    return every_variant


def families(
    sources: Sequence[Source], ignoring: Iterable[str] = NAMES, aside: bool = False
) -> list[tuple[Source, ...]]:
    """Groups of sources with predictions whose settings are equal but for the keys `ignoring`.

    Sources without settings are left out. In a group, sources that are not aside come first; a group of none but
    sources aside is left out unless `aside`.
    """
    groups: dict[str, list[Source]] = {}
    for source in sources:
        if source.settings and source.has("predictions.parquet"):
            same = {key: value for key, value in source.settings.items() if key not in ignoring}
            groups.setdefault(json.dumps(same, sort_keys=True), []).append(source)
    ordered = (sorted(group, key=lambda source: source.aside) for group in groups.values())
    return [tuple(group) for group in ordered if aside or not group[0].aside]


def distinct(candidates: Iterable[Variant], key: str) -> dict[object, Variant]:
    """Value of an argument → the first variant that has it, sorted by value."""
    first: dict[object, Variant] = {}
    for variant in candidates:
        if key in variant.arguments:
            first.setdefault(variant.arguments[key], variant)
    return dict(sorted(first.items()))
