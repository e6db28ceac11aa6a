"""Models and cascades inside lm-evaluation-harness itself, and its logs through the door of `import`."""

import json
import os

import pytest

import cat_keras as ck
from benchmarks.importing import sources
from benchmarks.importing.tables import Reading
from benchmarks.tasks import loading, task
from cat_keras.decoding.predictor import Predictor
from cat_keras.errors import CatKerasError

harness = pytest.importorskip("lm_eval")
DATA = os.environ.get("CAT_KERAS_DATA", "")
ARGUMENTS = {"max_length": 48, "max_new_tokens": 8}
SHARED = ("boolq", "rte", "copa", "wic", "sst2", "arc_easy", "hellaswag")
pytestmark = pytest.mark.filterwarnings("ignore")  # of lm_eval and datasets


def declared(folder, name, examples, **more) -> dict:
    """A task of the harness with our prompts: its rows are a file, so that nothing is downloaded."""
    path = folder / f"{name}.jsonl"
    rows = [{"prompt": e.prompt, "options": list(e.options), "target": e.target} for e in examples]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    choice = {"output_type": "multiple_choice", "doc_to_choice": "{{options}}", "metric_list": [{"metric": "acc"}]}
    return {
        "task": name, "dataset_path": "json", "test_split": "test",
        "dataset_kwargs": {"data_files": {"test": str(path)}, "cache_dir": str(folder / "cache")},
        "doc_to_text": "{{prompt}}", "doc_to_target": "{{options.index(target)}}", "target_delimiter": "",
        "metadata": {"version": 1}, **choice, **more,
    }  # fmt: skip


def generated(folder, name, examples) -> dict:
    return declared(
        folder, name, examples, output_type="generate_until", doc_to_choice=None, doc_to_target="{{target}}",
        generation_kwargs={"until": ["\n"], "max_gen_toks": 8, "do_sample": False},
        metric_list=[{"metric": "exact_match"}],
    )  # fmt: skip


def evaluate(model, tasks, **more):
    return harness.simple_evaluate(model=model, tasks=[dict(each) for each in tasks], bootstrap_iters=0, **more)


@pytest.fixture(scope="module")
def tasks(tmp_path_factory, examples):
    folder = tmp_path_factory.mktemp("tasks")
    return [declared(folder, "parity", examples[:20]), generated(folder, "spell", examples[20:])]


@pytest.fixture(scope="module")
def logs(tmp_path_factory, tasks, trained, large):
    """(folder of each of two models, and of their cascade; its language model)."""
    folder = tmp_path_factory.mktemp("logs")
    cascade = ck.Cascade([trained, large], "chow-average", [-0.2], **ARGUMENTS, stop=["\n"])
    given = [
        ck.lm_eval.of(trained, name="org/small", **ARGUMENTS),
        ck.lm_eval.of(large, name="org/large", **ARGUMENTS, scoring="cat-keras"),
        ck.lm_eval.of(cascade, name="org/both"),
    ]
    return [ck.lm_eval.write(evaluate(model, tasks), folder) for model in given], given[-1], cascade


@pytest.mark.slow
def test_import_reads_what_was_logged(logs, trained, examples):
    folders, _, _ = logs
    assert [folder.name for folder in folders] == ["org__small", "org__large", "org__both"]
    answers = sources.read(folders[:2], Reading())
    frame = answers.frame.set_index(["model", "task", "id"])
    assert len(frame) == 80 and not answers.notes
    for n, prediction in enumerate(Predictor(trained, **ARGUMENTS, stop=["\n"])(examples[20:])):
        row = frame.loc["org/small", "spell", str(n)]
        assert row["text"] == prediction.text
        assert row["quality"] == (prediction.text == examples[20 + n].target)
    for n, example in enumerate(examples[:20]):
        row = frame.loc["org/large", "parity", str(n)]
        assert tuple(row["options"]) == example.options and row["target"] == example.target
        assert row["text"] == example.options[max((0, 1), key=row["option_logprobs"].__getitem__)]
        assert row["prompt"] == example.prompt and row["quality"] == (row["text"] == example.target)


@pytest.mark.slow
def test_a_cascade_says_who_answered_and_at_what_cost(logs, examples):
    folders, model, cascade = logs
    answers = {(a.task, a.doc): a for a in model.answers}
    assert len(answers) == len(model.answers) == 40
    frame = sources.read(folders[2:], Reading()).frame.set_index(["task", "id"])
    for name, part in (("parity", examples[:20]), ("spell", examples[20:])):
        alone = cascade(part)
        for n, answer in enumerate(alone):
            record = answers[name, n]
            assert (record.stage, record.text, record.flops) == (answer.stage, answer.text, answer.flops)
            assert frame.loc[name, str(n)]["text"] == answer.text
    assert {a.stage for a in model.answers} == {0, 1}


