"""The figures of the study: every one drawn from synthetic results, the same bytes twice, and stale ones named."""

import io
import subprocess
import sys

import matplotlib.figure
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from rich.console import Console

from benchmarks.running import illustrate
from benchmarks.running.progress import Progress
from benchmarks.serving import records
from benchmarks.tasks import task
from cat_keras.data.records import Example, Prediction
from cat_keras.errors import CatKerasError
from cat_keras.storage import store
from cat_keras.training import losses, masks
from paper_figs import __main__, render, style, together, variants
from paper_figs.book import Book
from paper_figs.figure import Sheet
from paper_figs.figures import (
    FIGURES,
    auroc,
    gains,
    live_tokens,
    mask_ablation,
    methods,
    overview,
    pairs,
    regimes,
    rejection,
    retrieval,
    rules,
    sizes,
    teacher_bits,
    token_level,
    w_sweep,
)
from paper_figs.source import Source, sources
from tests import analysis_rows

TASKS = ("sst2", "embedded_translate", "wmt22_deen")
OBJECTIVES = ("xent", "dist", "cat-xent", "cat-dist")
ABLATION = {
    **{name: {"objective": name, "arguments": {}} for name in OBJECTIVES},
    **{f"mask-{mask}": {"objective": "cat-xent", "arguments": {"mask": mask}} for mask in ("random", "gap")},
    "w-0": {"objective": "cat-dist", "arguments": {"w": 0.0}},
}
TEACHER = {"bytes_per_token": {"right": 0.125, "logprob": 2.0, "ids": 64.0, "probs": 64.0}}


def write(path, rows):
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, compression="zstd")


def examples(n=12):
    return [
        Example(f"test-{i}", "?", (options or (f"word{i}",) * 2)[i % 2], name, options, group=("easy", "noise")[i % 2])
        for name in TASKS
        for options in [task.get(name).options]
        for i in range(n)
    ]


def answers(example, rng, skill, flops) -> dict:
    """A prediction whose score says something of its quality."""
    binary = example.task != "wmt22_deen"
    quality = float(rng.random() < skill) if binary else float(rng.uniform(0, skill))
    sure = np.log(rng.uniform(0.2 + 0.5 * quality, 1, 3)).tolist()
    options = tuple(sure[:2]) if example.options else ()
    said = Prediction(example.id, example.task, example.target, tuple(sure), options, 5, 3, flops, 0.01)
    return said.asdict() | {"quality": quality}


def save(folder, methods=OBJECTIVES, seeds=(0, 1), drop=(), width=32, **manifest):
    """A run folder as a run writes it, of invented numbers."""
    folder.mkdir(parents=True)
    rng, chosen = np.random.default_rng(0), examples()
    models = [("", -1, 0.9, 1e7)] + [(m, s, 0.5 + 0.02 * i, 1e4 * width) for i, m in enumerate(methods) for s in seeds]
    rows = [
        {"model": "small" if method else "large", "method": method, "seed": seed, **answers(example, rng, skill, flops)}
        for method, seed, skill, flops in models
        for example in chosen
        if (method, seed, example.task) not in drop
    ]
    write(folder / "predictions.parquet", rows)
    write(folder / "examples.parquet", [example.asdict() for example in chosen])
    live = {f"{m}/{s}": {"live": 0.8} for m in methods for s in seeds}
    settings = {"name": folder.name, "small": {"width": width}, "large": {"width": 64}, "teacher": {"k": 32}}
    facts = {"profile": folder.name, "rule": "chow-average", "methods": list(methods), "seeds": list(seeds)}
    facts |= {"tasks": list(TASKS), "missing": [], "training": live, "settings": settings}
    store.write_json(folder / "manifest.json", facts | manifest)
    return folder


