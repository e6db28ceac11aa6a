"""What `verify` finds in folders of results, and that it finds nothing in those of this repository."""

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks import cli, report
from benchmarks.keeping import keep, verify
from benchmarks.report.reading import load
from benchmarks.tasks import embedded, task
from cat_keras.errors import CatKerasError
from cat_keras.storage import store
from tests import runs

RESULTS = Path(__file__).parents[2] / "results"
WHOLE_REPORT = report.files


@pytest.mark.long  # CI verifies all of them beside the tests, by the command
@pytest.mark.parametrize("folder", verify.folders(RESULTS), ids=lambda folder: folder.name)
def test_the_committed_results(folder):
    assert verify.verify(folder).problems == ()


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    place = tmp_path_factory.mktemp("verify")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "files", runs.quick_report)
        yield keep.keep(runs.full(place / "full", ("sst2",), ("xent",), (0,), n=8), place / "kept")


@pytest.fixture
def copy(kept, tmp_path):
    return shutil.copytree(kept, tmp_path / "kept")


def test_untouched(kept):
    verdict = verify.verify(kept)
    assert verdict.problems == verdict.notices == () and verdict.compared == 4


def test_a_changed_number_is_named_with_its_place(copy):
    lines = (copy / "tasks.csv").read_text().splitlines()
    names, values = lines[0].split(","), lines[1].split(",")
    column = names.index("audc")
    true, values[column] = values[column], "0.999"
    (copy / "tasks.csv").write_text("\n".join([lines[0], ",".join(values), *lines[2:]]) + "\n")
    (problem,) = verify.verify(copy).problems
    expected = f"tasks.csv: row 1 (sst2, xent, 0), column audc: committed '0.999', computed '{true}'"
    assert problem == expected


def test_a_changed_line_of_text(copy):
    text = (copy / "table.md").read_text()
    assert "One seed" in text
    (copy / "table.md").write_text(text.replace("One seed", "Ten seeds"))
    (problem,) = verify.verify(copy).problems
    assert problem.startswith("table.md: line ") and "Ten seeds" in problem and "One seed" in problem


def test_columns_rows_and_missing_files(copy):
    table = (copy / "table.csv").read_text().splitlines()
    (copy / "table.csv").write_text("\n".join(["name" + table[0].removeprefix("method"), *table[1:]]) + "\n")
    rules = (copy / "rules.csv").read_text().splitlines()
    (copy / "rules.csv").write_text("\n".join(rules[:-1]) + "\n")
    (copy / "tasks.csv").unlink()
    problems = dict(line.split(": ", 1) for line in verify.verify(copy).problems)
    assert problems["table.csv"] == "other columns than computed: method, name"
    assert problems["rules.csv"].startswith(f"row {len(rules) - 1} (), column scope: committed '', computed ")
    assert problems["tasks.csv"] == "missing; the report has it"
    assert len(problems) == 3


def test_drawings_of_a_run_are_compared_too(tmp_path, kept):
    full = runs.full(tmp_path / "full", ("sst2",), ("xent",), (0,), n=4)
    for name, content in runs.quick_report(load.load(full)).items():
        (full / name).write_bytes(content)
    assert verify.verify(full).problems == ()
    (full / "quality_cost.png").write_bytes(b"draw")
    assert verify.verify(full).problems == ("quality_cost.png: other bytes than computed (4 committed, 5 computed)",)


def test_what_differs_is_said_beside_other_versions(copy):
    (copy / "table.csv").write_text("method\n")
    manifest = store.read_manifest(copy / "manifest.json")
    manifest["kept"]["packages"]["numpy"] = "1.0"
    store.write_manifest(copy / "manifest.json", manifest)
    (notice,) = verify.verify(copy).notices
    assert notice.startswith("computed with other versions than recorded: numpy 1.0 recorded")


def test_damaged_predictions(copy):
    path = copy / "predictions.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    assert verify.verify(copy).problems == ("predictions.parquet: has another checksum than manifest.json says",)
    path.unlink()
    assert verify.verify(copy).problems == ("predictions.parquet: missing",)


