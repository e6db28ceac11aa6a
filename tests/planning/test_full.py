"""The full benchmark: its models, its estimate."""

import dataclasses
import os
import re
import subprocess
import sys
import tomllib

import numpy as np
import pytest

from benchmarks.planning import estimate, examples, hardware, methods, plan, profile, sizes
from benchmarks.tasks import task
from cat_keras.data.records import Example
from cat_keras.errors import CatKerasError
from cat_keras.modeling import costs, models
from cat_keras.storage.compilations import LONG_TRAINING

SMALL = {"data.train": 20, "data.test": 8}
OFFLINE = os.environ | {"HF_HUB_OFFLINE": "1"}


def make(name="embedded", **changes):
    return plan.make(profile.read(name, SMALL | changes))


# -- the profile -----------------------------------------------------------------------------------------------------


def test_full_is_every_task_of_the_registry_through_tfds_with_presets():
    full = profile.read("full")
    registry = {t.name for t in task.select("all") if "embedded" not in t.suites}
    assert {t.name for t in task.select(full.data.tasks)} == registry
    assert full.data.source == "tfds"
    assert set(full.methods) == set(methods.OBJECTIVES) - {methods.ASKING}
    assert full.small.preset and full.large.preset


def test_tasks_without_pairs_in_tfds_are_tested_only():
    from benchmarks.sources.direction import CORPORA_OF_TFDS

    full = profile.read("full")
    wmt = task.select("wmt22")
    absent = {t.name for t in wmt if tuple(sorted((t.source.source, t.source.target))) not in CORPORA_OF_TFDS}
    assert absent == set(full.data.test_only)


def test_a_model_is_taken_from_another_profile_with_its_phases():
    full, tiny = profile.read("full", models={"small": "tiny", "large": "nano"}), profile.read("tiny")
    assert full.small == tiny.small
    assert full.objective == tiny.objective
    assert full.large == profile.read("nano").large
    assert full.data.train == profile.read("full").data.train


def test_a_preset_in_the_place_of_a_new_model_is_fine_tuned_as_one():
    mixed, full = profile.read("embedded", models={"small": "gemma3_1b"}), profile.read("full")
    assert mixed.small.preset == "gemma3_1b"
    assert mixed.small.pretrain is None
    assert mixed.small.tune == full.small.tune
    assert mixed.objective == full.objective


def test_tasks_are_skipped_and_tested_only():
    todo = make(**{"data.skip": ["embedded_lookup"], "data.test_only": ["embedded_classify"]})
    assert "embedded_lookup" not in {t.name for t in todo.tasks}
    assert "embedded_classify" in todo.test.lengths
    assert "embedded_classify" not in todo.train.lengths


def test_tasks_are_trained_on_and_not_asked():
    whole, todo = make(), make(**{"data.train_only": ["embedded_classify"]})
    assert "embedded_classify" in todo.train.lengths and todo.encoded == whole.encoded
    assert "embedded_classify" not in todo.test.lengths and "embedded_classify" not in {t.name for t in todo.tasks}
    assert "train_only" not in whole.profile.model_dump()["data"]
    assert todo.profile.model_dump(mode="json")["data"]["train_only"] == ["embedded_classify"]
    with pytest.raises(CatKerasError, match=r"asks its models something.*embedded_lookup"):
        make(**{"data.tasks": ["embedded_lookup"], "data.train_only": ["embedded_lookup"]})


def test_noise_without_an_embedded_task_is_an_error(tmp_path):
    with pytest.raises(CatKerasError, match=r"data\.noise .* 0\.3 without one"):
        plan.make(profile.read("nano", {"data.noise": 0.3}), tmp_path)


def test_all_examples_are_as_many_as_there_are():
    todo = make(**{"data.tasks": ["embedded_lookup"], "data.test": "all"})
    assert len(todo.test) == 500


def test_data_that_is_not_there_is_an_error_that_says_how_to_go_on(tmp_path):
    with pytest.raises(CatKerasError, match=r"prepare.*--skip wmt22_enliv|no training pairs.*--skip wmt22_enliv"):
        plan.make(profile.read("full", {"data.tasks": ["wmt22_enliv"], "data.test_only": []}), tmp_path)