def illustrated(folder):
    """What `benchmarks.running.illustrate` writes, beside a run."""
    columns = {"right": [True, False], "logprob": [-0.1, -2.0]}
    about = {"task": "embedded_translate", "group": "easy", "id": "train-0", "prompt": "Sil: a\nVod:\n"}
    sentence = about | {"tokens": ["▁b", "<eos>"], "small": columns, "large": columns}
    query = {"prompt": "Sil: a\nVod:\n", "small": "b", "large": "c", "threshold": -0.2}
    queries = [query | {"score": -0.1}, query | {"score": -0.3}]
    store.write_json(folder / illustrate.SENTENCES, {"sentences": [sentence], "queries": queries})
    known = {"tokens": 10, "small": 3, "large": 6}
    parts = [{"task": TASKS[1], "group": g, **known, "live": [live, 8]} for g, live in (("easy", 9), ("noise", 4))]
    parts += [{"task": name, "group": "", **known, "live": [7, 8]} for name in (TASKS[0], TASKS[2])]
    store.write_json(folder / illustrate.LIVE, {"steps": [0, 5], "parts": parts})


def token_rows():
    rng = np.random.default_rng(1)
    return [
        {"method": "xent", "rule": rule, "alpha": alpha, "seed": 0, "task": e.task, "id": e.id,
         "quality": float(rng.random()), "flops": 1e6 * (1 + alpha), "large_calls": 2}
        for rule in ("chow", "opt") for alpha in (0.1, 0.5) for e in examples()
    ]  # fmt: skip


CHANGES = """method,baseline,scope,measure,estimate,low,high
cat-xent,xent,all,s_d,0.15,0.1,0.2
cat-xent,xent,all,cost,-0.1,-inf,0.3
cat-xent,xent,sst2,s_d,0.9,0.8,1.0
cat-xent,dist,all,s_d,0.7,0.6,0.8
dist,xent,all,audc,-0.01,,
"""
LOAD = """stream,policy,knobs,times,rate,quality,p50,p99,in_time,answered,budget
poisson,small,,1,40,0.5,0.01,0.05,1,1,0.2
poisson,small,,2,80,0.5,0.01,0.3,0.98,1,0.2
poisson,shed,queue of 4,1,40,0.8,0.05,0.1,0.9,0.9,0.2
poisson,shed,queue of 4,2,80,0.8,0.06,9,0.7,0.7,0.2
day,small,,1,30,0.5,0.01,0.05,1,1,0.2
"""
PAIRS = """kind,source,counted,lead,auroc,saving,s_d
language models,ARC,1,0.2,0.7,-0.1,0.3
language models,ARC,0,-0.1,0.6,,0.2
this project,nano_masks,1,0.1,0.6,0.4,
"""
POINTS = """method,versus,share,epochs,width,seeds,headroom,s_d,s_d_low,s_d_high,audc,audc_low,audc_high
cat-xent,xent,0,1,24,3,0.1,0.1,0.0,0.2,0.01,0.0,0.02
cat-xent,xent,0.5,1,24,3,-0.05,0.2,0.1,0.3,0.02,0.0,0.04
cat-xent,xent,0,1,48,3,0.1,0.1,0.0,0.2,0.01,0.0,0.02
cat-xent,xent,0.5,1,48,3,0.1,0.1,0.0,0.2,0.01,0.0,0.02
cat-xent,xent,0,2,24,3,0.2,0.1,0.0,0.2,0.01,0.0,0.02
cat-xent,xent,0.5,2,48,3,0.2,,,,0.01,0.0,0.02
dist,xent,0.5,2,48,3,0.3,0.1,0.0,0.2,0.01,0.0,0.02
"""
CORRELATIONS = """over,predictor,outcome,estimate,low,high
language models,lead,saving,-0.5,-0.6,-0.4
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Runs from which every figure can be drawn but `alignment`, which wants five seeds."""
    root = tmp_path_factory.mktemp("results")
    whole = save(root / "whole", methods=tuple(ABLATION), objectives=ABLATION, teacher=TEACHER)
    illustrated(whole)
    write(whole / token_level.FILE, token_rows())
    for width in (16, 24):
        folder = save(root / "aside" / f"width-{width}", width=width, seeds=(0,))
        (folder / regimes.CHANGES).write_text(CHANGES)
    (whole / regimes.CHANGES).write_text(CHANGES)
    (whole / records.FILE).write_text(LOAD)
    pyarrow.parquet.write_table(analysis_rows.rejection_rows(), whole / rejection.ROWS)
    pyarrow.parquet.write_table(analysis_rows.retrieval_rows(), whole / retrieval.ROWS)
    (whole / "points.csv").write_text(POINTS)
    (whole / "regression.csv").write_text("")
    for file, content in zip(pairs.FILES, (PAIRS, CORRELATIONS), strict=False):
        (whole / file).write_text(content)
    return root


