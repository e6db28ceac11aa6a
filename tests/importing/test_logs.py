"""Logs of lm-evaluation-harness and inspect_ai, and Every Eval Ever samples, made here in their forms."""

import json
import zipfile
import zlib

import pyarrow
import pytest

from benchmarks.importing import archives, sources
from benchmarks.importing.tables import Reading
from cat_keras.errors import CatKerasError

TIME = "2026-01-01T00-00-00.000001"


def choice(doc, scores, target, **metrics):
    """A record of a multiple-choice task, as the harness writes it: log-likelihoods as texts."""
    return {
        "doc_id": doc, "doc": {}, "target": str(target), "doc_hash": f"h{doc}", "filter": "none",
        "arguments": {f"gen_args_{i}": {"arg_0": f"Q{doc}", "arg_1": f" option {i}"} for i in range(len(scores))},
        "resps": [[[str(score), "False"]] for score in scores],
        "filtered_resps": [[str(score), "False"] for score in scores], "metrics": list(metrics), **metrics,
    }  # fmt: skip


def harness(root, model, records, task="arc", time=TIME):
    folder = root / model.replace("/", "__")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"results_{time}.json").write_text(
        json.dumps({"config": {"model": "hf", "model_args": f"pretrained={model},dtype=float"}})
    )
    (folder / f"samples_{task}_{time}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


def test_multiple_choice_has_the_likelihood_of_every_option(tmp_path):
    folder = harness(tmp_path, "org/A", [choice(0, [-1.5, -0.5], 1, acc=1.0, acc_norm=0.0)])
    answers = sources.read([folder], Reading())
    row = answers.frame.iloc[0]
    assert (row["model"], row["task"], row["id"], row["quality"]) == ("org/A", "arc", "0", 1)
    assert row["option_logprobs"] == [-1.5, -0.5] and row["options"] == ["option 0", "option 1"]
    assert row["target"] == row["text"] == "option 1"
    assert sources.read([folder], Reading(metric="acc_norm")).frame["quality"].tolist() == [0]
    with pytest.raises(CatKerasError, match="did you mean acc"):
        sources.read([folder], Reading(metric="accc"))


def test_models_given_as_objects_are_told_apart(tmp_path):
    """Their results name the class of a wrapper, which both have."""
    for name in ("calm-crow", "mild-mole"):
        folder = harness(tmp_path, name, [choice(0, [-1.0, -2.0], 0, acc=1.0)])
        facts = {"config": {"model": "HFLM", "model_args": None}, "model_source": "CUSTOM", "model_name": name}
        (folder / f"results_{TIME}.json").write_text(json.dumps(facts))
    assert set(sources.read([tmp_path], Reading()).frame["model"]) == {"calm-crow", "mild-mole"}


def test_unconditional_likelihoods_are_no_options(tmp_path):
    record = choice(0, [-1.5, -0.5, -0.1, -9.0], 1, acc=1.0, acc_mutual_info=0.0)
    for name in ("gen_args_2", "gen_args_3"):
        record["arguments"][name]["arg_0"] = ""
    row = sources.read([harness(tmp_path, "A", [record])], Reading()).frame.iloc[0]
    assert row["option_logprobs"] == [-1.5, -0.5] and row["text"] == "option 1"


def test_of_one_model_and_task_the_newest_file_counts(tmp_path):
    harness(tmp_path, "A", [choice(0, [-1, -2], 0, acc=0.0)], time="2025-01-01T00-00-00.0")
    folder = harness(tmp_path, "A", [choice(0, [-1, -2], 0, acc=1.0)])
    answers = sources.read([folder], Reading())
    assert answers.frame["quality"].tolist() == [1] and answers.notes == ["A on arc: 1 older files are left out."]


def test_of_several_filters_the_first_counts_and_the_others_are_named(tmp_path):
    record = {"doc_id": 0, "target": "4", "resps": [["4"]], "filtered_resps": ["4"], "metrics": ["exact_match"]}
    records = [record | {"filter": name, "exact_match": value} for name, value in (("strict", 0.0), ("flexible", 1.0))]
    folder = harness(tmp_path, "A", records, task="gsm8k")
    answers = sources.read([folder], Reading())
    assert answers.frame["quality"].tolist() == [0] and "also there: flexible" in answers.notes[0]
    assert sources.read([folder], Reading(metric="flexible/exact_match")).frame["quality"].tolist() == [1]
    assert "option_logprobs" not in answers.frame


def test_the_likelihood_of_the_reference_alone_is_no_confidence(tmp_path):
    record = choice(0, [-3.0], 0, acc=1.0) | {"filtered_resps": [["-3.0", "True"]]}
    answers = sources.read([harness(tmp_path, "A", [record], task="lambada")], Reading())
    assert "option_logprobs" not in answers.frame and "logprob" not in answers.frame
    assert "no cascade knows" in answers.notes[0]


def test_a_cut_file_names_its_line(tmp_path):
    folder = harness(tmp_path, "A", [choice(0, [-1, -2], 0, acc=0.0)])
    path = next(folder.glob("samples_*"))
    path.write_text(path.read_text() + '{"doc_id": 1, "resps')
    with pytest.raises(CatKerasError, match="line 2"):
        sources.read([folder], Reading())


def log(model, values, logprobs=True):
    """A log of inspect_ai with a sample per value."""
    content = {"content": [{"token": "a", "logprob": -0.5}, {"token": "b", "logprob": -1.5}]}
    samples = [
        {
            "id": i, "epoch": 1, "input": f"Q{i}", "target": "A", "scores": {"choice": {"value": value, "answer": "A"}},
            "output": {"completion": "A", "time": 2.0, "choices": [{"logprobs": content if logprobs else None}]},
            "model_usage": {model: {"input_tokens": 5, "output_tokens": 7, "total_cost": 0.01}},
        }
        for i, value in enumerate(values)
    ]  # fmt: skip
    return {"status": "success", "eval": {"eval_id": "x", "model": model, "task": "suite/arc"}, "samples": samples}


def archive(path, whole, compression=zipfile.ZIP_DEFLATED):
    samples = whole.pop("samples")
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("header.json", json.dumps(whole))
        for sample in samples:
            file.writestr(f"samples/{sample['id']}_epoch_1.json", json.dumps(sample))
    return path


def test_both_forms_of_an_inspect_log_say_the_same(tmp_path):
    (tmp_path / "log.json").write_text(json.dumps(log("org/m", ["C", "I", "P", 0.25])))
    path = archive(tmp_path / "log.eval", log("org/m", ["C", "I", "P", 0.25]))
    for answers in (sources.read([each], Reading()) for each in (tmp_path / "log.json", path)):
        frame = answers.frame
        assert frame["quality"].tolist() == [1, 0, 0.5, 0.25] and set(frame["task"]) == {"arc"}
        assert frame["token_logprobs"].tolist() == [[-0.5, -1.5]] * 4 and answers.currency == "USD"
        assert frame["n_prompt"].tolist() == [5] * 4 and frame["seconds"].tolist() == [2] * 4


def zstandard_archive(path, whole):
    """As inspect_ai writes it; Python's zipfile does not compress so before 3.14."""
    samples = whole.pop("samples")
    members = {"header.json": whole} | {f"samples/{s['id']}_epoch_1.json": s for s in samples}
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            data = json.dumps(content).encode()
            file.writestr(name, pyarrow.compress(data, "zstd", asbytes=True))
            info = file.getinfo(name)
            info.compress_type, info.file_size, info.CRC = archives.ZSTANDARD, len(data), zlib.crc32(data)
    return path


def test_an_archive_compressed_by_zstandard(tmp_path):
    path = zstandard_archive(tmp_path / "log.eval", log("org/m", ["C", "I"]))
    assert sources.read([path], Reading()).frame["quality"].tolist() == [1, 0]
    content = path.read_bytes()
    start = content.index(b"\x28\xb5\x2f\xfd")  # the first bytes of a frame
    path.write_bytes(content[: start + 20] + bytes([content[start + 20] ^ 255]) + content[start + 21 :])
    with pytest.raises(CatKerasError, match="Expected a whole log of inspect_ai"):
        sources.read([path], Reading())


def test_an_archive_that_holds_more_than_it_declares(tmp_path):
    path = zstandard_archive(tmp_path / "log.eval", log("org/m", ["C"]))
    with zipfile.ZipFile(path) as file:
        info = file.getinfo("header.json")
        info.file_size -= 1
        with pytest.raises(ValueError, match="more than it declares"):
            archives.member(file, "header.json")


def test_a_log_of_one_epoch_is_the_first_of_several(tmp_path):
    several, one = log("org/m", ["C", "I"]), log("org/m", ["C"])
    several["samples"] += [sample | {"epoch": 2} for sample in several["samples"]]
    one["eval"]["task"] = "suite/other"
    for name, content in (("several", several), ("one", one)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    frame = sources.read([tmp_path], Reading()).frame
    assert frame.groupby("run", observed=True)["task"].unique().map(set).to_dict() == {
        "1": {"arc", "other"},
        "2": {"arc"},
    }
    assert set(sources.read([tmp_path / "one.json"], Reading()).frame["run"]) == {""}


def test_an_archive_that_declares_too_much_is_not_unpacked(tmp_path, monkeypatch):
    from benchmarks.importing import inspect_logs

    path = archive(tmp_path / "log.eval", log("m", ["C"]))
    monkeypatch.setattr(inspect_logs, "MEMBER", 10)
    with pytest.raises(CatKerasError, match="declares more than 10 bytes"):
        sources.read([path], Reading())


@pytest.mark.parametrize("content", [b"PK\x03\x04", b"{}", b'{"eval": {"eval_id": 1}, "samples": [1]}'])
def test_a_damaged_log_is_said(tmp_path, content):
    (tmp_path / "log.eval").write_bytes(content)
    with pytest.raises(CatKerasError, match="Expected a whole log of inspect_ai"):
        sources.read([tmp_path / "log.eval"], Reading())


def test_samples_of_every_eval_ever(tmp_path):
    record = {
        "schema_version": "0.2.1", "evaluation_id": "e", "model_id": "org/m", "evaluation_name": "gsm8k",
        "sample_id": "s1", "sample_hash": "h", "interaction_type": "single_turn",
        "input": {"raw": "2 + 2", "reference": ["4"]}, "output": {"raw": ["4"]}, "answer_attribution": [],
        "evaluation": {"score": 7.0, "is_correct": True},
        "token_usage": {"input_tokens": 3, "output_tokens": 1, "total_tokens": 4}, "performance": {"latency_ms": 1500},
    }  # fmt: skip
    (tmp_path / "s.jsonl").write_text(json.dumps(record) + "\n")
    row = sources.read([tmp_path / "s.jsonl"], Reading()).frame.iloc[0]
    assert (row["model"], row["task"], row["id"], row["quality"]) == ("org/m", "gsm8k", "s1", 1)
    assert (row["n_prompt"], row["seconds"], row["target"]) == (3, 1.5, "4")
    (tmp_path / "s.jsonl").write_text(json.dumps(record) + "\n{}\n")
    with pytest.raises(CatKerasError, match="line 2"):
        sources.read([tmp_path / "s.jsonl"], Reading())


def test_a_folder_of_nothing_is_said(tmp_path):
    with pytest.raises(CatKerasError, match="which holds none"):
        sources.read([tmp_path], Reading())