@pytest.mark.slow
def test_the_command_imports_the_folder(logs, tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from benchmarks.cli import app

    monkeypatch.chdir(tmp_path)
    folders = [str(folder) for folder in logs[0][:2]]
    done = CliRunner().invoke(app, ["import", *folders, "--as", "pair"])
    assert done.exit_code == 0, done.output
    assert "org/small" in done.output and (tmp_path / "runs" / "pair").is_dir()


def test_unconditional_likelihoods_are_no_options(tmp_path, small, examples):
    """`acc_mutual_info` asks for the likelihood of every option alone as well."""
    metrics = [{"metric": "acc"}, {"metric": "acc_mutual_info"}]
    only = declared(tmp_path, "parity", examples[:4], metric_list=metrics)
    results = evaluate(ck.lm_eval.of(small, name="m", **ARGUMENTS), [only])
    row = sources.read([ck.lm_eval.write(results, tmp_path / "logs")], Reading()).frame.iloc[0]
    assert len(row["option_logprobs"]) == 2 and tuple(row["options"]) == examples[0].options
    cascade = ck.lm_eval.of(ck.Cascade([small, small], thresholds=[0], **ARGUMENTS))
    with pytest.raises(CatKerasError, match="acc_mutual_info"):
        evaluate(cascade, [only])


@pytest.mark.slow
def test_texts_are_rolled_and_lone_continuations_scored(tmp_path, small, examples):
    whole = declared(
        tmp_path, "whole", examples[:3], output_type="loglikelihood_rolling", doc_to_choice=None, doc_to_text="",
        doc_to_target="{{prompt}}", metric_list=[{"metric": "word_perplexity"}],
    )  # fmt: skip
    last = declared(
        tmp_path, "last", examples[20:23], output_type="loglikelihood", doc_to_choice=None, doc_to_target="{{target}}",
        metric_list=[{"metric": "perplexity"}, {"metric": "acc"}],
    )  # fmt: skip
    results = evaluate(ck.lm_eval.of(small, **ARGUMENTS), [whole, last])
    assert results["results"]["whole"]["word_perplexity,none"] > 1
    assert results["results"]["last"]["perplexity,none"] > 1
    assert results["config"]["model_name"] == small.name


@pytest.mark.slow
def test_what_the_harness_offers_and_a_cascade_cannot_use(tmp_path, tasks, small):
    cascade = ck.lm_eval.of(ck.Cascade([small, small], thresholds=[0], **ARGUMENTS))
    with pytest.raises(CatKerasError, match="use_cache"):
        evaluate(cascade, tasks[:1], use_cache=str(tmp_path / "cache"))
    with pytest.raises(CatKerasError, match=r"chat=ck\.Chat"):
        evaluate(cascade, tasks[:1], apply_chat_template=True)
    with pytest.raises(CatKerasError, match=r"as it was calibrated\. Received: max_length"):
        ck.lm_eval.of(ck.Cascade([small, small], thresholds=[0]), max_length=48)
    with pytest.raises(CatKerasError, match="log_samples=True"):
        ck.lm_eval.write(evaluate(cascade, tasks[:1], log_samples=False), tmp_path)


def test_windows_and_settings_are_theirs():
    from lm_eval.models.utils import normalize_gen_kwargs
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

    from cat_keras.decoding.likelihoods import windows
    from cat_keras.harness.requests import settings

    for count in range(1, 12):
        for length in range(1, 6):
            theirs = map(make_disjoint_window, get_rolling_token_windows([*range(count)], -1, length, 1))
            assert [*windows(range(count), -1, length)] == [(list(a), list(b)) for a, b in theirs]
    for given in ({"max_tokens": 3}, {"until": "x", "max_new_tokens": 5}, {"temperature": 0.5}, {"do_sample": False}):
        theirs, ours = normalize_gen_kwargs(dict(given), 256), settings(given)
        assert theirs["max_gen_toks"] == (ours.max_new_tokens or 256) and theirs["until"] == list(ours.stop)
        assert theirs.get("temperature", 0) == (ours.sampler.temperature if ours.sampler else 0)


@pytest.fixture(scope="module")
def reader():
    """A small model of random weights over the words of the tasks, as every task has the same difficulty for it."""
    from cat_keras.modeling import models

    texts = [text for name in SHARED for e in some(name, 100) for text in (e.prompt, e.target)]
    return models.build(models.train_tokenizer(texts, 1000), layers=1, width=16, heads=1, feedforward=16, seed=0)


def some(name, limit=None):
    return loading.load(task.get(name), "test", DATA, limit=limit)


@pytest.mark.skipif(not DATA, reason="CAT_KERAS_DATA names no folder of real data")
@pytest.mark.parametrize(
    "limit", [pytest.param(60, marks=pytest.mark.slow), pytest.param(None, marks=pytest.mark.long)]
)
def test_both_paths_answer_alike_to_the_last_example(tmp_path, reader, limit):
    asked = {name: some(name, limit) for name in SHARED}
    arguments = {"max_length": 1024, "max_new_tokens": 8, "batch_size": 64}
    model = ck.lm_eval.of(reader, scoring="cat-keras", **arguments)
    results = evaluate(model, [declared(tmp_path, name, part) for name, part in asked.items()])
    predictor = Predictor(reader, **arguments)
    for name, part in asked.items():
        samples = sorted(results["samples"][name], key=lambda sample: sample["doc_id"])
        predictions = predictor(part)
        right = [p.text == e.target for p, e in zip(predictions, part, strict=True)]
        assert [sample["acc"] == 1 for sample in samples] == right, name
        assert results["results"][name]["acc,none"] == pytest.approx(sum(right) / len(right), abs=1e-12)
        assert {a.doc: a.text for a in model.answers if a.task == name} == dict(enumerate(p.text for p in predictions))
    assert model.truncated == predictor.truncated
