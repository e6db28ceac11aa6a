"""Kept results: the same report to the byte, and not a word of the texts."""

import pyarrow.parquet
import pytest
from typer.testing import CliRunner

from benchmarks import cli, report
from benchmarks.keeping import keep
from benchmarks.report.numbers import cells
from benchmarks.report.reading import load
from cat_keras.errors import CatKerasError
from cat_keras.storage import store
from tests import runs

NEEDS_TEXT = "report.html"  # shows examples


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(report, "files", runs.quick_report)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """All metrics, full and kept."""
    place = tmp_path_factory.mktemp("keep")
    full = runs.full(place / "full")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "files", runs.quick_report)
        return full, keep.keep(full, place / "kept")


@pytest.mark.parametrize("tasks", [("cb",), pytest.param(runs.TASKS, marks=[pytest.mark.slow, pytest.mark.long])])
def test_the_report_of_what_is_kept_is_the_report_of_the_run(tmp_path, tasks):
    full = runs.full(tmp_path / "full", tasks)
    kept = keep.keep(full, tmp_path / "kept")
    expected = report.files(load.load(full))
    assert {"table.md", "table.csv", "tasks.csv", "tasks.png", "quality_cost.svg"} <= expected.keys()
    again = report.files(load.load(kept))
    assert again.keys() == expected.keys()
    for name in expected.keys() - {NEEDS_TEXT}:
        assert again[name] == expected[name], name
    tables = report.files(load.load(full), drawn=False)
    assert tables.keys() == {"table.md", "table.csv", "tasks.csv", "changes.csv", "rules.csv"}
    assert {path.name: path.read_bytes() for path in kept.iterdir() if path.suffix in (".md", ".csv")} == tables
    assert {path.suffix for path in kept.iterdir()} == {".md", ".csv", ".parquet", ".json"}
    assert expected["table.md"].startswith(tables["table.md"].rstrip())  # images follow


def test_official_numbers_need_no_text(folders):
    full, kept = map(load.load, folders)
    assert full.has_text and not kept.has_text
    for name in runs.TASKS:
        assert cells.official(kept, name, kept.large[name]) == cells.official(full, name, full.large[name])
        assert cells.signature(kept, name) == cells.signature(full, name)
        assert kept.fingerprint(name) == full.fingerprint(name)


def test_no_word_of_the_texts_is_kept(folders):
    names = {path.name for path in folders[1].iterdir()}
    assert {"predictions.parquet", "examples.parquet", "manifest.json"} < names
    texts = {e.prompt.split()[0] for of in load.load(folders[0]).examples.values() for e in of}
    assert texts == {"secret"}
    for path in folders[1].iterdir():
        content = str(pyarrow.parquet.read_table(path).to_pylist()) if path.suffix == ".parquet" else path.read_bytes()
        assert "secret" not in str(content), path
        assert not {"text", "prompt", "target", "options", "references"} & set(
            pyarrow.parquet.read_schema(path).names if path.suffix == ".parquet" else ()
        )


def test_what_is_kept_of_examples_and_answers(folders):
    full, kept = map(load.load, folders)
    assert kept.examples["cb"].ids == full.examples["cb"].ids
    assert [len(e.options) for e in kept.examples["cb"]] == [3] * 24
    assert [e.group for e in kept.examples["embedded_translate"]] == ["easy", "hard"] * 12  # a stratum has its name
    pairs = [e.group for e in kept.examples["multirc"]]
    assert len(set(pairs)) == 12 and all(group.isdigit() for group in pairs)
    one, other = (run.small["xent", 0, "xsum"] for run in (full, kept))
    for name in ("quality", "flops", "seconds", "n_prompt", "n_answer"):
        assert one[name].tolist() == other[name].tolist()
    assert [row.tolist() for row in other["token_logprobs"]] == [row.tolist() for row in one["token_logprobs"]]
    kept_file = pyarrow.parquet.read_schema(folders[1] / "predictions.parquet")
    assert kept_file.field("token_logprobs").type.value_type == "float"


def test_manifest(folders):
    manifest = store.read_json(folders[1] / "manifest.json")
    for name, digest in manifest["files"].items():
        assert store.sha256_file(folders[1] / name) == digest
    assert manifest["kept"]["of"] == store.read_json(folders[0] / "manifest.json")["files"]
    assert manifest["kept"]["packages"]["numpy"]
    assert 0 < manifest["bayes_quality"]["embedded_translate"] < 1 and manifest["bayes_quality"]["sst2"] is None


def test_keeping_again_gives_the_same_bytes_and_spares_files_of_others(tmp_path, quick):
    full, to = runs.full(tmp_path / "full", ("sst2",), ("xent",), (0,), n=4), tmp_path / "kept"
    first = {path.name: path.read_bytes() for path in keep.keep(full, to).iterdir()}
    (to / "notes.txt").write_text("mine")
    manifest = store.read_manifest(to / "manifest.json")
    store.write_manifest(to / "manifest.json", manifest | {"files": manifest["files"] | {"old.csv": ""}})
    (to / "old.csv").write_text("of an earlier version")
    keep.keep(full, to)
    assert {path.name: path.read_bytes() for path in to.iterdir()} == first | {"notes.txt": b"mine"}