# -- examples --------------------------------------------------------------------------------------------------------


def _rows(t):
    return [Example(f"{i}", f"prompt {i}", "é", t.name, ("é", "yes")) for i in range(5)]


def test_examples_that_are_not_kept_are_read_again():
    tasks = [task.get("bool_q"), task.get("cb")]
    kept, read = examples.Examples(tasks, _rows), examples.Examples(tasks, _rows, keep=3)
    assert list(kept) == list(read) == [e for t in tasks for e in _rows(t)]
    assert len(kept) == len(read) == 10
    assert kept.fingerprint == read.fingerprint
    lengths = read.lengths["cb"]
    assert (lengths.prompt[0], lengths.target[0], lengths.options[0], lengths.n_options[0]) == (8, 2, 5, 2)


def test_examples_that_changed_meanwhile_are_an_error():
    calls = []

    def read(t):
        calls.append(t)
        return [Example("0", f"prompt {len(calls)}", "x", t.name)]

    changed = examples.Examples([task.get("cb")], read, keep=0)
    with pytest.raises(CatKerasError, match="Data stay as they are while a run reads them"):
        list(changed)


# -- the estimate ----------------------------------------------------------------------------------------------------


def test_the_size_of_a_shape_is_that_of_the_model_built_from_it(proto):
    shape = {"layers": 3, "width": 24, "heads": 3, "feedforward": 40}
    model = models.build(proto, **shape)
    told = sizes.of(profile.Model(**shape), models.tokenizer_of(model).vocabulary_size())
    assert told.flops == costs.count(model)
    assert told.parameters == model.count_params()


def test_the_size_of_a_preset_folder_is_that_of_its_model(new_model, tmp_path):
    model = new_model("large")
    models.save(model, tmp_path / "preset")
    told = sizes.of(profile.Model(preset=str(tmp_path / "preset")), 0)
    assert told.flops == costs.count(model)
    assert told.parameters == model.count_params()


def test_the_size_of_a_named_preset_comes_from_keras_hub():
    told = sizes.of(profile.Model(preset="gemma_2b_en"), 0)
    assert told.flops.per_token == 2 * told.parameters > 5e9
    with pytest.raises(CatKerasError, match=r"told by its folder or by KerasHub's list\. Received: gemma3_271m"):
        sizes.of(profile.Model(preset="gemma3_271m"), 0)


def test_architectures_have_as_many_parameters_as_keras_hub_lists():
    import keras_hub

    presets = keras_hub.models.CausalLM.presets
    shapes = tomllib.loads(sizes.ARCHITECTURES.read_text())
    names = [name for shape in shapes.values() for name in shape["names"]]
    assert {profile.read("full").small.preset, profile.read("full").large.preset} < set(names)
    for name in names:
        assert sizes.of(profile.Model(preset=name), 0).parameters == presets[name]["metadata"]["params"], name


def test_an_architecture_is_counted_like_a_model_of_it(proto, tmp_path, monkeypatch):
    model = _gemma3(proto, 2, 32)
    table = ["[small]", 'source = "here"', 'names = ["small"]', "layers = 2", "width = 32", "heads = 2",
             "key_value_heads = 1", "head_dim = 8", "feedforward = 32"]  # fmt: skip
    (tmp_path / "presets.toml").write_text(
        "\n".join([*table, f"vocabulary = {model.preprocessor.tokenizer.vocabulary_size()}"])
    )
    monkeypatch.setattr(sizes, "ARCHITECTURES", tmp_path / "presets.toml")
    models.save(model, tmp_path / "preset")
    named, told = (sizes.of(profile.Model(preset=preset), 0) for preset in ("small", str(tmp_path / "preset")))
    assert (named.parameters, named.flops) == (told.parameters, told.flops)
    assert (named.outputs, named.heads) == (told.outputs, told.heads)
    for layers in ("default", "attention", "all"):
        lora = profile.Lora(rank=3, layers=layers)
        assert named.adapted(lora) == told.adapted(lora)


