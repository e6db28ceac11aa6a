"""Numbers that the text states with an interval are those of the committed results."""

import csv
import re
from functools import cache
from pathlib import Path

import pytest

from benchmarks.report.tables.render import signed

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"
SCALES = (1, 100)  # s_d as it is; qualities in points and costs in per cent
# Files of results with intervals: columns with their ends, such as `sharing` or `audc_minus_xent_mean`, and `PLAIN`.
FILES = (
    "changes",
    "rules",
    "routing",
    "alignment",
    "asking",
    "elastic",
    "chains",
    "rejection",
    "comparison",
    "retrieval",
)
FILES += ("thresholds", "load", "pairs", "correlations", "points", "regression", "forecast", "best-rules")
PLAIN = (("estimate", "low", "high"), ("change %", "low", "high"), ("difference", "low", "high"))
NUMBER = r"([+−-]\d+(?:\.\d+)?)"
STATED = re.compile(rf"{NUMBER}(?: %| points?)? \[{NUMBER}, {NUMBER}\]")


def stated(text: str) -> list[tuple[str, str, str]]:
    """(estimate, low, high) as written, with ASCII signs; a line may end within one."""
    return [tuple(number.replace("−", "-") for number in found) for found in STATED.findall(" ".join(text.split()))]


def intervals(columns: list[str]) -> list[tuple[str, str, str]]:
    """The columns of a file that are an estimate and both ends of its interval."""
    found = [keys for keys in PLAIN if {*keys} <= {*columns}]
    for low in columns:
        name = low.removesuffix("_low")
        estimate = next((c for c in (name, f"{name}_mean") if c in columns and name != low), None)
        found += [(estimate, low, f"{name}_high")] if estimate else []
    return found


@cache
def measured(digits: int) -> set[tuple[str, str, str]]:
    """Every number that a kept result gives an interval of; as tables show it, in each scale."""
    found = set()
    for name in FILES:
        for path in RESULTS.rglob(f"{name}.csv"):
            rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
            for keys in intervals(list(rows[0])) if rows else ():
                for row in rows:
                    values = [float(row[key] or "nan") for key in keys]
                    found |= {tuple(signed(scale * value, digits) for value in values) for scale in SCALES}
    return found


@pytest.mark.parametrize(
    "name", ["README.md", "docs/index.md", "docs/results.md", "docs/systems.md", "results/README.md"]
)
def test_stated_changes_are_measured_ones(name):
    for claim in stated((ROOT / name).read_text(encoding="utf-8")):
        digits = len(claim[0].partition(".")[2])
        assert claim in measured(digits), f"{name} states {claim[0]} [{claim[1]}, {claim[2]}], which no results have"


def test_claims_are_found_in_text():
    text = "s_d +0.15 [+0.10, +0.20], cost −11.5 % [−19.5, −4.2] and +1\n  point [-2,\n  +3]; not 3 [4, 5] or [+1, +2]"
    assert stated(text) == [("+0.15", "+0.10", "+0.20"), ("-11.5", "-19.5", "-4.2"), ("+1", "-2", "+3")]
    assert ("+0.15", "+0.10", "+0.20") in measured(2) and ("-11.5", "-19.5", "-4.2") in measured(1)
    assert ("+0.15", "+0.16", "+0.17") not in measured(2)  # an estimate lies within its interval
