"""Two runs side by side: differences by hand, intervals, and what may not be compared."""

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks import cli, report
from benchmarks.keeping import compare, keep
from benchmarks.report.numbers import comparison, summary
from benchmarks.report.reading import load
from cat_keras.errors import CatKerasError
from cat_keras.storage import store
from tests import runs

TASKS = ("sst2", "xsum", "embedded_translate")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("compare")


@pytest.fixture(scope="module")
def folders(place):
    return runs.full(place / "a", TASKS, n=60), runs.full(place / "b", TASKS, n=60, better=0.2, seed=1)


@pytest.fixture(scope="module")
def found(folders):
    return compare.compare(*map(load.load, folders))


def line(found, task, method="xent"):
    return next(line for line in found.lines if (line.task, line.method) == (task, method))


def test_numbers_are_those_of_either_report(found, folders):
    for i, folder in enumerate(folders):
        numbers = summary.summarize(load.load(folder))
        for method in runs.METHODS:
            row, own = numbers.row(method), line(found, comparison.ALL, method)
            assert own.audc[i] == pytest.approx(row.audc.mean)
            assert own.alone[i] == pytest.approx(row.quality[0].mean)
            assert own.quarter[i] == pytest.approx(row.quality[1].mean)
            assert own.s_d[i] == pytest.approx(row.s_d.mean)
        assert found.large[comparison.ALL][i] == pytest.approx(numbers.large_quality)


def test_differences_and_their_intervals(found):
    assert len(found.lines) == (1 + len(TASKS)) * len(runs.METHODS)
    for each in found.lines:
        for pair, (estimate, low, high) in ((each.audc, each.audc_difference), (each.alone, each.alone_difference)):
            assert estimate == pytest.approx(pair[1] - pair[0])
            assert low <= estimate <= high
    for name, (estimate, low, high) in found.large_difference.items():
        a, b = found.large[name]
        assert estimate == pytest.approx(b - a, abs=1e-12) and low <= estimate <= high
    better = line(found, comparison.ALL).alone_difference
    assert better.low > 0  # 20 points of skill on 180 examples
    # As wide as a mean of 60 paired differences per task can be, but not nothing.
    assert 0.01 < better.high - better.low < 0.4


def test_pairing_narrows_the_interval(folders):
    a = load.load(folders[0])
    same = compare.compare(a, a)
    assert all(line.audc_difference == line.alone_difference == (0, 0, 0) for line in same.lines)


def test_other_examples_are_resampled_apart(folders, place, found):
    other = runs.full(place / "other", TASKS, n=60, better=0.2, seed=1, ids="validation")
    apart = compare.compare(load.load(folders[0]), load.load(other))
    assert "Other examples in either run, so that these are resampled apart: sst2, xsum" in apart.notes[0]
    widths = [np.diff(line(each, "xsum").alone_difference[1:])[0] for each in (apart, found)]
    assert widths[0] != widths[1] and 0.02 < widths[0] < 0.4
    assert line(apart, "xsum").alone == line(found, "xsum").alone


def test_kept_results_compare_as_the_run_itself(folders, place, found, monkeypatch):
    monkeypatch.setattr(report, "files", runs.quick_report)
    kept = keep.keep(folders[0], place / "kept")
    assert compare.compare(load.load(kept), load.load(folders[1])).lines == found.lines


def test_only_what_both_have(folders, place):
    less = runs.full(place / "less", ("sst2", "cb"), ("xent", "dist"), (0,), n=60, seed=2)
    few = compare.compare(load.load(folders[0]), load.load(less))
    assert {line.method for line in few.lines} == {"xent"} and set(few.large) == {comparison.ALL, "sst2"}
    assert any("only A has it complete: xsum, embedded_translate, cat-xent" in note for note in few.notes)
    assert any("only B has it complete: cb, dist" in note for note in few.notes)
    nothing = runs.full(place / "nothing", ("cb",), ("xent",), (0,), n=8)
    with pytest.raises(CatKerasError, match="methods and tasks that all have complete"):
        compare.compare(load.load(folders[0]), load.load(nothing))


