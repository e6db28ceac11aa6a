"""The report: numbers by hand, holes that are marked, warnings, and files that repeat to the byte."""

import csv
import io
import json
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from rich.console import Console

from benchmarks import metrics, report
from benchmarks.report.numbers import changes, costs
from benchmarks.report.plots import drawing
from benchmarks.report.reading import load
from benchmarks.report.tables import verdict
from benchmarks.tasks import task
from cat_keras.data.records import Example
from cat_keras.errors import CatKerasError

FILES = (
    *("table.md", "table.csv", "tasks.csv", "changes.csv", "rules.csv"),
    *("quality_cost.png", "quality_cost.svg", "tasks.png", "tasks.svg"),
    *("scores.png", "groups.png", "differences.png", "costs.png", "training.png", "report.html"),
)

# The four queries of test_curves.py: AUDC .71875, random .625, oracle .84375, s_d 3/7; qualities .5 .75 .75 .75 .75.
# `dist` gives the same answers and scores them like the oracle, with its ties, so that its AUDC is .84375.
SCORES = {"xent": [-2, -3, -1, -2], "dist": [-1, -3, -2, -3]}
SMALL, LARGE = [1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 1.0, 1.0]
COSTS = [20, 10, 40, 30]


def save(folder, examples, predictions, **manifest):
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"profile": "tiny", "rule": "chow-average", "seeds": [0], "missing": [], "training": {}}
    (folder / "manifest.json").write_text(json.dumps(facts | manifest))
    write(folder / "examples.parquet", [example.asdict() for example in examples])
    write(folder / "predictions.parquet", predictions)
    return folder


def write(path, rows):
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)


def prediction(example, method, seed, quality, logprobs, flops, text="", option_logprobs=()):
    labels = {"model": "small" if method else "large", "method": method, "seed": seed}
    answer = {"id": example.id, "task": example.task, "text": text or example.target, "token_logprobs": logprobs}
    numbers = {"n_prompt": 3, "n_answer": len(logprobs), "flops": float(flops), "seconds": 0.1, "quality": quality}
    return labels | answer | numbers | {"option_logprobs": list(option_logprobs) or [-0.1, -2.0]}


def hand(folder, drop=lambda row: False, methods=("xent", "dist"), seeds=(0,), scores=SCORES, **manifest):
    """`sst2` as above and `cola`, on which the small model is always wrong and the large one always right."""
    examples = [Example(f"e{i}", "?", "negative", "sst2", ("negative", "positive")) for i in range(4)]
    examples += [Example(f"e{i}", "?", "acceptable", "cola", ("unacceptable", "acceptable")) for i in range(4)]
    rows = []
    for i, example in enumerate(examples):
        small, large = (SMALL[i], LARGE[i]) if i < 4 else (0.0, 1.0)
        rows.append(prediction(example, "", -1, large, [-1.0], COSTS[i % 4]))
        rows += [
            prediction(example, method, seed, small, [float((SCORES | scores)[method][i % 4])] * 2, 2)
            for method in methods
            for seed in seeds
        ]
    rows = [row for row in rows if not drop(row)]
    facts = {"methods": list(methods), "seeds": list(seeds), "tasks": ["sst2", "cola"]}
    return save(folder, examples, rows, **facts | manifest)


def build(folder, width=120, verbose=True):
    """Runs the report; what it printed, `table.md`, and the CSV files as lists of dicts."""
    console = Console(width=width, record=True, file=io.StringIO())
    path = report.build(folder, console, verbose=verbose)
    assert path == folder / "table.md"
    tables = {
        name: list(csv.DictReader((folder / f"{name}.csv").read_text().splitlines()))
        for name in ("table", "tasks", "rules")
    }
    return SimpleNamespace(printed=console.export_text(), markdown=path.read_text(), **tables)


def pick(rows, **where):
    return next(row for row in rows if all(row[key] == value for key, value in where.items()))


@pytest.fixture
def undrawn(monkeypatch):
    """A report without plots, which take longer than all its numbers."""
    monkeypatch.setattr(drawing, "files", lambda *arguments: {})