def test_every_figure_can_be_drawn(results):
    book = Book(FIGURES, sources(results))
    assert [figure.name for figure in book.missing()] == ["alignment"]
    jobs = {job.figure.name: job for job in book.jobs()}
    assert set(jobs) == {figure.name for figure in FIGURES} - {"alignment"}
    with style.applied():
        for job in jobs.values():
            drawn = job.figure.draw(*job.sources)
            assert isinstance(drawn, Sheet if job.figure.table else matplotlib.figure.Figure), job.name


def test_alignment_has_a_panel_for_each_method(tmp_path):
    save(tmp_path / "run", methods=("xent", "cat-xent"), seeds=range(5))
    (job,) = Book(FIGURES, sources(tmp_path)).jobs(["alignment"])
    with style.applied():
        panels = job.figure.draw(*job.sources).axes
    assert [panel.get_title("left").partition(":")[0] for panel in panels] == ["xent", "cat-xent"]


@pytest.mark.slow
@pytest.mark.long
def test_every_figure_has_the_same_bytes_twice(results):
    first, again = ({job.figure.name: job for job in Book(FIGURES, sources(results)).jobs()} for _ in range(2))
    for name, job in first.items():
        made = render.files(job)
        assert sorted(made) == sorted(job.paths)
        assert render.files(again[name]) == made, name


def test_the_last_bits_of_a_layout_change_nothing(results, monkeypatch):
    (job,) = Book(FIGURES, sources(results)).jobs(["load"])
    engine = matplotlib.layout_engine.ConstrainedLayoutEngine
    drawn, execute = render.files(job), engine.execute

    def on_another_processor(self, figure):
        execute(self, figure)
        moved.append(figure)
        for axes in figure.axes:
            left, bottom, width, height = (bound * (1 + 1e-15) for bound in axes.get_position(original=True).bounds)
            axes._set_position([left, bottom, width, height])

    moved = []
    monkeypatch.setattr(engine, "execute", on_another_processor)
    assert render.files(job) == drawn and moved


def test_files_say_what_they_were_drawn_from(results, tmp_path):
    book = Book(FIGURES, sources(results))
    assert list(book.draw(tmp_path, ["whole/auroc", "rules"])) == book.jobs(["whole/auroc", "rules"])
    origin = render.embedded(tmp_path, "whole/auroc")
    assert origin["command"] == "python -m paper_figs --only whole/auroc"
    assert origin["inputs"]["whole/manifest.json"] == store.sha256_file(results / "whole/manifest.json")
    for kind in ("pdf", "png"):
        assert origin["inputs"]["whole/manifest.json"].encode() in (tmp_path / f"whole/auroc.{kind}").read_bytes()
    assert render.embedded(tmp_path, "whole/rules")["inputs"] == origin["inputs"]
    assert b"CreationDate" not in (tmp_path / "whole/auroc.pdf").read_bytes()


