"""Every file that a run leaves, damaged in turn: found by its checksum, built again or named, never used."""

import json
import random
import shutil
import types

import numpy as np
import pytest

from benchmarks import report
from benchmarks.keeping import keep, verify
from benchmarks.report.reading import load
from benchmarks.running import locks, request
from cat_keras.errors import CatKerasError
from cat_keras.storage import store
from tests import runs, tiny
from tests.faults import cases, damages
from tests.faults.outcome import differences, leftovers, outcome

UNREAD = ("metadata.json", "preprocessor.json")  # files of a preset that loading does without


def invented_cache(root):
    """A cache as runs leave it: files of every kind, folders in folders, and facts in the manifests."""
    rng, written = np.random.default_rng(0), store.Store(root)

    def fill(stage, number):
        def build(folder):
            noise = rng.bytes(200)
            if stage == "train":
                (folder / "preset").mkdir()
                (folder / "preset/config.json").write_text(json.dumps({"config": {"layers": number}}))
                (folder / "preset/model.weights.h5").write_bytes(noise)
                (folder / "history.json").write_text(json.dumps({"loss": [2.5, 1.25 + number], "live": [1.0, 0.5]}))
                return {"label": f"small {number}", "loss": 1.25, "steps": 2, "live": 0.75, "padding": 0.125}
            if stage == "teacher":
                for shard in ("00000", "00001"):
                    (folder / "cache" / shard).mkdir(parents=True)
                    np.save(folder / "cache" / shard / "right.npy", rng.integers(0, 255, 40).astype(np.uint8))
                    store.seal(folder / "cache" / shard, {"header": {"weights": "abc"}})
                store.seal(folder / "cache", {"header": {"weights": "abc"}, "counts": [40, 40]})
                return {"right": 0.5}
            (folder / f"{stage}.bin").write_bytes(noise)
            return {"examples": 48 + number}

        return build

    for stage, count in (("tokenizer", 2), ("encoded", 1), ("train", 3), ("teacher", 2), ("predict", 3)):
        for number in range(count):
            written.get(stage, store.identity(stage=stage, number=number), fill(stage, number))
    return root


def entries(root):
    """Folder of every entry → (stage, key)."""
    manifests = [store.read_manifest(path) for path in root.glob("*/*/manifest.json")]
    return {root / m["stage"] / m["key"][:16]: (m["stage"], m["key"]) for m in manifests}


def check_every_entry(root, n):
    """Damages n times a file of the cache: exactly the entries it belongs to are found, said and removed."""
    known, kept, rng, found = entries(root), damages.Kept(root), random.Random(n), dict.fromkeys(damages.KINDS, 0)
    files = [path for path in kept.contents if any(folder in path.parents for folder in known)]
    for kind, path in damages.cases(files, n, rng):
        changed = damages.do(kind, path, files, rng)
        hit = {folder for folder in known if any(folder in each.parents for each in changed)}
        said = []
        opened = locks.SharedStore(root, said.append)
        whole = {folder for folder, (stage, key) in known.items() if opened.has(stage, key)}
        assert whole == known.keys() - hit, (kind, path)
        assert len(said) == len(hit) and all("building it again" in line for line in said), (kind, path, said)
        assert not any(folder.exists() for folder in hit) and not leftovers(root.parent), (kind, path)
        found[kind] += bool(hit)
        kept.restore()
    return found


@pytest.mark.parametrize("n", cases(150, 2500))
def test_entries_of_a_cache(tmp_path, n):
    found = check_every_entry(invented_cache(tmp_path / "cache"), n)
    assert sum(found.values()) >= 0.95 * n and min(found.values()) >= n // 10


@pytest.mark.parametrize("n", cases(40, 600))
def test_folders_of_runs(tmp_path, n):
    """What is read of a run folder is as it was written, or named in one error."""
    folder = runs.full(tmp_path / "run", ("sst2", "xsum"), ("xent",), (0,), n=4)
    store.write_manifest(folder / "manifest.json", store.read_json(folder / "manifest.json"))
    runs.full(tmp_path / "sibling", ("sst2", "xsum"), ("xent",), (0,), n=4, seed=1)
    kept, rng = damages.Kept(tmp_path), random.Random(n)
    files = [path for path in kept.contents if path.parent == folder]
    for kind, path in damages.cases(files, n, rng):
        twin = tmp_path / "sibling" / path.name
        if damages.do(kind, path, [twin], rng):
            with pytest.raises(CatKerasError, match=path.name.replace(".", r"\.")):
                load.load(folder)
        kept.restore()
    assert load.load(folder).missing == ()


@pytest.mark.parametrize("n", cases(40, 600))
def test_folders_of_kept_results(tmp_path, monkeypatch, n):
    monkeypatch.setattr(report, "files", runs.quick_report)
    folder = keep.keep(runs.full(tmp_path / "run", ("sst2",), ("xent",), (0,), n=4), tmp_path / "kept")
    kept, rng = damages.Kept(folder), random.Random(n)
    files = list(kept.contents)
    assert verify.verify(folder).problems == ()
    for kind, path in damages.cases(files, n, rng):
        if changed := damages.do(kind, path, files, rng):
            try:
                problems = " ".join(verify.verify(folder).problems)
            except CatKerasError as error:
                problems = str(error)
            # Without a manifest, or with one that is damaged, nothing is known of the others.
            assert "manifest.json" in problems or all(each.name in problems for each in changed), (kind, path, problems)
        kept.restore()
    assert verify.verify(folder).problems == ()