@pytest.mark.usefixtures("undrawn")
def test_numbers_by_hand(tmp_path):
    out = build(hand(tmp_path))
    xent, dist = (pick(out.table, method=name) for name in ("xent", "dist"))
    audc, oracle = (0.71875 + 0.5) / 2, (0.84375 + 0.5) / 2
    assert float(xent["audc_mean"]) == pytest.approx(audc)
    assert float(dist["audc_mean"]) == pytest.approx(oracle)
    assert float(dist["audc_minus_xent_mean"]) == pytest.approx(oracle - audc)
    assert float(dist["audc_minus_xent_low"]) <= oracle - audc <= float(dist["audc_minus_xent_high"])
    assert xent["audc_minus_xent_mean"] == ""
    assert float(xent["s_d_mean"]) == pytest.approx(3 / 7, abs=1e-6)
    assert float(dist["s_d_mean"]) == 1
    rates = [float(xent[f"quality_{rate}_mean"]) for rate in (0, 25, 50, 75, 100)]
    assert rates == [0.25, 0.5, 0.625, 0.75, 0.875]
    assert float(xent["auroc_small_right_mean"]) == pytest.approx(7 / 8)  # cola has no right answer: no AUROC
    assert (xent["large_quality"], xent["matched_quality"]) == ("0.875", "0.625")
    assert xent["auroc_lacks"] == "cola" and "0.88 †" in out.printed
    assert xent["auroc_small_right_sd"] == ""  # one seed
    assert "does not cover what another seed would change" in out.markdown


@pytest.mark.usefixtures("undrawn")
def test_cost_at_matched_quality_by_hand(tmp_path):
    # sst2 alone: xent has .75 at 50 % deferral, which its hull reaches first at cost 4.5; the large model costs 25.
    # The oracle defers two queries at once, from (2, .5) to (2 + (10 + 30)/4, 1): .75 half of the way, at 7.
    out = build(hand(tmp_path, tasks=["sst2"]))
    assert pick(out.table, method="xent")["flops_at_matched_quality_mean"] == "4.5"
    assert pick(out.table, method="xent")["share_of_large_at_matched_quality"] == "0.18"
    assert pick(out.table, method="xent, oracle")["flops_at_matched_quality_mean"] == "7"
    assert "at 75.0" in out.printed and "4.5 (18%)" in out.printed and "25.0 (100%)" in out.printed


@pytest.mark.usefixtures("undrawn")
def test_tasks_and_rules_by_hand(tmp_path):
    out = build(hand(tmp_path))
    xent = pick(out.tasks, task="sst2", method="xent")
    assert float(xent["audc"]) == pytest.approx(0.71875, abs=1e-6)
    assert (xent["small_quality"], xent["large_quality"]) == ("0.5", "0.75")
    # Useful to defer: -3 and one of the two at -2; against -1 and the other: 3 pairs won, one tied.
    assert xent["auroc_large_right_small_wrong"] == "0.875"
    assert xent["small_accuracy"] == "100"  # the official number reads the texts, not the quality
    assert pick(out.tasks, task="cola", method="xent")["s_d"] == ""  # every order is as good as any other
    assert pick(out.rules, rule="oracle", method="xent")["audc_mean"] == "0.671875"
    assert pick(out.rules, rule="random", method="xent")["audc_mean"] == "0.5625"
    assert {row["scope"] for row in out.rules} == {"all tasks"}


@pytest.mark.usefixtures("undrawn")
def test_seeds_spread_and_band_of_the_difference(tmp_path):
    out = build(hand(tmp_path, seeds=(0, 1), training={"dist/0": {"live": 0.4}, "dist/1": {"live": 0.5}}))
    assert float(pick(out.table, method="xent")["audc_sd"]) == 0
    assert "2 seeds" in out.markdown and "over seeds" in out.markdown
    assert "dist: only 45% of the target tokens were live" in out.printed.replace("\n", " ")