def test_check_names_the_figure_and_the_input_that_changed(tmp_path):
    folder, out = save(tmp_path / "results/run", seeds=(0,)), tmp_path / "out"
    fresh = lambda: Book([methods.FIGURE, rules.FIGURE], sources(tmp_path / "results"))  # noqa: E731
    assert "run/methods: not drawn yet, methods.tex" in next(fresh().check(out))
    list(fresh().draw(out))
    assert list(fresh().check(out)) == []
    (out / "run/rules.csv").write_text("edited")
    assert list(fresh().check(out)) == [
        "run/rules: rules.csv differ though no input changed: its code did, or a file was edited"
    ]
    list(fresh().draw(out))
    manifest = store.read_json(folder / "manifest.json")
    store.write_json(folder / "manifest.json", manifest | {"seconds": 2})
    assert list(fresh().check(out)) == [
        f"run/{name}: stale, run/manifest.json changed" for name in ("methods", "rules")
    ]
    (out / "run/old.pdf").write_bytes(b"")
    assert any(line.startswith("run/old.pdf: no figure draws it") for line in fresh().check(out))


def test_several_processes_draw_the_same_files_and_find_the_same_stale(tmp_path):
    for name in ("one", "two"):
        save(tmp_path / "results" / name, seeds=(0,))
    chosen, names = ["auroc", "methods"], ["one/methods", "two/methods", "one/auroc", "two/auroc"]
    for out, processes in ((tmp_path / "alone", 1), (tmp_path / "shared", 2)):
        assert sorted(together.written(tmp_path / "results", out, chosen, processes)) == sorted(names)
    files = sorted(path.relative_to(tmp_path / "alone") for path in (tmp_path / "alone").rglob("*.*"))
    assert len(files) == 12
    for file in files:
        assert (tmp_path / "alone" / file).read_bytes() == (tmp_path / "shared" / file).read_bytes()
    (tmp_path / "shared/two/methods.csv").write_text("edited")
    found = [list(together.stale(tmp_path / "results", tmp_path / "shared", chosen, n)) for n in (1, 2)]
    assert found[0] == found[1] and [line.partition(":")[0] for line in found[0]] == ["two/methods"]


def test_another_matplotlib_draws_other_bytes_and_nothing_stale(tmp_path):
    save(tmp_path / "results/run", seeds=(0,))
    book = Book([auroc.FIGURE], sources(tmp_path / "results"))
    list(book.draw(tmp_path / "out"))
    path = tmp_path / "out/run/auroc.svg"
    assert book.unlike(tmp_path / "out") == []
    path.write_text(path.read_text().replace('"matplotlib": "', '"matplotlib": "0.'))
    assert list(book.check(tmp_path / "out")) == [] and book.unlike(tmp_path / "out") == ["run/auroc"]


def test_command_line(tmp_path, monkeypatch, capsys):
    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["paper_figs", *map(str, arguments), *map(str, where)])
        with pytest.raises(SystemExit) as end:
            __main__.main()
        return end.value.code, *capsys.readouterr()

    save(tmp_path / "results/run", seeds=(0,))
    where = ("--results", tmp_path / "results", "--out", tmp_path / "out")
    status, listed, _ = command("--list")
    assert status == 0 and "run/auroc\n" in listed and "not drawn: sizes wants three or more runs" in listed
    assert not (tmp_path / "out").exists()
    assert command("--only", "auroc")[0] == 0
    assert command("--check", "--only", "auroc")[0] == 0
    (tmp_path / "out/run/auroc.svg").unlink()
    status, _, said = command("--check", "--only", "auroc")
    assert status == 1 and "run/auroc: not drawn yet, auroc.svg missing" in said
    status, _, said = command("--only", "aurok")
    assert status == 2 and "did you mean auroc" in said
    where = ("--results", tmp_path / "out")
    status, _, said = command()
    assert status == 2 and "none" in said


def test_what_has_no_results_is_named_and_not_drawn(tmp_path):
    save(tmp_path / "run", seeds=(0,))
    book = Book(FIGURES, sources(tmp_path))
    wanting = {figure.name for figure in book.missing()}
    assert wanting == {
        "cascade_mask",
        "live_tokens",
        "gains",
        "overview",
        "mask_ablation",
        "w_sweep",
        "regimes",
        "regime_map",
        "headroom",
        "sizes",
        "token_level",
        "load",
        "rejection",
        "retrieval",
        "pairs",
        "teacher_bits",
        "alignment",
    }
    index = book.index().decode()
    assert index.count("*Not drawn.*") == len(wanting) and "paper_figs" in index