def test_a_task_changed_since_the_run_is_a_notice(copy):
    manifest = store.read_manifest(copy / "manifest.json")
    manifest["task_identities"]["sst2"] |= {"version": 0, "templates": ["other:\n"]}
    manifest["task_identities"]["sst2"].pop("keep")  # an empty field that identities had not then says nothing
    manifest["task_identities"]["gone"] = {"version": 1}
    store.write_manifest(copy / "manifest.json", manifest)
    verdict = verify.verify(copy)
    assert verdict.problems == ()
    assert {line.partition(". ")[0] for line in verdict.notices} == {
        "changed since the run (templates, version): sst2",
        "changed since the run (removed): gone",
    }


def test_a_task_with_another_share_of_noise_is_as_it_was(copy):
    manifest = store.read_manifest(copy / "manifest.json")
    (noisy,) = embedded.with_noise([task.get("embedded_lookup")], 0.3)
    manifest["task_identities"] = {"embedded_lookup": noisy.identity()}
    manifest["settings"] = {"data": {"noise": 0.3}}
    store.write_manifest(copy / "manifest.json", manifest)
    assert verify.verify(copy).notices == ()
    manifest["settings"]["data"]["noise"] = None
    store.write_manifest(copy / "manifest.json", manifest)
    assert "changed since the run (source): embedded_lookup" in verify.verify(copy).notices[0]


def test_redrawing_brings_back_what_predictions_give_and_not_other_predictions(copy, kept):
    (copy / "table.csv").write_text("method\n")
    (copy / "tasks.csv").unlink()
    manifest = store.read_manifest(copy / "manifest.json")
    (copy / "old.csv").write_text("of an earlier report")
    manifest["files"] |= {"old.csv": store.sha256_file(copy / "old.csv")}
    store.write_manifest(copy / "manifest.json", manifest)
    keep.redraw(copy)
    assert {p.name: p.read_bytes() for p in copy.iterdir()} == {p.name: p.read_bytes() for p in kept.iterdir()}
    manifest = store.read_manifest(copy / "manifest.json")
    manifest["files"]["predictions.parquet"] = "0"
    store.write_manifest(copy / "manifest.json", manifest)
    with pytest.raises(CatKerasError, match=r"predictions\.parquet must be the file that manifest\.json lists"):
        keep.redraw(copy)


@pytest.mark.slow
def test_several_folders_are_shared_by_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "files", WHOLE_REPORT)  # what the other processes compute
    same = keep.keep(runs.full(tmp_path / "full", ("sst2",), ("xent",), (0,), n=4), tmp_path / "same")
    other = shutil.copytree(same, tmp_path / "other")
    (other / "table.csv").write_text("method\n")
    first, second = verify.verify_all([same, other], jobs=2)
    assert (first.folder, second.folder) == (same, other)
    assert first.problems == () and len(second.problems) == 1


def test_a_full_run_folder_verifies_too(tmp_path, kept):
    full = runs.full(tmp_path / "full", ("sst2",), ("xent",), (0,), n=4)
    assert {line.partition(": ")[2] for line in verify.verify(full).problems} == {"missing; the report has it"}


def test_command(copy, tmp_path, monkeypatch):
    call = CliRunner().invoke
    done = call(cli.app, ["verify", str(copy)])
    assert done.exit_code == 0 and "all as committed" in done.output
    (copy / "table.csv").write_text("method\n")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(copy, tmp_path / "results" / "invented")
    done = call(cli.app, ["verify"])
    assert done.exit_code == 1 and "results/invented/table.csv: other columns than computed" in done.output
    done = call(cli.app, ["verify", "--write"])
    assert done.exit_code == 0 and "all as committed" in done.output
    assert (tmp_path / "results/invented/table.csv").read_bytes() != (copy / "table.csv").read_bytes()
    with pytest.raises(CatKerasError, match=r"no/manifest\.json is missing"):
        call(cli.app, ["verify", "no"], catch_exceptions=False)
    with pytest.raises(CatKerasError, match=r"folders with a manifest\.json; .*has none"):
        verify.folders(tmp_path / "no")