def test_stages_are_all_that_a_run_builds():
    todo = make(seeds=[0, 1])
    stages = estimate.Estimate(todo).stages()
    assert {s.key for s in stages if s.kind == "train"} == {c.key for c in todo.cells()}
    assert sum(s.kind == "predict" for s in stages) == 1 + 5 * 2
    assert [s.key for s in stages if s.kind == "teacher"] == [todo.teacher]
    assert all(s.flops > 0 and s.disk > 0 for s in stages)


def test_a_short_training_loses_a_part_of_what_compiling_would_take():
    found = estimate.Estimate(plan.make(profile.read("embedded"), None), 1.0)
    stages = {stage.label: stage for stage in found.stages() if stage.kind == "train"}
    lengths, layers = 2, {"large": 4, "small": 2}
    assert stages["large tune"].steps > LONG_TRAINING and stages["large tune"].compiled == lengths * layers["large"]
    short = stages["small xent seed 0"]
    assert short.compiled == lengths * layers["small"] * short.steps / LONG_TRAINING < lengths * layers["small"]
    machine = dataclasses.replace(hardware.get("cpu2"), compile=0.5)
    assert found.compile_seconds([stages["large tune"], short], machine) == 0.5 * (2 * 4 + short.compiled)


def test_training_takes_three_forward_passes_over_every_epoch():
    todo = make()
    found = estimate.Estimate(todo, 1.0)
    flops, lengths = found.size["large"].flops, found.train_lengths
    layers = flops.per_token * lengths.sum() + flops.per_context * (lengths**2).sum() / 2
    for phase, logits in (("pretrain", lengths.sum()), ("tune", found.target_tokens)):
        stage = next(s for s in found.stages() if s.label == f"large {phase}")
        epochs = getattr(todo.profile.large, phase).epochs
        assert stage.flops == pytest.approx(3 * epochs * (layers + flops.per_logit * logits))


def test_options_are_read_after_one_reading_of_their_prompt():
    found = estimate.Estimate(make(**{"data.tasks": ["embedded_classify"]}), 1.0)
    (each,) = found.plan.test.lengths.values()
    lengths, logits = found.chosen
    assert logits == each.options.sum() + each.n_options.sum()
    assert lengths.sum() == each.prompt.sum() + logits


def test_steps_and_tokens_are_near_those_of_the_encoded_data(tokenizer):
    import cat_keras as ck

    todo = make(**{"data.max_length": 64})
    texts = sum(len((e.prompt + e.target).encode()) for e in todo.train)
    data = ck.encode(list(todo.train), tokenizer, 64)
    each = texts / (len(data.tokens) - 2 * len(data))
    assert estimate.Estimate(todo, each).train_lengths.sum() == pytest.approx(len(data.tokens), rel=0.05)


def test_rows_that_are_not_here_are_taken_at_the_limits(tmp_path):
    todo = plan.make(profile.read("nano"), tmp_path, assume=True)
    assert len(todo.train) == 12 * 3000
    assert len(todo.train.assumed) == 12
    found = estimate.Estimate(todo)
    assert found.train_lengths.max() == todo.profile.data.max_length
    assert np.isfinite(sum(s.flops for s in found.stages()))


def test_a_split_that_is_not_here_is_taken_at_the_limits_beside_one_that_is(tmp_path):
    folder = tmp_path / "glue/sst2"
    folder.mkdir(parents=True)
    (folder / "validation.jsonl").write_text('{"sentence": "good", "label": 1}\n')  # where its test rows come from
    todo = plan.make(profile.read("nano", changes={"data.tasks": ["sst2"]}), tmp_path, assume=True)
    assert todo.train.assumed == ["sst2"] and todo.test.assumed == [] and len(todo.test) == 1


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("h100", {}),
        ("l4", {"large.lora": {"rank": 16}, "large.weights": "bfloat16", "precision": "mixed_bfloat16"}),
    ],
)
def test_both_models_of_full_fit_an_accelerator(name, changes, tmp_path):
    machine = hardware.get(name)
    found = estimate.Estimate(plan.make(profile.read("full", changes), tmp_path, "local", assume=True))
    for role in ("small", "large"):
        memory, has_activations = found.memory(role, machine.kind)
        assert has_activations and memory < machine.memory, role