def test_results_aside_stand_in_figures_that_compare_and_have_none_of_their_own(results):
    jobs = Book(FIGURES, sources(results)).jobs()
    assert {job.sources[0].name for job in jobs} == {"whole"}
    together = {job.figure.name: [s.name for s in job.sources] for job in jobs if len(job.sources) > 1}
    (both,) = {tuple(sorted(names)) for name, names in together.items() if name in ("regimes", "sizes")}
    assert both == ("aside/width-16", "aside/width-24", "whole")
    index = Book(FIGURES, sources(results)).index().decode()
    assert "`whole` (3 tasks, 2 seeds)" in index and "(3 tasks, 1 to 2 seeds)" in index


def test_sizes_takes_one_run_of_each_size_whatever_its_methods_and_seeds(tmp_path):
    save(tmp_path / "main", seeds=(0,))
    for width in (16, 24):
        save(tmp_path / "aside" / f"{width}", width=width, methods=("xent", "cat-xent"))
    save(tmp_path / "aside" / "again", methods=("xent", "cat-xent"))  # as wide as main
    (found,) = sizes.pick(sources(tmp_path))
    assert [source.name for source in found] == ["main", "aside/16", "aside/24"]
    assert not sizes.pick(found[:2])


def test_gains_by_task_against_what_the_mask_drops_and_the_room_there_is(results):
    source = Source(results / "whole")
    found = {point["task"]: point for point in gains.points(source)}
    assert {name: point["dropped"] for name, point in found.items()} == pytest.approx(
        {TASKS[0]: 30, TASKS[1]: 35, TASKS[2]: 30}
    )
    row = next(row for row in source.numbers.rows if row.method == "xent")
    rooms = [point["room"] for point in found.values()]
    assert np.mean(rooms) == pytest.approx(100 * (source.numbers.large_quality - row.quality[0].mean))


def test_regimes_reads_the_changes_against_xent_over_all_tasks(results):
    found = regimes.changes(Source(results / "whole"))
    assert found.pop(("cat-xent", "cost")) == (-0.1, -np.inf, 0.3)
    assert found.pop(("cat-xent", "s_d")) == (0.15, 0.1, 0.2)
    assert np.isnan(found.pop(("dist", "audc"))[1]) and not found


def test_headroom_shows_the_points_of_the_first_difference_where_they_lie(results):
    (job,) = Book(FIGURES, sources(results)).jobs(["headroom"])
    with style.applied():
        panel = job.figure.draw(*job.sources).axes[1]
    marks = [(line.get_xdata()[0], line.get_ydata()[0]) for line in panel.lines if len(line.get_xdata()) == 1]
    assert len(marks) == 6 and (-5, 2) in [(round(x, 6), round(y, 6)) for x, y in marks]


def test_overview_shows_the_run_with_texts_and_says_which_files_it_read_of_each(results):
    (job,) = Book(FIGURES, sources(results)).jobs(["overview"])
    assert job.name == "whole/overview"
    read = {source.name: files for source, files in job.reads}
    assert {"predictions.parquet", illustrate.SENTENCES, regimes.CHANGES} <= set(read["whole"])
    assert set(read["aside/width-16"]) == set(regimes.FILES)


def test_overview_costs_and_quality_by_hand(results):
    source = Source(results / "whole")
    by_rule, at_random, quality, cost = overview.curves(source)
    answers = [source.run.small["cat-xent", seed, name] for seed in (0, 1) for name in TASKS]
    for curve in (by_rule, at_random):
        assert curve.quality[0] == pytest.approx(np.mean([columns["quality"].mean() for columns in answers]))
        assert curve.quality[-1] == pytest.approx(quality)
        assert curve.cost[-1] == pytest.approx(cost + np.mean([columns["flops"].mean() for columns in answers]))
    assert at_random.quality_at(0.5) == pytest.approx((at_random.quality[0] + quality) / 2)