def test_a_run_looks_for_damage_that_no_prediction_needs_to_be_made_without(tmp_path):
    found = entries(invented_cache(tmp_path / "cache"))
    wanted = [*found.values(), ("train", "f" * 64)]  # the last was deleted on purpose
    todo = types.SimpleNamespace(made_from=lambda: wanted)
    assert request.damaged(todo, store.Store(tmp_path / "cache", pytest.fail)) == []
    hit = [next(folder for folder in found if folder.parent.name == stage) for stage in ("train", "teacher")]
    (hit[0] / "history.json").write_text("{}")
    (hit[1] / "cache/00001/right.npy").unlink()
    damaged = request.damaged(todo, store.Store(tmp_path / "cache", [].append))
    assert set(damaged) == {found[folder][1] for folder in hit}


# -- a run of a tiny profile -----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.long
def test_every_file_that_a_run_caches(finished, tmp_path):
    shutil.copytree(finished[0] / "runs" / "cache", tmp_path / "cache")
    found = check_every_entry(tmp_path / "cache", 600)
    assert sum(found.values()) >= 500 and min(found.values()) >= 100


@pytest.mark.slow
@pytest.mark.long
def test_every_file_that_a_report_reads(finished, tmp_path):
    folder = tmp_path / "tiny"
    shutil.copytree(finished[0] / "runs" / "tiny", folder)
    kept, rng = damages.Kept(folder), random.Random(0)
    files = [folder / name for name in ("examples.parquet", "predictions.parquet", "manifest.json")]
    for kind, path in damages.cases(files, 100, rng):
        if damages.do(kind, path, files, rng):
            with pytest.raises(CatKerasError, match=r"examples\.parquet|predictions\.parquet|manifest\.json"):
                load.load(folder)
        kept.restore()


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("stage", ["tokenizer", "encoded", "train", "teacher", "predict", "manifests"])
def test_a_run_builds_again_what_was_damaged_and_ends_the_same(finished, tmp_path, stage):
    source, expected = finished
    shutil.copytree(source, tmp_path, dirs_exist_ok=True)
    cache, rng = tmp_path / "runs" / "cache", random.Random(stage)
    found = cache.glob("*/*/manifest.json" if stage == "manifests" else f"{stage}/*/**/*.*")
    files, changed = sorted(path for path in found if path.is_file()), set()
    for path in rng.sample(files, min(len(files), 3)):
        changed |= {*damages.do(rng.choice(["truncated", "emptied", "flipped"]), path, files, rng)}
    hit = {"/".join(path.relative_to(cache).parts[:2]) for path in changed}
    output, known = tiny.run(tmp_path, *tiny.EACH_STAGE), entries(source / "runs" / "cache")
    said = {line for line in output.splitlines() if "building it again" in line}
    assert len(said) == len(hit) and all(any(entry in line for line in said) for entry in hit), output
    assert differences(expected, outcome(tmp_path / "runs" / "tiny")) == [] and leftovers(tmp_path / "runs") == []
    opened = store.Store(cache, report=pytest.fail)
    assert all(opened.has(*entry) for entry in known.values())


@pytest.mark.slow
@pytest.mark.long
def test_what_reads_a_preset_or_a_teacher_cache_itself(finished, tmp_path):
    from cat_keras.modeling import models
    from cat_keras.training.teacher import TeacherCache

    cache, rng = finished[0] / "runs" / "cache", random.Random(0)
    for pattern, name, read, n in (
        ("train/*/preset", "preset", models.load, 60), ("teacher/*/cache", "teacher", TeacherCache.load, 100)
    ):  # fmt: skip
        folder = tmp_path / name
        shutil.copytree(next(cache.glob(pattern)), folder)
        kept = damages.Kept(folder)
        files = [path for path in kept.contents if name == "teacher" or path.name not in UNREAD]
        for kind, path in damages.cases(files, n, rng):
            # Only the cache of runs has checksums of presets: a bit in their weights is a weight.
            if (name == "teacher" or kind not in ("flipped", "swapped")) and damages.do(kind, path, files, rng):
                with pytest.raises(CatKerasError):
                    read(folder)
            kept.restore()
        read(folder)


@pytest.mark.slow
@pytest.mark.long
def test_a_checkpoint_is_what_was_written_or_is_not_read(tmp_path, new_model, encoded):
    import keras

    from cat_keras.training import checkpoint
    from cat_keras.training.batches import Batches
    from cat_keras.training.loop import Schedule, train
    from cat_keras.training.trainer import CascadeAware

    def state_after(steps, folder):
        trainer = CascadeAware(new_model("small", seed=0), "xent")
        trainer.compile(keras.optimizers.Adam(), jit_compile=False)
        batches, path = Batches(encoded, 40, buckets=1), folder / "state.npz"
        train(trainer, batches, Schedule(1e-2, steps), path, every_seconds=0)
        return path

    path, twin = state_after(4, tmp_path / "one"), state_after(5, tmp_path / "other")
    values, history, identity = checkpoint._read(path)
    kept, rng, read = damages.Kept(tmp_path), random.Random(0), 0
    for kind, _ in damages.cases([path], 500, rng):
        damages.do(kind, path, [twin], rng)
        try:
            again = checkpoint._read(path)
        except Exception:  # said, removed and stepped over by `restore`
            continue
        finally:
            kept.restore()
        # Another training's has another identity, which `restore` names in an error.
        same = again[1:] == (history, identity) and all(map(np.array_equal, again[0], values))
        assert same or again[2] != identity, kind
        read += 1
    assert read < 250