@pytest.mark.usefixtures("undrawn")
def test_a_missing_cell_is_marked_and_never_averaged_over(tmp_path):
    gone = lambda row: (row["method"], row["seed"], row["task"]) == ("dist", 1, "cola")  # noqa: E731
    out = build(hand(tmp_path, gone, seeds=(0, 1)))
    dist = pick(out.table, method="dist")
    assert (dist["seeds"], float(dist["audc_mean"])) == ("1", pytest.approx((0.84375 + 0.5) / 2, abs=1e-6))
    assert "seed 1: left out, cola missing" in dist["incomplete"]
    assert "dist †" in out.printed and "dist †" in out.markdown
    assert "Missing: dist/1/cola (1 in all)" in out.printed and "Missing: dist/1/cola (1 in all)" in out.markdown
    assert pick(out.tasks, task="cola", method="dist", seed="1")["status"] == "missing"
    # No seed complete: no average at all, rather than one over the easier tasks.
    out = build(hand(tmp_path, lambda row: row["method"] == "dist" and row["task"] == "cola"))
    assert pick(out.table, method="dist")["audc_mean"] == pick(out.table, method="dist")["audc_minus_xent_mean"] == ""
    assert pick(out.table, method="xent")["audc_mean"] != ""


@pytest.mark.parametrize("gone", ["sst2", "sst2 cola"])
def test_missing_answers_of_the_large_model(tmp_path, gone):
    out = build(hand(tmp_path, lambda row: row["model"] == "large" and row["task"] in gone))
    assert "task sst2: the large model's answers are missing" in pick(out.table, method="xent")["incomplete"]
    assert "xent †" in out.printed and "large alone †" in out.printed
    assert pick(out.tasks, task="sst2", method="xent")["status"] == "large model missing"


def test_an_unfinished_cell_is_a_missing_cell(tmp_path):
    out = build(hand(tmp_path, lambda row: row["method"] == "xent" and row["task"] == "cola" and row["id"] == "e0"))
    assert "Missing: xent/0/cola" in out.printed
    assert "–" in out.printed


@pytest.mark.usefixtures("undrawn")
def test_a_large_model_that_is_not_better_is_named(tmp_path):
    folder = hand(tmp_path)
    assert "nothing to offer" not in build(folder).printed
    rows = pyarrow.parquet.read_table(folder / "predictions.parquet").to_pylist()
    write(
        folder / "predictions.parquet",
        [row | ({"quality": 0.5} if (row["model"], row["task"]) == ("large", "sst2") else {}) for row in rows],
    )
    out = build(folder)
    warning = "sst2: the large model is not better than the small one (50.0 against 50.0, xent)"
    assert warning in out.markdown and warning in out.printed.replace("\n", " ")
    assert "cola: the large model is not better" not in out.markdown


WORDS = "the a dog cat house runs sees big small red blue of and in on under with man woman tree river"
METHODS = ("xent", "dist", "cat-xent", "cat-dist", "gatekeeper")


def realistic(folder, n=40, say=""):
    """Five methods, two seeds, two classifications and a translation with graded quality, and the common start.

    `say` is put before every answer, after it was judged.
    """
    rng, examples, rows = np.random.default_rng(0), [], []
    models = [("", -1, 0.75), ("start", 0, 0.4)] + [(m, s, 0.5 + 0.03 * s) for m in METHODS for s in (0, 1)]
    for name in ("sst2", "trec", "wmt22_deen"):
        declared = task.get(name)
        judge = metrics.of(declared)
        options = declared.options
        for i in range(n):
            target = str(rng.choice(options) if options else " ".join(rng.choice(WORDS.split(), 8)))
            example = Example(f"test-{i}", "?", target, name, options, group=("easy", "hard")[i % 2])
            examples.append(example)
            for method, seed, skill in models:
                words = [w if rng.random() < skill else str(rng.choice(WORDS.split())) for w in target.split()]
                text = " ".join(words) if not options else target if rng.random() < skill else str(rng.choice(options))
                quality = judge.per_example(text, example)
                sure = np.log(rng.uniform(0.2 + 0.5 * quality, 1, len(words))).tolist()
                scores = [0.5 * rng.normal() + sure[0] for _ in options]
                cost = 1e6 * (1 if method else 10)
                rows.append(prediction(example, method, seed, quality, sure, cost, say + text, scores))
                rows[-1]["option_logprobs"] = scores
    tasks = ["sst2", "trec", "wmt22_deen"]
    course = {"step": [10, 20, 30], "loss": [3.0, 2.0, 1.0], "live": [1.0, 0.8, 0.7]}
    training = {f"{method}/{seed}": {"live": 0.8, "history": course} for method in METHODS for seed in (0, 1)}
    facts = {"methods": METHODS, "seeds": [0, 1], "tasks": tasks, "training": training, "encoded": {"prompts_cut": 3}}
    return save(folder, examples, rows, **facts)