def test_holes_and_extra_methods_are_kept_as_such(tmp_path, quick):
    full = runs.full(tmp_path / "full", tasks=("sst2", "xsum"), methods=("xent", "dist", "other"), n=8)
    path = full / "predictions.parquet"
    rows = [r for r in pyarrow.parquet.read_table(path).to_pylist()
            if (r["method"], r["seed"], r["task"]) != ("dist", 1, "xsum") or r["id"] != "test-0"]  # fmt: skip
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    manifest = store.read_json(full / "manifest.json") | {"methods": ["xent", "dist"], "files": {}}
    store.write_json(full / "manifest.json", manifest)
    run = load.load(full)
    assert run.missing == ("dist/1/xsum",) and run.extra == ("other",)
    kept = keep.keep(full, tmp_path / "kept")
    assert (load.load(kept).missing, load.load(kept).extra) == (run.missing, run.extra)
    expected = report.files(run)
    assert b"Missing ('dist/1/xsum',), left out ('other',)" in expected["table.md"]
    for name in ("table.md", "table.csv", "tasks.csv"):
        assert (kept / name).read_bytes() == expected[name]


def test_ids_that_may_be_text_become_numbers_in_the_same_order(tmp_path, quick):
    full = runs.full(tmp_path / "full", ("sst2",), ("xent",), (0,), n=12, ids="http://secret/page")
    kept = keep.keep(full, tmp_path / "kept")
    ids = load.load(kept).examples["sst2"].ids
    assert all(id.isdigit() for id in ids) and len(set(ids)) == 12
    before = load.load(full).examples["sst2"].ids
    assert sorted(range(12), key=ids.__getitem__) == sorted(range(12), key=before.__getitem__)
    assert (kept / "table.csv").read_bytes() == report.files(load.load(full))["table.csv"]


def test_small(tmp_path, quick):
    """Bytes per prediction decide whether a study of a million predictions can be committed."""
    kept = keep.keep(runs.full(tmp_path / "full", tasks=("wmt22_deen",), n=400), tmp_path / "kept")
    per_prediction = (kept / "predictions.parquet").stat().st_size / (5 * 400)
    assert per_prediction < 100  # ten tokens and 28 counts each


def test_histories_stand_in_a_file_of_their_own(tmp_path, quick):
    course = {"step": [2, 4], "loss": [3.25, 1 / 3], "live": [1.0, 0.5]}
    training = {f"xent/{seed}": {"live": 0.5, "history": course} for seed in (0, 1)}
    earlier = {"training": training, "settings": {}}
    full = runs.full(tmp_path / "full", ("sst2",), ("xent",), n=4, **earlier)  # as the first version wrote it
    kept = keep.keep(full, tmp_path / "kept")
    assert "history" not in str(store.read_manifest(kept / "manifest.json"))
    assert load.load(kept).histories == load.load(full).histories == dict.fromkeys(training, course)
    later = {"training": {"dist/0": training["xent/0"]}, "settings": {}}
    keep.keep(runs.full(tmp_path / "later", ("sst2",), ("dist",), (0,), n=4, **later), kept, add=True)
    assert load.load(kept).histories.keys() == {"xent/0", "xent/1", "dist/0"}
    (kept / "training.parquet").write_bytes(b"damaged")
    with pytest.raises(CatKerasError, match=r"training\.parquet must be the file that manifest\.json lists"):
        load.load(kept)


def test_refusals(folders, tmp_path):
    with pytest.raises(CatKerasError, match=r"kept of a run with its texts; .*kept has none"):
        keep.keep(folders[1], tmp_path / "again")
    with pytest.raises(CatKerasError, match="run folder with texts, which would be lost"):
        keep.keep(folders[0], folders[0])
    with pytest.raises(CatKerasError, match=r"manifest\.json is missing"):
        keep.keep(tmp_path, tmp_path / "to")


def test_command(tmp_path, quick):
    runs.full(tmp_path / "runs" / "invented", ("sst2",), ("xent",), (0,), n=4)
    arguments = ["keep", "invented", "--out", str(tmp_path / "runs"), "--to", str(tmp_path / "results")]
    done = CliRunner().invoke(cli.app, arguments)
    assert done.exit_code == 0 and "Kept in" in done.output
    assert not load.load(tmp_path / "results").has_text
    with pytest.raises(CatKerasError, match=r"Unknown run 'invent'; did you mean invented\?"):
        CliRunner().invoke(cli.app, ["keep", "invent", *arguments[2:]], catch_exceptions=False)