def test_a_task_that_is_another_one_is_refused(folders, place):
    changed = runs.full(place / "changed", TASKS, n=60, better=0.2, seed=1)
    manifest = store.read_json(changed / "manifest.json")
    manifest["task_identities"]["xsum"]["templates"] = ["Shorter:\n"]
    store.write_json(changed / "manifest.json", manifest)
    a, b = map(load.load, (folders[0], changed))
    with pytest.raises(CatKerasError, match=r"not in xsum \(templates\).*--anyway"):
        compare.compare(a, b)
    assert "Not the same task in both runs: xsum (templates)." in compare.compare(a, b, anyway=True).notes


def test_several_trainings_of_either_side(place, folders):
    """The means are those of the runs one by one, and an interval over trainings is not that of one of them."""
    a, b = ([runs.full(place / f"{side}{i}", TASKS, seeds=(i,), n=60, better=better, seed=10 * i + j) for i in range(3)]
            for j, (side, better) in enumerate((("plain", 0.0), ("helped", 0.2))))  # fmt: skip
    many = compare.compare(load.load_all(a), load.load_all(b))
    singly = [compare.compare(load.load(one), load.load(other)) for one, other in zip(a, b, strict=True)]
    for name in (comparison.ALL, *TASKS):
        for method in runs.METHODS:
            means = np.mean([line(each, name, method).audc for each in singly], axis=0)
            assert line(many, name, method).audc == pytest.approx(means)
        assert many.large[name] == pytest.approx(np.mean([each.large[name] for each in singly], axis=0))
    assert many.facts["sides"][0] == {"name": "plain0 (3 trainings)", "runs": 3, "rule": "chow-average"}
    widths = [np.ptp(line(each, comparison.ALL).alone_difference[1:]) for each in (many, *singly)]
    assert widths[0] not in widths[1:]
    with pytest.raises(CatKerasError, match=r"another training.*plain0 twice"):
        compare.compare([load.load(a[0])] * 2, load.load(b[0]))


def test_further_trainings_join_those_that_are_kept(place):
    pairs = [[runs.full(place / f"more{i}{side}", TASKS[:2], seeds=(i,), n=20, better=better, seed=10 * i + j)
              for j, (side, better) in enumerate((("a", 0.0), ("b", 0.2)))] for i in range(3)]  # fmt: skip
    loaded = [load.load_all(pair) for pair in pairs]
    first, rest = compare.rows(*loaded[0]), compare.rows(*zip(*loaded[1:], strict=True))
    joined, whole = compare.joined(first, rest), compare.rows(*zip(*loaded, strict=True))
    assert comparison.compared(joined).lines == comparison.compared(whole).lines
    assert comparison.facts(joined)["sides"] == comparison.facts(whole)["sides"]
    with pytest.raises(CatKerasError, match=r"run 0 of side A, kept already"):
        compare.joined(joined, first)
    other = compare.rows(*load.load_all([runs.full(place / f"other{s}", TASKS[:1], seeds=(9,), n=20) for s in "ab"]))
    with pytest.raises(CatKerasError, match=r"have the tasks of those that are kept"):
        compare.joined(first, other)
    ruled = [runs.full(place / f"ruled{s}", TASKS[:2], seeds=(9,), n=20, rule="chow-sum") for s in "ab"]
    with pytest.raises(CatKerasError, match=r"have the deferral rules .*chow-average.*Received: chow-sum, chow-sum"):
        compare.joined(first, compare.rows(*load.load_all(ruled)))


def test_what_settings_differ_in(place):
    settings = {"large": {"seed": 0, "tune": {"epochs": 2.5}}, "name": "one"}
    other = {"large": {"seed": 1, "tune": {"epochs": 2.53, "objective": "salt"}}, "name": "other"}
    folders = [
        runs.full(place / f"settings{i}", TASKS[:1], n=8, settings=each) for i, each in enumerate((settings, other))
    ]
    found = compare.compare(*map(load.load, folders))
    assert found.notes[-1] == ("Settings that differ: large.tune.epochs 2.5 → 2.53; large.tune.objective unset → salt.")


def test_command(folders):
    done = CliRunner().invoke(cli.app, ["compare", *map(str, folders)])
    assert done.exit_code == 0, done.output
    for text in ("Averages over 3 shared tasks", "embedded_translate cat-xent", "Δ AUDC", "→", "resamples"):
        assert text in done.output
    assert max(map(len, done.output.splitlines())) <= 120