@pytest.mark.slow
def test_a_second_build_is_identical_to_the_byte(tmp_path):
    folder = realistic(tmp_path)
    build(folder)
    first = {name: (folder / name).read_bytes() for name in FILES}
    build(folder)
    assert {name: (folder / name).read_bytes() for name in FILES} == first


def test_noted_statistics_of_answers_stand_for_their_texts(tmp_path, monkeypatch):
    folder = realistic(tmp_path)
    counted = report.files(load.load(folder), drawn=False)
    rows = pyarrow.parquet.read_table(folder / "predictions.parquet").to_pylist()
    examples = {(e["task"], e["id"]): e for e in pyarrow.parquet.read_table(folder / "examples.parquet").to_pylist()}
    for row in rows:
        example = examples[row["task"], row["id"]]
        example = Example(example["id"], "?", example["target"], row["task"], tuple(example["options"]))
        row["statistics"] = list(map(float, metrics.of(task.get(row["task"])).statistics([row["text"]], [example])[0]))
    write(folder / "predictions.parquet", rows)
    monkeypatch.setattr(metrics.Metric, "corpus", None)
    assert report.files(load.load(folder), drawn=False) == counted
    write(folder / "predictions.parquet", [row | {"statistics": row["statistics"][:1]} for row in rows])
    with pytest.raises(CatKerasError, match=r"others of .*Run the profile again"):
        report.files(load.load(folder), drawn=False)


@pytest.mark.slow
def test_a_large_report_is_drawn_by_a_process_of_its_own_to_the_same_bytes(tmp_path, monkeypatch):
    folder = realistic(tmp_path)
    build(folder)
    first = {name: (folder / name).read_bytes() for name in FILES}
    monkeypatch.setattr(drawing, "LARGE", 1)
    monkeypatch.setattr(drawing.canvas, "rendered", None)  # this process draws nothing
    build(folder)
    assert {name: (folder / name).read_bytes() for name in FILES} == first


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("width", [120, 80])
def test_a_realistic_run_fits_the_console(tmp_path, width):
    out = build(realistic(tmp_path), width)
    assert max(map(len, out.printed.splitlines())) <= width
    assert "…" not in out.printed.replace("s_d for …", "")
    for text in ("gatekeeper", "large alone", "max-probability, classification", "start", "prompts cut 3", "easy"):
        assert text in out.printed
    assert "bleu" in out.markdown and "chrF2 nrefs:" in out.markdown
    assert {row["scope"] for row in out.rules} == {"all tasks", "classification", "generation"}


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("width", [120, 80])
def test_without_verbose_it_is_one_screen(tmp_path, width):
    out = build(realistic(tmp_path), width, verbose=False)
    lines = out.printed.splitlines()
    assert max(map(len, lines)) <= width and len(lines) <= 40
    assert lines[0].startswith("Quality (×100) by share of queries deferred")
    assert "Quality of 100: the small model (xent) " in out.printed and "the large model" in out.printed
    assert sum(line.startswith("Warning:") for line in lines) == 1
    assert "max-probability" not in out.printed