def test_overview_shows_an_english_sentence_with_the_mask_at_work():
    kept, both = {"right": [True, True]}, {"small": {"right": [False, True]}, "large": {"right": [False, True]}}
    large_only = {"small": {"right": [False, True]}, "large": kept}
    choice = [{"task": "embedded_translate", **both}, {"task": overview.PHRASING, **large_only}]
    assert overview.sentence(choice)["task"] == overview.PHRASING
    assert overview.sentence([*choice, {"task": overview.PHRASING, **both}])["large"] == {"right": [False, True]}


def test_defaults_of_objectives_are_those_of_the_losses():
    ours = {name: losses.get(name).get_config() for name in variants.DEFAULTS}
    assert set(ours) == set(losses.OBJECTIVES)
    for name, arguments in variants.DEFAULTS.items():
        assert arguments.items() <= ours[name].items()
    told = set(mask_ablation.ORDER)
    assert told == set(masks.MASKS)


def test_variants_of_a_run_and_of_several_runs(results, tmp_path):
    whole = Source(results / "whole")
    assert set(mask_ablation.masks([whole])) == {"all", "random", "either", "gap"}
    sweeps = w_sweep.sweeps([whole])
    assert list(sweeps["either"]) == [0.0, 0.5, 1.0] and list(sweeps["all"]) == [0.5, 1.0]
    # Without `objectives`, arguments of the profile make the variants, and runs that differ in them are one family.
    for mask in ("gap", "both", "soft"):
        settings = {"arguments": {"cat-xent": {"mask": mask}}, "small": {}}
        save(tmp_path / mask, methods=("xent", "cat-xent"), seeds=(0,), settings=settings)
    (group,) = mask_ablation.pick(sources(tmp_path))
    assert list(mask_ablation.masks(group)) == ["all", "both", "gap", "soft"]


def test_bits_by_hand(results):
    whole = Source(results / "whole")
    found = {v.method: teacher_bits.bits(v) for v in variants.variants([whole])}
    assert {m: found[m] for m in OBJECTIVES} == {"xent": 0, "cat-xent": 1, "dist": 1024, "cat-dist": 1025}
    assert found["mask-gap"] == 1


def test_shares_of_live_tokens_by_hand():
    parts = [
        {"task": "a", "group": "x", "tokens": 10, "live": [10, 5]},
        {"task": "b", "group": "x", "tokens": 30, "live": [10, 15]},
        {"task": "b", "group": "y", "tokens": 10, "live": [0, 10]},
    ]
    assert {k: v.tolist() for k, v in live_tokens.shares(parts, lambda part: part["group"]).items()} == {
        "x": [0.5, 0.5], "y": [0, 1],
    }  # fmt: skip


def test_token_level_means_by_hand_and_no_holes(results):
    import pandas as pd

    run = Source(results / "whole").run
    frame = pd.DataFrame(token_rows())
    table = token_level.points(frame, run)
    one = frame[(frame["rule"] == "opt") & (frame["alpha"] == 0.5)]
    row = table[(table["rule"] == "opt") & (table["alpha"] == 0.5)].iloc[0]
    assert row["quality"] == pytest.approx(np.mean([one[one["task"] == t]["quality"].mean() for t in TASKS]))
    with pytest.raises(CatKerasError, match="answer the same examples"):
        token_level.points(frame.iloc[1:], run)
    with pytest.raises(CatKerasError, match="answer the same examples"):
        token_level.points(frame.assign(id=frame["id"] + "x"), run)
    with pytest.raises(CatKerasError, match="missing: flops"):
        token_level.points(frame.drop(columns="flops"), run)


