"""Reports where a share has no whole: costs that are 0 or not known, qualities that are 0 or all alike, one example."""

import math
import re

import numpy as np
import pyarrow.parquet
import pytest

import tests.runs
from benchmarks import report
from benchmarks.keeping import keep, verify
from benchmarks.report.numbers import changes, costs, scopes, summary
from benchmarks.report.page.contents import Contents
from benchmarks.report.reading import load
from benchmarks.report.tables import breakdown_tables, main_tables
from cat_keras.errors import CatKerasError
from cat_keras.evaluation.curves import Outcomes, deferral_curve
from cat_keras.storage import store
from paper_figs.figures import quality_cost, sizes
from paper_figs.source import Source

TASKS = ("sst2", "embedded_translate")


def changed(folder, n=12, tasks=TASKS, **columns):
    """A run in which columns of the predictions have other values, functions of (model, old value)."""
    tests.runs.full(folder, tasks=tasks, n=n)
    path = folder / "predictions.parquet"
    rows = pyarrow.parquet.read_table(path).to_pylist()
    rows = [row | {name: value(row["model"], row[name]) for name, value in columns.items()} for row in rows]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    manifest = store.read_manifest(folder / "manifest.json")
    store.write_json(folder / "manifest.json", manifest | {"files": {}})
    return folder


def of(model, value, other=None):
    """Another value for one model, or for both."""
    return lambda name, old: value if name == model or not model else old if other is None else other


CASES = {
    "free large model": {"flops": of("large", 0.0)},
    "free small model": {"flops": of("small", 0.0)},
    "free models": {"flops": of("", 0.0)},
    "unknown large model": {"flops": of("large", math.nan)},
    "unknown small model": {"flops": of("small", math.nan)},
    "unknown models": {"flops": of("", math.nan)},
    "no right answer": {"quality": of("", 0.0)},
    "all right": {"quality": of("", 1.0)},
    "no time": {"seconds": of("", 0.0)},
    "no tokens": {"n_prompt": of("", 0), "n_answer": of("", 0)},
}


def check(files):
    for name, content in files.items():
        if name.endswith((".md", ".html")):
            assert not re.search(r"\b(nan|inf)\b ?%?(?![a-z_-])", strip(content.decode())), name


def strip(page: str) -> str:
    return re.sub(r"(?s)<(script|style).*?</\1>", "", page).lower()


QUICK = ("free models", "unknown small model", "no right answer")


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.long) for n in CASES])
def test_a_report_needs_no_denominator(name, tmp_path):
    run = load.load(changed(tmp_path / "run", **CASES[name]))
    check(report.files(run, costs.prices("1", "0")))


def test_a_report_of_one_example_and_one_task(tmp_path):
    run = load.load(changed(tmp_path / "run", n=2, tasks=("sst2",)))
    check(report.files(run, costs.prices("0", "0")))


@pytest.mark.parametrize(("small", "large"), [("1", "0"), ("0", "0"), ("0", "1"), ("0/1", "0/0")])
def test_a_price_may_be_nothing(small, large, tmp_path):
    run = load.load(tests.runs.full(tmp_path / "run", tasks=TASKS, n=12))
    contents = Contents(run, costs.prices(small, large))
    check(contents.files(drawn=False))
    curves = scopes.Curves(contents.numbers, costs.prices(small, large))
    table = breakdown_tables.costs_table(contents.numbers, curves, scopes.averages(contents.numbers)[0])
    alone = table.rows[-1][table.columns.index("price of a million queries")]
    assert alone == "0" if large.startswith("0") else alone.endswith("(100%)")


def test_unknown_flops_are_said_and_nothing_else_changes(tmp_path):
    known = load.load(changed(tmp_path / "known", flops=lambda model, old: old))
    unknown = load.load(changed(tmp_path / "unknown", **CASES["unknown large model"]))
    one, two = summary.summarize(known), summary.summarize(unknown)
    for before, after in zip(one.rows, two.rows, strict=True):
        assert (before.audc, before.s_d, before.interval) == (after.audc, after.s_d, after.interval)
        assert math.isnan(after.cost.mean) and not math.isnan(before.cost.mean)
    notes = main_tables.main_table(two, detail=True).notes
    assert any("FLOPs are not known" in note for note in notes)
    assert not any("FLOPs are not known" in note for note in main_tables.main_table(one, detail=True).notes)
    assert [kind.name for kind in costs.known(unknown)] == ["calls", "seconds"]
    made = changes.Changes(two, scopes.averages(two))
    finite = {c.measure for c in made.versus_baseline.values() if np.isfinite(c.estimate)}
    assert finite == {"s_d", "audc", "small", "quality_25"}
    assert all(c.unreached == 0 for c in made.versus_baseline.values() if c.measure in changes.UNREACHED)
    assert np.isnan(made.needed("xent")).all()


def test_flops_are_known_of_a_whole_cell_or_of_none(tmp_path):
    values = iter([math.nan, *[1.0] * 10_000])
    folder = changed(tmp_path / "run", flops=lambda model, old: next(values))
    with pytest.raises(CatKerasError, match="flops must be in"):
        load.load(folder)


def test_unknown_flops_are_kept(tmp_path):
    folder = changed(tmp_path / "run", **CASES["unknown models"])
    load.load_all([folder, folder])
    keep.keep(folder, tmp_path / "kept")
    assert np.isnan(load.load(tmp_path / "kept").large["sst2"]["flops"]).all()
    assert verify.verify(tmp_path / "kept").problems == ()


@pytest.mark.parametrize("name", ["free models", "free large model", "unknown large model", "all right"])
def test_a_figure_needs_no_denominator(name, tmp_path):
    source = Source(changed(tmp_path / "run", **CASES[name]))
    figure = quality_cost.draw(source)
    figure.savefig(tmp_path / "figure.png")
    said = any("FLOPs not known" in text.get_text() for axes in figure.axes for text in axes.texts)
    assert said == (name != "all right") == math.isnan(sizes._ratio(source))


def test_a_curve_without_costs_has_every_other_number():
    score, small, large = [0.1, 0.5, 0.2], [0, 1, 0], [1, 1, 0]
    curve = deferral_curve(score, small, large, 1.0, math.nan)
    known = deferral_curve(score, small, large)
    assert not curve.has_cost and known.has_cost
    assert (curve.audc, curve.apgr, curve.peak) == (known.audc, known.apgr, known.peak)
    over_cost = (curve.qnc, curve.aiq(), curve.aiq(0, 1), curve.cost_at_quality(0.5), curve.quality_at_cost(1.0))
    assert np.isnan(over_cost).all()
    with pytest.raises(CatKerasError, match="cost_large must be finite"):
        Outcomes(score, small, large, 1.0, [math.nan, 1.0, 1.0])


def test_a_share_of_nothing_is_none():
    assert costs.share(1.0, 4.0) == 0.25 and costs.share_text(1.0, 4.0) == " (25%)"
    assert math.isnan(costs.share(1.0, 0.0)) and math.isnan(costs.share(1.0, math.nan))
    assert costs.share_text(1.0, 0.0) == "" and np.isnan(costs.share(np.ones(2), 0.0)).all()