@pytest.mark.usefixtures("undrawn")
def test_the_verdict_by_hand(tmp_path):
    # dist is the oracle on four queries; with so few the interval of its gain holds 0. lost defers in the wrong order.
    contents = report.Contents(load.load(hand(tmp_path, tasks=["sst2"])))
    models, open_one = verdict.sentences(contents.changes)
    assert models == (
        "Quality of 100: the small model (xent) 50.0, the large model 75.0, a cascade that defers half of the queries "
        "75.0."
    )
    assert open_one == "No difference to xent can be shown for dist."
    gain = changes.Change("a", "xent", "all tasks", 1, 1, "audc", 0.02, 0.01, 0.2, 0.01)
    loss = gain._replace(method="b", estimate=-0.1, low=-0.2, high=-0.05)
    assert verdict.of_methods([gain, loss], "xent") == [
        "Better than xent, in points of AUDC: a +2.00 [+1.00, +20.00].",
        "Worse than xent, in points of AUDC: b -10.00 [-20.00, -5.00].",
    ]


def numbers_of(folder, prices=None):
    contents = report.Contents(load.load(folder), prices)
    return contents, {table.title: table for table in contents.further}


def test_prices_by_hand(tmp_path):
    # Every query has 3 prompt tokens and, on sst2, an answer of 2 tokens from the small and of 1 from the large model.
    prices = costs.prices("1", "10/100")
    contents, tables = numbers_of(hand(tmp_path, tasks=["sst2"]), prices)
    scope = contents.averages[0]
    assert contents.curves.mean("xent", scope, "price")[[0, -1]].tolist() == [5, 5 + 130]
    assert contents.curves.large(scope, "price") == 130
    assert contents.curves.mean("xent", scope, "seconds")[-1] == pytest.approx(0.2)
    # .75 first at the cheapest half deferred: two of the four queries at 130.
    table = tables["Cost of a quality of 75.0, unit by unit"]
    assert table.columns == ("method", "FLOPs per query", "seconds per query, measured", "price of a million queries")
    assert dict(zip(table.columns, table.rows[-1], strict=True))["price of a million queries"] == "130 (100%)"
    assert "read/written: small 1/1, large 10/100." in table.notes[0]


@pytest.mark.parametrize(("small", "large"), [("1", None), ("a", "1"), ("1/2/3", "1"), ("-1", "1"), ("nan", "1")])
def test_bad_prices(small, large):
    with pytest.raises(CatKerasError, match="rice"):
        costs.prices(small, large)


def test_prices_without_token_counts_are_left_out(tmp_path):
    folder = hand(tmp_path)
    path = folder / "predictions.parquet"
    pyarrow.parquet.write_table(pyarrow.parquet.read_table(path).drop_columns(["n_prompt"]), path)
    contents, _ = numbers_of(folder, costs.prices("1", "1"))
    assert list(contents.curves.kinds) == ["flops", "seconds"]


def test_averages_by_suite_and_cluster(tmp_path):
    contents, tables = numbers_of(realistic(tmp_path))
    assert [scope.name for scope in contents.averages] == ["all", "suite: flan2021"]
    table = tables["AUDC (×100) by suite and cluster"]
    assert [row[:2] for row in table.rows] == [("all tasks", "3"), ("suite: flan2021", "2")]
    pair = [cell.curve("chow-average").audc for (m, _, t), cell in contents.numbers.cells.items()
            if m == "xent" and t in ("sst2", "trec")]  # fmt: skip
    assert table.rows[1][4] == f"{100 * np.mean(pair):.1f}"
    assert table.columns[5:] == ("Δ dist", "Δ cat-xent", "Δ cat-dist", "Δ gatekeeper")


def test_an_average_by_suite_names_what_it_lacks(tmp_path):
    folder = realistic(tmp_path)
    path = folder / "predictions.parquet"
    rows = pyarrow.parquet.read_table(path).to_pylist()
    write(path, [row for row in rows if (row["model"], row["task"]) != ("large", "sst2")])
    contents, _ = numbers_of(folder)
    assert [(scope.name, scope.lacks) for scope in contents.averages] == [("all", ("sst2",))]
    assert all(contents.curves.incomplete(name, contents.averages[0]) for name in METHODS)


