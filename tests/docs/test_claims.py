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
KEYS = {
    "changes.csv": ("estimate", "low", "high"),
    "rules.csv": tuple(f"audc_minus_xent_{part}" for part in ("mean", "low", "high")),
    "routing.csv": tuple(f"minus_cascade_{part}" for part in ("mean", "low", "high")),
    "alignment.csv": ("slope_right", "slope_right_low", "slope_right_high"),
    "asking.csv": ("estimate", "low", "high"),
    "thresholds.csv": ("change %", "low", "high"),
}
NUMBER = r"([+−-]\d+(?:\.\d+)?)"
STATED = re.compile(rf"{NUMBER}(?: %| points?)? \[{NUMBER}, {NUMBER}\]")


def stated(text: str) -> list[tuple[str, str, str]]:
    """(estimate, low, high) as written, with ASCII signs; a line may end within one."""
    return [tuple(number.replace("−", "-") for number in found) for found in STATED.findall(" ".join(text.split()))]


@cache
def measured(digits: int) -> set[tuple[str, str, str]]:
    """Every change and every slope that a kept result gives an interval of; as tables show it, in each scale."""
    return {
        tuple(signed(scale * float(row.get(key) or "nan"), digits) for key in keys)
        for name, keys in KEYS.items()
        for path in RESULTS.rglob(name)
        for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines())
        for scale in SCALES
    }


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