def test_hardware_is_a_row_of_the_table_or_this_machine():
    assert hardware.get("h100").rate(1e9) > hardware.get("cpu2").rate(1e9)
    assert hardware.get("v5e-8").devices == 8
    assert 1e9 < hardware.get("measure").flops < 1e14
    with pytest.raises(CatKerasError, match="Unknown hardware 'h10'; did you mean h100"):
        hardware.get("h10")


def dry_run(*arguments):
    code = (
        "import sys; from benchmarks import cli; sys.argv = ['benchmarks', 'run', '--dry-run', *sys.argv[1:]]\n"
        "try: cli.main()\n"
        "except SystemExit as e: assert not e.code\n"
        "assert 'tensorflow' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_dry_run_for_a_cluster_says_how_long_and_which_chain_is_the_longest():
    def hours(text, output):
        number, unit = re.search(rf"{text} ([\d.]+) (s|min|h|d)", output).groups()
        return float(number) * {"s": 1, "min": 60, "h": 3600, "d": 86400}[unit] / 3600

    options = ("full", "--small", "tiny", "--large", "nano", "--seeds", "3", "--tasks", "sst2,common_gen")
    outputs = {n: " ".join(dry_run(*options, "--hardware", f"{n}xl4", "--price-hour", "2").split()) for n in (2, 200)}
    chain = hours("longest chain takes", outputs[2])
    two, many = (hours("one job on each:", output) for output in outputs.values())
    assert chain == hours("longest chain takes", outputs[200]) == pytest.approx(many, rel=0.05)
    assert many < two
    assert "on however many: large pretrain (" in outputs[2] and "At 2 an hour each: " in outputs[2]
    with pytest.raises(CatKerasError, match="hardware"):
        hardware.several("8xabacus")
    with pytest.raises(CatKerasError, match=r"the machines of --hardware is a whole number in \[1, 100000\]"):
        hardware.several("0xh100")


def test_a_file_of_a_machine_is_read_as_it_was_written(tmp_path):
    shares = ((1e5, 0.1), (1e7, 0.4))
    machine, path = dataclasses.replace(hardware.get("cpu2"), shares=shares), tmp_path / "here.toml"
    path.write_text(hardware.text(machine))
    assert hardware.get(str(path)) == machine
    rates = [machine.rate(per_token) / machine.flops for per_token in (1e3, 1e5, 1e6, 1e7, 1e9)]
    assert rates == pytest.approx([0.1, 0.1, 0.25, 0.4, 0.4])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda text: text.replace("devices = 1", "devices = 0"), "not above 0"),
        (lambda text: text.replace("flops = ", "flops = -"), "not above 0"),
        (lambda text: text.replace("shares", "share"), "shares"),
        (lambda text: text.replace("shares = [", 'shares = [["a", 1.0]'), "could not convert"),
        (lambda text: text + "more = 1", "more"),
        (lambda text: "{", "Invalid"),
    ],
)
def test_another_file_is_one_error(tmp_path, change, reason):
    path = tmp_path / "here.toml"
    path.write_text(change(hardware.text(hardware.get("cpu2"))))
    with pytest.raises(CatKerasError, match=f"perf calibrate FILE. wrote.*{reason}"):
        hardware.get(str(path))
    with pytest.raises(CatKerasError, match="No such file"):
        hardware.get(str(tmp_path / "nowhere.toml"))


def test_a_dry_run_prints_plan_and_estimate_and_leaves_nothing(tmp_path):
    options = ("--hardware", "v5e-8", "--price-hour", "360")
    output = dry_run("tiny", "--out", str(tmp_path / "runs"), *options)
    seconds, price = re.search(r"chips: ([\d.]+) s,.* At 360 an hour: ([\d.]+)\.", output).groups()
    assert float(price) == pytest.approx(float(seconds) / 10, abs=0.06)
    for text in ("large tune", "predict large", "to do", "Estimate for 8 TPU v5e chips", "disk"):
        assert text in output
    assert not (tmp_path / "runs").exists()