def test_wins_ties_and_losses(tmp_path):
    _, tables = numbers_of(hand(tmp_path))
    table = tables["Against xent, task by task"]
    assert table.columns == ("task", "dist")
    assert table.rows[0][1].startswith("+12.5 [") and not table.rows[0][1].endswith(
        "win"
    )  # four examples prove nothing
    assert table.rows[-1] == ("wins / ties / losses", "0 / 2 / 0")


def test_who_is_right_by_hand(tmp_path):
    _, tables = numbers_of(hand(tmp_path))
    # sst2: both once, small only once, large only twice; cola: large only.
    assert tables["Who is right"].rows[0] == ("xent", "12.5", "12.5", "75.0", "0.0")


def test_ablations(tmp_path):
    objectives = {
        "xent": {"objective": "xent", "arguments": {}},
        "gap": {"objective": "cat", "arguments": {"mask": "gap"}},
    }
    objectives["cat"] = {"objective": "cat", "arguments": {}}
    scores = {"gap": SCORES["dist"], "cat": SCORES["xent"]}
    folder = hand(tmp_path, methods=("xent", "gap", "cat"), objectives=objectives, scores=scores)
    _, tables = numbers_of(folder)
    table = tables["One objective, other arguments"]
    assert table.columns[:4] == ("method", "objective", "mask", "AUDC")
    assert [row[:3] for row in table.rows] == [("gap", "cat", "gap"), ("cat", "cat", "")]
    assert "One objective, other arguments" not in numbers_of(hand(tmp_path / "other"))[1]


def test_times_that_differ_for_the_same_work_are_named(tmp_path):
    folder = hand(tmp_path)
    assert "the clock saw" not in " ".join(numbers_of(folder)[0].warnings)
    path = folder / "predictions.parquet"
    rows = pyarrow.parquet.read_table(path).to_pylist()
    write(path, [row | ({"seconds": 0.3} if row["method"] == "dist" else {}) for row in rows])
    assert "differ 3.0-fold" in " ".join(numbers_of(folder)[0].warnings)


@pytest.mark.usefixtures("undrawn")
def test_bayes_line_when_every_task_knows_it(tmp_path, monkeypatch):
    for name in ("sst2", "cola"):
        known = replace(task.get(name), source=SimpleNamespace(bayes_quality=0.9, rows=None, identity=None))
        monkeypatch.setitem(task._TASKS, name, known)
    assert "Bayes-optimal" in build(hand(tmp_path)).markdown
    monkeypatch.undo()
    assert "Bayes-optimal" not in build(hand(tmp_path)).markdown


@pytest.mark.parametrize("name", ["manifest.json", "examples.parquet", "predictions.parquet"])
def test_missing_and_damaged_files(tmp_path, name):
    path = hand(tmp_path) / name
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(CatKerasError, match=rf"readable.*{name}|{name}.*readable"):
        build(tmp_path)
    path.unlink()
    with pytest.raises(CatKerasError, match=f"{name} is missing"):
        build(tmp_path)


def test_contradictory_folders(tmp_path):
    folder = hand(tmp_path)
    path = folder / "predictions.parquet"
    table = pyarrow.parquet.read_table(path)
    rows = table.to_pylist()
    pyarrow.parquet.write_table(table.drop_columns(["quality"]), path)
    with pytest.raises(CatKerasError, match=r"predictions.parquet must have the columns .*missing: quality.*again"):
        build(folder)
    for change, message in (
        ({"quality": 1.5}, "quality must be in"),
        ({"quality": float("nan")}, "received nan for example 'e0'"),
        ({"id": "e1"}, "repeated or unknown ids"),
        ({"id": "other"}, "repeated or unknown ids"),
    ):
        write(path, [rows[0] | change, *rows[1:]])
        with pytest.raises(CatKerasError, match=message):
            build(folder)
    with pytest.raises(CatKerasError, match="lacks methods"):
        build(hand(tmp_path, methods=()))
    with pytest.raises(CatKerasError, match=r"none of \['trec'\]"):
        build(hand(tmp_path, tasks=["sst2", "trec"]))


def test_no_framework_is_loaded():
    code = "import sys, benchmarks.report; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