def test_queries_beside_tokens_are_the_same_ones(results):
    """A quarter of the examples: both ends of the curve are the models on these alone."""
    run = Source(results / "whole").run
    rows = {name: np.array([0, 4, 9]) for name in TASKS}
    ends = [{"quality": np.mean([c["quality"][rows[n]].mean() for n, c in cells.items()]),
             "flops": np.mean([c["flops"][rows[n]].mean() for n, c in cells.items()])}
            for cells in ({n: run.small["xent", 1, n] for n in TASKS}, run.large)]  # fmt: skip
    curve = token_level.queries(run, "xent", [1], rows, "flops")
    np.testing.assert_allclose(curve.quality[[0, -1]], [end["quality"] for end in ends])
    np.testing.assert_allclose(curve.cost[[0, -1]], np.cumsum([end["flops"] for end in ends]))
    calls = token_level.queries(run, "xent", [0, 1], rows, "large_calls")
    assert calls.cost[0] == 0 and calls.cost[-1] == pytest.approx(3)  # tokens of each of the large model's answers


def test_an_incomplete_run_says_so_in_the_figure(tmp_path):
    save(tmp_path / "run", drop=[("dist", 1, "sst2")])
    made = render.files(next(job for job in Book(FIGURES, sources(tmp_path)).jobs(["auroc"])))
    save(tmp_path / "whole")
    whole = render.files(next(job for job in Book(FIGURES, sources(tmp_path)).jobs(["whole/auroc"])))
    assert made["run/auroc.svg"].count(b"<g") > whole["whole/auroc.svg"].count(b"<g")


def test_tex_escapes():
    from benchmarks.report.tables.render import Table

    text = render.tex(Table("t", ("a_b", "25%"), (("x & y", "1 ±2"), ("ref", "–")), references=1))
    assert r"a\_b & 25\% \\" in text and r"x \& y & 1 $\pm$2 \\" in text
    assert text.count(r"\midrule") == 2 and r"ref & -- \\" in text


def test_no_framework_is_loaded():
    code = "import sys, paper_figs.figures, paper_figs.book as b; sys.exit('tensorflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


TINY = {
    "name": "tiny",
    "methods": ["xent", "cat-xent"],
    "buckets": 1,
    "data": {"tasks": ["embedded_describe"], "train": 48, "test": 1, "max_length": 64, "max_new_tokens": 8,
             "vocabulary_size": 400},
    "large": {"layers": 1, "width": 32, "heads": 2, "feedforward": 32,
              "tune": {"epochs": 1, "learning_rate": 1e-3, "batch_size": 16}},
    "small": {"layers": 1, "width": 16, "heads": 1, "feedforward": 16},
    "objective": {"epochs": 2, "learning_rate": 1e-3, "batch_size": 16},
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.long
def test_illustration_of_a_real_training(tmp_path):
    folder = save(tmp_path / "tiny", methods=("xent", "cat-xent"), seeds=(0,), settings=TINY)
    with Progress(Console(file=io.StringIO())) as progress:
        made = illustrate.illustrate(folder, tmp_path / "cache", progress)
    live, shown = made[illustrate.LIVE], made[illustrate.SENTENCES]["sentences"]
    assert live["repeated"] and live["steps"] == [0, 1, 2, 3, 4, 5, 6]
    assert {sentence["group"] for sentence in shown} == {part["group"] for part in live["parts"]}
    for sentence in shown:
        assert len(sentence["tokens"]) == len(sentence["small"]["right"]) == len(sentence["large"]["logprob"])
        assert sentence["tokens"][-1] == "<eos>"
    # The mask's share at a step is what the training itself saw, up to the batch it saw it on.
    tokens = sum(part["tokens"] for part in live["parts"])
    seen = [sum(part["live"][step] for part in live["parts"]) / tokens for step in range(6)]
    trained = [store.read_json(path) for path in (tmp_path / "cache/train").glob("*/manifest.json")]
    (share,) = [cell["live"] for cell in trained if cell["label"] == "small cat-xent seed 0"]
    assert np.mean(seen) == pytest.approx(share, abs=0.02)
    for name, content in made.items():
        store.write_json(folder / name, content)
    drawn = Book(FIGURES, [Source(folder)]).draw(tmp_path / "out", ["cascade_mask", "live_tokens"])
    assert len(list(drawn)) == 2