# -- presets ---------------------------------------------------------------------------------------------------------


def _gemma3(proto, layers, width):
    import keras_hub

    tokenizer = keras_hub.models.Gemma3Tokenizer(proto=proto, has_vision_tokens=False)
    backbone = keras_hub.models.Gemma3Backbone(
        vocabulary_size=tokenizer.vocabulary_size(),
        image_size=16,
        num_layers=layers,
        num_query_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        hidden_dim=width,
        intermediate_dim=32,
        use_query_key_norm=True,
        use_post_ffw_norm=True,
        use_post_attention_norm=True,
        use_sliding_window_attention=True,
        sliding_window_size=16,
        vision_encoder=None,
    )
    preprocessor = keras_hub.models.Gemma3CausalLMPreprocessor(tokenizer, image_converter=None)
    return keras_hub.models.Gemma3CausalLM(backbone=backbone, preprocessor=preprocessor)


def _gpt2(layers, width):
    import keras_hub

    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = [*map(chr, printable), *(chr(256 + i) for i in range(len(others)))]
    vocabulary = {piece: i for i, piece in enumerate(["<|endoftext|>", *letters, "th"])}
    tokenizer = keras_hub.models.GPT2Tokenizer(vocabulary=vocabulary, merges=["t h"])
    backbone = keras_hub.models.GPT2Backbone(
        vocabulary_size=len(vocabulary),
        num_layers=layers,
        num_heads=2,
        hidden_dim=width,
        intermediate_dim=32,
        max_sequence_length=256,
    )
    return keras_hub.models.GPT2CausalLM(
        backbone=backbone, preprocessor=keras_hub.models.GPT2CausalLMPreprocessor(tokenizer)
    )


def run_full(folder, *arguments, status=0):
    sizes = ("data.max_length=128", "data.max_new_tokens=8", "buckets=1", "teacher.k=4")
    changes = [word for size in sizes for word in ("--set", size)]
    command = [sys.executable, "-m", "benchmarks", "run", "full", "--source", "samples", "--out", str(folder / "runs")]
    done = subprocess.run(
        [*command, *changes, *arguments],
        capture_output=True,
        text=True,
        env=OFFLINE,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


TWO = ("--tasks", "sst2,common_gen", "--methods", "xent,cat-dist")
ALL = ("--set", "large.lora.rank=2", "--set", "data.test=2")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "words"), [(_gemma3, ALL), pytest.param(lambda proto, *shape: _gpt2(*shape), TWO, marks=pytest.mark.long)]
)
def test_a_pair_of_presets_goes_the_whole_way(make, words, proto, tmp_path):
    import pandas

    for role, shape in {"small": (1, 16), "large": (2, 32)}.items():
        models.save(make(proto, *shape), tmp_path / role)
    run_full(tmp_path, "--small", str(tmp_path / "small"), "--large", str(tmp_path / "large"), *words)
    table = pandas.read_parquet(tmp_path / "runs" / "full" / "predictions.parquet")
    assert table.groupby(["model", "method"]).size().nunique() == 1
    if words == ALL:
        assert {*table.task} == {t.name for t in task.select("all") if "embedded" not in t.suites}
        assert {*table.method} >= {*profile.read("full").methods}
    assert table.token_logprobs.map(lambda lp: len(lp) > 0 and np.isfinite(lp).all()).all()
    assert table.quality.between(0, 1).all()


@pytest.mark.long
def test_a_new_model_beside_a_preset_without_sentencepiece_is_one_error(tmp_path):
    models.save(_gpt2(1, 16), tmp_path / "gpt2")
    output = run_full(tmp_path, "--small", "tiny", "--large", str(tmp_path / "gpt2"), *TWO, status=2)
    assert "reads the preset's SentencePiece vocabulary" in output
    assert "Traceback" not in output
