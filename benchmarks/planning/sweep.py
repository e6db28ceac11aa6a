"""A grid of profiles: a base, and axes along which some of its keys change. Each point is a profile of its own.

A sweep is a TOML file in `profiles/sweeps/`, as a profile with a table `sweep`:

    base = "embedded"
    methods = ["xent", "cat-xent"]
    [sweep]
    differences = [["cat-xent", "xent"]]      # of methods, at each point
    regression = ["unpredictable", "capacity"]  # what the differences are a linear function of
    [sweep.axes.unpredictable]
    "data.noise" = [0.0, 0.3]
    [sweep.axes.width]
    "small.width" = [24, 48]
    "small.feedforward" = [48, 96]
"""

import copy
import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.planning import profile as profiles
from benchmarks.planning import sizes
from benchmarks.planning.profile import Profile
from cat_keras.errors import CatKerasError, unknown_name
from cat_keras.storage.untrusted import plain_name

POINTS = 1000  # the largest number of points
MEASURED = ("headroom", "live", "auroc", "capacity")  # of each point, see `report.numbers.sweep`
KEYS = ("axes", "differences", "regression")


@dataclass(frozen=True)
class Point:
    """One point: its place on every axis, and the profile there, named after it."""

    axes: dict[str, object]
    profile: Profile

    @property
    def name(self) -> str:
        return self.profile.name

    @property
    def parameters(self) -> dict[str, int]:
        """Numbers of parameters of the large and of the small model."""
        vocabulary = self.profile.data.vocabulary_size
        return {role: sizes.of(self.profile.model_of(role), vocabulary).parameters for role in ("large", "small")}


@dataclass(frozen=True)
class Sweep:
    """A grid of profiles.

    Attributes:
        name: of the file. points: all of them, the last axis running fastest. differences: pairs of methods whose
            differences are of interest, first minus second. regression: what these are a linear function of: axes, and
            measures of a point (`MEASURED`).
    """

    name: str
    points: tuple[Point, ...]
    differences: tuple[tuple[str, str], ...]
    regression: tuple[str, ...] = ()

    def share(self, index: int, count: int) -> range:
        """Numbers of the points of one of `count` shares: neighbours, which have most of their models in common."""
        first, behind = (-(-place * len(self.points) // count) for place in (index, index + 1))
        return range(first, behind)

    def validation(self, point: Point) -> Profile:
        """The profile of what is measured on validation data: of the methods that others are compared with."""
        data = point.profile.data.model_copy(update={"evaluate": "validation"})
        versus = {versus for _, versus in self.differences}
        methods = tuple(method for method in point.profile.methods if method in versus)
        return point.profile.model_copy(update={"data": data, "methods": methods})


def names() -> list[str]:
    """Names of the sweeps in `profiles/sweeps/`."""
    return sorted(path.stem for path in profiles.SWEEPS.glob("*.toml"))


def read(name: str, changes: dict | None = None) -> Sweep:
    """A sweep by name or by path of a TOML file, with some keys of its base changed at all points.

    Raises:
        CatKerasError: no such file, no axes, an axis or a point that is none, or whatever is wrong with a profile.
    """
    path = profiles.path_of(name)
    values = profiles.toml(path, name)
    table = values.pop("sweep", None)
    if not isinstance(table, dict) or not isinstance(table.get("axes"), dict) or not table["axes"]:
        raise CatKerasError(
            f"A sweep has axes, [sweep.axes.NAME]. Received: {path} without any. A single profile is for "
            f"`python -m benchmarks run`; sweeps are {', '.join(names())}"
        )
    if unknown := [key for key in table if key not in KEYS]:
        raise unknown_name("key of sweep", unknown[0], KEYS)
    points = tuple(_points(plain_name("run", path.stem), values, _axes(table["axes"]), changes or {}))
    return Sweep(path.stem, points, _differences(table, points), _regression(table))


def share_of(text: str) -> tuple[int, int]:
    """`"0/4"` → (0, 4): the first of four shares of the points.

    Raises:
        CatKerasError: it is not written that way, or there is no such share.
    """
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    index, count = map(int, match.groups()) if match else (0, 0)
    if index >= count:
        raise CatKerasError(f"A share is i/n, the first one 0/n and the last one n-1/n. Received: {text!r}")
    return index, count


def _axes(tables: dict) -> dict[str, list[dict[str, object]]]:
    """Axis → what changes at each of its values; the first key's value names it."""
    axes = {}
    for name, keys in tables.items():
        if not isinstance(keys, dict) or not keys or not all(isinstance(v, list) and v for v in keys.values()):
            raise CatKerasError(f"An axis has a list of values for each of its keys. Received: sweep.axes.{name}")
        if len({len(values) for values in keys.values()}) > 1:
            lengths = ", ".join(f"{key} {len(values)}" for key, values in keys.items())
            raise CatKerasError(f"The keys of an axis have as many values each. Received: sweep.axes.{name}: {lengths}")
        axes[name] = [dict(zip(keys, values, strict=True)) for values in zip(*keys.values(), strict=True)]
        labels = [_label(place) for place in axes[name]]
        if len(set(labels)) < len(labels):
            raise CatKerasError(f"The values of an axis differ. Received: sweep.axes.{name}: {', '.join(labels)}")
    if (count := math.prod(map(len, axes.values()))) > POINTS:
        raise CatKerasError(f"A sweep has at most {POINTS:,} points. Received: {count:,}")
    return axes


def _label(place: dict[str, object]) -> str:
    value = next(iter(place.values()))
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _points(name: str, values: dict, axes: dict, changes: dict) -> Iterator[Point]:
    for places in itertools.product(*axes.values()):
        labels = {axis: _label(place) for axis, place in zip(axes, places, strict=True)}
        point = plain_name("run", ",".join(f"{axis}={label}" for axis, label in labels.items()))
        moved = {key: value for place in places for key, value in place.items()}
        made = profiles.of_values(copy.deepcopy(values) | {"name": point}, changes | moved)
        yield Point({axis: next(iter(place.values())) for axis, place in zip(axes, places, strict=True)}, made)


def _differences(table: dict, points: tuple[Point, ...]) -> tuple[tuple[str, str], ...]:
    pairs = table.get("differences", [["cat-xent", "xent"]])
    if not isinstance(pairs, list) or not all(isinstance(p, list) and len(p) == 2 for p in pairs) or not pairs:
        raise CatKerasError(f'sweep.differences are pairs, [["cat-xent", "xent"]]. Received: {pairs!r:.80}')
    every = list(dict.fromkeys(method for point in points for method in point.profile.methods))
    for method in (method for pair in pairs for method in pair):
        if method not in every:
            raise unknown_name("method of the sweep", str(method), every)
    return tuple((str(first), str(second)) for first, second in pairs)


def _regression(table: dict) -> tuple[str, ...]:
    chosen, known = table.get("regression", []), (*table["axes"], *MEASURED)
    if not isinstance(chosen, list):
        raise CatKerasError(f"sweep.regression is a list of axes and measures. Received: {chosen!r:.80}")
    for name in chosen:
        if name not in known:
            raise unknown_name("axis or measure", str(name), known)
    return tuple(chosen)
