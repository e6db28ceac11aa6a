"""Builds each result of a run: tokenizer, encoded data, trained models, teacher columns and predictions.

Models and compiled functions are kept between trainings, so that one more seed or phase costs no compilation.
"""

import contextlib
import gc
import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

import cat_keras as ck
from benchmarks.planning.methods import ASKING
from benchmarks.planning.plan import Cell, Columns, Model, Plan
from benchmarks.running import handing
from benchmarks.running.trained import ADAPTERS
from cat_keras import training
from cat_keras.data.chat import turn_of
from cat_keras.errors import CatKerasError
from cat_keras.modeling import models, tokenizers
from cat_keras.storage import store
from cat_keras.storage.store import Store
from cat_keras.training import distribution, losses, selection

ENCODED = "encoded"  # folder of the tokens in their entry
EDITS = ("reorder", "cut")  # objectives that train nothing, see `plan`


class Workbench:
    """Builds the results a plan names, each through the store.

    Args:
        plan: what to build.
        store: where results lie.
        progress: an object with `start(label, total, unit)`, `advance(n, text)`, `done(text)` and `stopping()`.
        place: the `Distribution` that models are trained on.
        logs: makes the logs of a training from its label: functions of a `training.Progress` with `close()`.
    """

    def __init__(self, plan: Plan, store: Store, progress, place=None, logs=lambda label: []):
        self.plan, self.profile, self.store, self.progress = plan, plan.profile, store, progress
        self.place, self.logs = place or distribution.choose("none"), logs
        self._models, self._trainers, self._predictors = {}, {}, {}
        self._encoded, self._columns = None, {}
        self.left_out: frozenset[tuple[str, str]] = frozenset()  # (task, id) of training rows without a token
        distribution.make_deterministic(0)
        distribution.set_precision(self.profile.precision)

    def keep(self, models: list[Model]):
        """Frees the memory of everything that none of these models needs: compiled functions, and larger models.

        Args:
            models: all models that are still to be made.
        """
        cells = [c for c in self.plan.cells(models) if not self.store.exists("train", c.key)]
        teach = {s.role for s in self.plan.columns(cells) if not self.store.exists("teacher", s.key)}
        compiled = {_compilation_key(c) for c in cells}
        self._trainers = {k: v for k, v in self._trainers.items() if k in compiled}
        answering = [(self.plan.role(model), self.plan.last(model)) for model in models]
        needed = {"small", *teach, *(_name(c.role, c.size, c.lora) for c in cells)}
        needed |= {_name(role, cell and cell.size) for role, cell in answering}
        self._models = {name: model for name, model in self._models.items() if name in needed}
        self._predictors = {key: predictor for key, predictor in self._predictors.items() if key[0] in needed}

    @property
    def chat(self) -> ck.Chat | None:
        """How the profile asks instruct models."""
        chat = self.profile.data.chat
        return ck.Chat(**chat.model_dump()) if chat else None

    # -- data ----------------------------------------------------------------------------------------------------

    def tokenizer(self) -> bytes:
        """Proto of the tokenizer that is trained on the run's own training text."""

        def build(folder):
            self.progress.start("tokenizer", 1, "")
            texts = [part for e in self.plan.train for part in (e.prompt, e.target)]
            proto = models.train_tokenizer(texts, self.profile.data.vocabulary_size)
            (folder / "vocabulary.spm").write_bytes(proto)
            self.progress.done(f"trained on {len(self.plan.train):,} examples")

        return (self.store.get("tokenizer", self.plan.tokenizer, build) / "vocabulary.spm").read_bytes()

    def tokenizer_of_run(self):
        """The tokenizer that all models of the run share."""
        return models.tokenizer_of(self.model("small"))

    def turn_of_run(self):
        """What stands around every prompt of the run."""
        return turn_of(self.chat, self.tokenizer_of_run())

    def encoded(self) -> ck.Encoded:
        """The training examples as tokens; targets that do not fit are left out and counted."""
        tokenizer = self.tokenizer_of_run()  # made by all workers; `build` runs on the chief alone

        def build(folder):
            self.progress.start("encode", 1, "")
            rows = (e for e in self.plan.train if (e.task, e.id) not in self.left_out)
            length = self.profile.data.max_length
            data = ck.streaming.encode_to(folder / ENCODED, rows, tokenizer, length, "drop", self.chat)
            facts = {"examples": len(data), "tokens": len(data.tokens), "target_tokens": int(data.n_target.sum()),
                     "prompts_cut": data.truncated, "prompts_overlong": data.overlong,
                     "targets_too_long": len(data.dropped), "control_words": data.control_words}  # fmt: skip
            self.progress.done(
                f"{len(data):,} examples, {len(data.tokens):,} tokens, {facts['target_tokens']:,} of them target; "
                f"{_cut(data.truncated, data.overlong)}, {len(data.dropped)} examples dropped (target too long)"
                f"{_words(data.control_words)}"
            )
            return facts

        if self._encoded is None:
            entry = self.store.get("encoded", self.plan.encoded, build)
            earlier = entry / "encoded.npz"  # of an entry of an earlier version
            data = ck.Encoded.load(earlier) if earlier.exists() else ck.streaming.opened(entry / ENCODED)
            # The key of the entry contains the files of the tokenizer, so entries of version 0.1 serve on.
            self._encoded = data.known_to_be_of(tokenizer)
        return self._encoded

    def teacher(self) -> ck.TeacherCache:
        """The columns of the large model over the training data."""
        return self.columns(Columns(self.plan.teacher, "large", self.plan.large))

    def columns(self, source: Columns) -> ck.TeacherCache:
        """The columns of a model that teaches smaller ones."""

        def build(folder):
            weights = self.weights(source.role, source.cell)
            cache = self._build_columns(folder, source.key, source.role, weights, source.label)
            right = float(np.asarray(cache.right).mean())
            bits, total = cache.bytes_per_token["right"] * 8, sum(cache.bytes_per_token.values())
            self.progress.done(
                f"{source.role} model right on {right:.1%} of target tokens; {bits:.0f} bit per token for the "
                f"mask, {total:.0f} bytes with {self.profile.teacher.distribution} probabilities"
            )
            return {"right": right, "bytes_per_token": cache.bytes_per_token}

        if source.key not in self._columns:
            if source.role != "large":
                self.trained(source.cell)  # by all workers, as the model is made; `build` runs on the chief alone
            self.model(source.role)
            # Of the models between, each teaches one training: their columns need not stay.
            self._columns = {k: v for k, v in self._columns.items() if k == self.plan.teacher}
            self._columns[source.key] = ck.TeacherCache.load(self.store.get("teacher", source.key, build) / "cache")
        return self._columns[source.key]

    def columns_part(self, source: Columns, part: tuple[int, int]):
        """Computes shards i, i + n, … of the columns of a model, unless they are there; `columns` finds them.

        Args:
            part: (i, n).
        """
        if self.store.has("teacher", source.key):
            return
        # There are as many parts as shards.
        shard = self.store.taken_up("teacher", source.key, f"cache/{part[0]:05}")
        label, is_there = f"{source.label} {part[0] + 1}/{part[1]}", shard.exists()
        self._write_columns(shard.parent, source.role, self.weights(source.role, source.cell), label, part=part)
        if not is_there:
            self.store.hand_on(shard)
        self.progress.done("written")

    def _build_columns(self, folder, key, role, weights, label, temperature=1.0) -> ck.TeacherCache:
        """The columns of a model with some weights over the training data, written to the folder of an entry."""
        unfinished = self.store.taken_up("teacher", key) / "cache"
        cache = self._write_columns(unfinished, role, weights, label, temperature)
        unfinished.rename(folder / "cache")
        return cache

    def _write_columns(self, directory, role, weights, label, temperature=1.0, part=None) -> ck.TeacherCache | None:
        """Columns of a model with some weights, or a part of them; shards of an interrupted run are used again."""
        data = self.encoded()
        self.set_weights(role, weights)
        self.progress.start(label, len(data), "examples")
        return ck.TeacherCache.build(
            self.model(role),
            data,
            temperature=temperature,
            batch_size=64,
            progress=self.progress.upto,
            directory=directory,
            report=self.store.report,
            part=part,
            **self.profile.teacher.model_dump(),
        )

    def start_columns(self, cell: Cell) -> ck.TeacherCache:
        """Where the model of a training is right on the training data before it begins."""

        def build(folder):
            data = self.encoded()
            self.set_weights(cell.role, self.weights(cell.role, cell.start, cell.seed))
            self.progress.start(f"start of {cell.label}", len(data), "examples")
            cache = ck.TeacherCache.build(
                self.model(cell.role), data, "none", batch_size=64, progress=self.progress.upto
            )
            cache.save(folder / "cache")
            self.progress.done(f"right on {float(np.asarray(cache.right).mean()):.1%} of target tokens")

        return ck.TeacherCache.load(self.store.get("teacher", cell.start_columns, build) / "cache")

    def small_columns(self, cell: Cell) -> ck.TeacherCache:
        """The columns of the small start over the training data, for a large model that is trained with its help."""

        def build(folder):
            weights = self.weights("small", cell.small_teacher, cell.seed)
            cache = self._build_columns(
                folder, cell.small_columns, "small", weights, "columns of the small model",
                cell.arguments["temperature"],
            )  # fmt: skip
            self.progress.done(f"right on {float(np.asarray(cache.right).mean()):.1%} of target tokens")

        if cell.small_teacher:
            self.trained(cell.small_teacher)  # by all workers; `build` runs on the chief alone
        return ck.TeacherCache.load(self.store.get("teacher", cell.small_columns, build) / "cache")

    # -- models --------------------------------------------------------------------------------------------------

    def model(self, role: str, size: dict | None = None, lora=None):
        """The one model object of a role, of a size of it, or with LoRA; its weights are whatever was set last."""
        name = _name(role, size, lora)
        if name not in self._models:
            with self.place.scope():
                self._models[name] = self._part(size) if size else self._new(role, 0)
                if lora:
                    ck.lora.enable(self._models[name], **lora.arguments)
            others = self._models.keys() - {"small"} if name == "small" else {name}
            for other in others if "small" in self._models else ():
                models.check_same_tokenizer(self._models["small"], self._models[other])
        return self._models[name]

    def _part(self, size):
        """A small model of a size, with weights that mean nothing."""
        return ck.elastic.Elastic(self._new("small", 0), [size]).extract(size)

    def _new(self, role, seed):
        """A model of a role as it is before any training."""
        spec = self.profile.model_of(role)
        if spec.preset:
            dtype = None if spec.weights == "float32" else spec.weights
            model, length = models.load(spec.preset, dtype), self.profile.data.max_length
            models.check_positions(model, length, f"data.max_length={length}", "Set data.max_length={} or less")
            return model
        return models.build(self._vocabulary(), layers=spec.layers, width=spec.width, heads=spec.heads,
                            feedforward=spec.feedforward, dropout=spec.dropout, seed=seed)  # fmt: skip

    def _vocabulary(self) -> bytes:
        """SentencePiece proto of a model that is built here: that of the preset beside it, or one trained for it."""
        presets = [spec.preset for role in self.profile.roles if (spec := self.profile.model_of(role)).preset]
        if not presets:
            return self.tokenizer()
        preset = presets[0]
        tokenizer = models.tokenizer_of(models.load(preset))
        if not getattr(tokenizer, "proto", None):
            raise CatKerasError(
                "A model that is built here beside a preset reads the preset's SentencePiece vocabulary. Received: "
                f"{preset}, whose tokenizer is a {type(tokenizer).__name__}. Give presets for both models"
            )
        return tokenizer.proto

    def set_weights(self, role, weights, size=None):
        self.model(role, size).set_weights(weights)

    def weights(self, role: str, cell: Cell | None, seed: int = 0) -> list[np.ndarray]:
        """The weights a cell ends with, LoRA merged; without a cell those the model begins with."""
        return self._ended(role, cell, seed).get_weights()

    def _ended(self, role: str, cell: Cell | None, seed: int = 0):
        """A plain model with the weights that a cell ends with; without a cell as it begins."""
        if cell is None:
            return self._new(role, seed)
        result = self.trained(cell)
        if not cell.lora:
            return models.load(result)
        model = self._ended(role, cell.start, cell.seed)
        ck.lora.load(model, result)
        ck.lora.merge(model)
        return model

    def begun(self, cell: Cell) -> tuple[ck.CascadeAware, ck.Batches, training.Schedule]:
        """What a training is made of, with the weights that it starts from; the A of LoRA is drawn by its seed."""
        weights = self.weights(cell.role, cell.start, cell.seed)
        trainer, batches, schedule = self.session(cell)
        training.restart(trainer, ck.lora.initial(trainer.model, weights, cell.seed) if cell.lora else weights)
        return trainer, batches, schedule

    def trained(self, cell: Cell) -> Path:
        """The preset folder that a training ends with; with LoRA the file of its adapters."""

        if cell.objective in EDITS:
            return self._edited(cell)

        def build(folder):
            trainer, batches, schedule = self.begun(cell)
            self.progress.start(cell.label, schedule.steps, "steps")
            with contextlib.ExitStack() as stack:
                logs = [stack.enter_context(contextlib.closing(log)) for log in self.logs(cell.label)]
                state = self.store.taken_up("train", cell.key) / "state.npz"
                sender = stack.enter_context(handing.Sender(self.store, state))
                history = training.train(
                    trainer, batches, schedule, state, accumulate=cell.training.accumulate,
                    progress=_StepReport(self.progress, [*logs, sender]), stop=self.progress.stopping,
                )  # fmt: skip
            if cell.lora:
                ck.lora.save(trainer.model, folder / ADAPTERS)
            else:
                models.save(trainer.model, folder / "preset")
            (folder / "history.json").write_text(json.dumps(history))
            last = max(len(history["loss"]) // 10, 1)
            facts = {
                "steps": schedule.steps,
                "loss": float(np.mean(history["loss"][-last:])),
                "live": float(np.mean(history["live"])),
                "padding": batches.padding_share,
            }
            self.progress.done(f"loss {facts['loss']:.3f} nats, {facts['live']:.0%} of target tokens live")
            base = {"base": cell.start.key if cell.start else ""} if cell.lora else {}
            return facts | {"label": cell.label} | base

        return self.store.get("train", cell.key, build) / (ADAPTERS if cell.lora else "preset")

    def _edited(self, cell: Cell) -> Path:
        """The preset folder of a small model that is reordered or cut, with the course of the training before it."""

        def build(folder):
            start = self.trained(cell.start) if cell.start else None
            model = models.load(start) if start else self._new(cell.role, cell.seed)
            self.progress.start(cell.label, 1, "")
            if cell.objective == "reorder":
                batches = ck.Batches(
                    self.encoded(), cell.training.batch_size, seed=cell.seed, buckets=self.profile.buckets
                )
                ck.elastic.reorder(model, ck.elastic.importance(model, batches, cell.arguments["batches"]))
            else:
                model = ck.elastic.Elastic(model, [cell.size]).extract(cell.size)
            models.save(model, folder / "preset")
            facts = {"steps": 0, "loss": 0.0, "live": 1.0, "padding": 0.0}
            history = {"loss": [], "live": []}
            if start:
                history = store.read_json(start.parent / "history.json")
                manifest = store.read_manifest(start.parent / "manifest.json")
                facts |= {name: manifest[name] for name in facts}
            (folder / "history.json").write_text(json.dumps(history))
            self.progress.done(f"{model.count_params():,} parameters")
            return facts | {"label": cell.label}

        if cell.start:  # what `build` needs is made by all workers; it runs on the chief alone
            self.trained(cell.start)
        self.encoded()
        return self.store.get("train", cell.key, build) / "preset"

    def session(self, cell: Cell) -> tuple[ck.CascadeAware, ck.Batches, training.Schedule]:
        """What a training is made of, but for the weights it starts from."""
        layout = {
            "batch_size": None if cell.training.batch_tokens else cell.training.batch_size,
            "batch_tokens": cell.training.batch_tokens,
            "seed": cell.seed,
            "scope": cell.scope,
            "buckets": self.profile.buckets,
        }
        data = self.encoded()
        steps = max(round(cell.training.epochs * ck.Batches(data, **layout).steps_per_epoch), 1)
        caches = [self.columns(source) for source in cell.teachers]
        columns, first_rows = ck.AnyTeacher(caches) if len(caches) > 1 else caches[0] if caches else None, None
        if cell.small_columns:
            columns = self.small_columns(cell)
            if "kept" in cell.arguments:
                first_rows = selection.challenging(columns, data, cell.arguments["kept"], cell.arguments["top"])
        trainer = self._trainer(cell, steps)
        batches = ck.Batches(
            data,
            loss=trainer.objective,
            teacher=columns,
            start=self.start_columns(cell) if cell.start_columns else None,
            first_rows=first_rows,
            **layout,
        )
        schedule = training.Schedule(cell.training.learning_rate, steps, round(steps * cell.training.warmup))
        return trainer, batches, schedule

    def _trainer(self, cell, steps) -> ck.CascadeAware:
        key = _compilation_key(cell)
        if key not in self._trainers:
            model = self.model(cell.role, cell.size, cell.lora)
            loss = _objective(cell, steps, models.tokenizer_of(model))
            with self.place.scope():
                trainer = _trainer_of(cell, model, loss)
                optimizer = keras.optimizers.AdamW(
                    learning_rate=1e-3, weight_decay=cell.training.weight_decay, beta_2=0.98, global_clipnorm=1.0
                )
                trainer.compile(optimizer=optimizer)  # XLA as `device.best_jit` says
            self._trainers[key] = trainer
        return self._trainers[key]

    def make(self, model: Model):
        """Trains a model as far as that is not done yet. All workers call it; predictions are then the chief's work."""
        gc.collect()  # models and their functions refer to each other
        role, cell = self.plan.role(model), self.plan.last(model)
        if cell and cell.lora and role == "large":
            self.trained(cell)
            self._free(cell)  # it is trained once, and the plain model that answers takes as much memory
        if not self.remote(role):
            self.model(role)
        if cell:
            self.trained(cell)

    def _free(self, cell: Cell):
        """Frees the memory of a training that is done."""
        name = _compilation_key(cell)[0]
        self._trainers = {key: trainer for key, trainer in self._trainers.items() if key[0] != name}
        self._models.pop(name, None)
        gc.collect()

    def mend(self, keys: Collection[str]):
        """Builds damaged entries again that no missing prediction has caused to be rebuilt.

        Args:
            keys: of the entries.
        """
        plan = self.plan
        for key, build in ((plan.tokenizer, self.tokenizer), (plan.encoded, self.encoded)):
            if key in keys:
                build()
        for cell in plan.cells():
            if cell.key in keys:
                self.trained(cell)
            if cell.start_columns in keys:
                self.start_columns(cell)
            if cell.small_columns in keys:
                self.small_columns(cell)
        for source in plan.columns(plan.cells()):
            if source.key in keys:
                self.columns(source)

    # -- predictions ---------------------------------------------------------------------------------------------

    def remote(self, role: str) -> ck.Endpoint | None:
        """The endpoint that answers as the model of a role, with the file of its answers; None of other models.

        The file is no entry of the store: what was paid for stays, whatever else of the run changes.
        """
        remote = self.profile.model_of(role).remote()
        if remote is None:
            return None
        return replace(
            remote, answers=self.store.root / "answers" / f"{store.identity(**remote.identity())[:16]}.jsonl"
        )

    def predictor(self, role: str, measures: tuple[str, ...] = (), size: dict | None = None):
        """What answers as the model of a role and size: a `Predictor` with these measures, or that of an endpoint."""
        name = _name(role, size)
        if (name, measures) not in self._predictors:
            data, remote = self.profile.data, self.remote(role)
            arguments = {"max_new_tokens": data.max_new_tokens, "stop": data.stop, "compare": data.compare,
                         "chat": self.chat}  # fmt: skip
            self._predictors[name, measures] = (
                remote.predictor(("token_logprobs",) if remote.logprobs else (), **arguments)
                if remote
                else ck.Predictor(self.model(role, size), max_length=data.max_length, measures=measures, **arguments)
            )
        return self._predictors[name, measures]

    def predict(self, role: str, cell: Cell | None, label: str, examples: Sequence[ck.Example]) -> list[ck.Prediction]:
        """Answers of one trained model to test examples."""
        size = cell.size if cell else None
        predictor = self.predictor(role, ("defer",) if cell and cell.objective == ASKING else (), size)
        if not self.remote(role):
            self.set_weights(role, self.weights(role, cell), size)
        before = predictor.truncated, predictor.overlong, predictor.control_words
        self.progress.start(f"predict {label}", len(examples), "examples")
        predictions = predictor(examples, progress=self.progress.advance)
        after = predictor.truncated, predictor.overlong, predictor.control_words
        cut, overlong, words = (now - then for now, then in zip(after, before, strict=True))
        said = f", {_cut(cut, overlong)}" if cut else ""
        if unmatched := getattr(predictor, "unmatched", 0):
            said += f", {unmatched:,} answers name none of the options"
        self.progress.done(f"{len(predictions):,} examples{said}{_words(words)}")
        return predictions


def _cut(cut: int, overlong: int) -> str:
    """How many prompts were cut, in words."""
    return f"{cut:,} prompts cut" + (f" ({overlong:,} of them also where they should not be)" if overlong else "")


def _words(count: int) -> str:
    """How many examples hold the word of a control token, in words; "" if none does."""
    return f"; {count:,} hold the word of a control token, which is read as text" if count else ""


def _name(role: str, size: dict | None, lora=None) -> str:
    parts = (size, lora and lora.arguments)
    return " ".join([role, *(json.dumps(part, sort_keys=True) for part in parts if part)])


def _trainer_of(cell: Cell, model, loss) -> ck.CascadeAware:
    """Of the model alone, or of all sizes of it that a training has."""
    memory = {"chunk": cell.training.chunk, "recompute": cell.training.recompute}
    if "sizes" not in cell.arguments:
        return ck.CascadeAware(model, loss, **memory)
    elastic = ck.elastic.Elastic(model, cell.arguments["sizes"])
    return ck.elastic.Trainer(elastic, loss, cell.arguments["distil"], **memory)


def _objective(cell: Cell, steps: int, tokenizer) -> losses.CascadeLoss:
    """The objective of a training of so many steps, of a model with this tokenizer."""
    if "sizes" in cell.arguments:
        return losses.get(cell.objective)
    if not cell.small_columns:
        token = {"token": tokenizers.defer_id(tokenizer)} if cell.objective == ASKING else {}
        return losses.get(cell.objective, **token | cell.arguments)
    share, omega, temperature = (cell.arguments[name] for name in ("share", "omega", "temperature"))
    return losses.get("salt", steps=round(share * steps), omega=omega, temperature=temperature)


def _compilation_key(cell: Cell) -> tuple:
    """Two trainings with the same key share their compiled steps."""
    arguments = json.dumps(cell.arguments, sort_keys=True)
    of_training = cell.training.weight_decay, cell.training.chunk, cell.training.recompute
    return _name(cell.role, cell.size, cell.lora), cell.objective, arguments, *of_training


class _StepReport:
    """Receives every step of a training: shows it on the progress bar and hands it to the logs."""

    def __init__(self, progress, logs):
        self.progress, self.logs, self.tokens, self.computed = progress, logs, 0, 0

    def __call__(self, p: training.Progress):
        self.tokens, self.computed = self.tokens + p.tokens, self.computed + p.computed
        rate, padding = self.tokens / max(p.seconds, 1e-9), 1 - self.tokens / self.computed
        self.progress.advance(
            1, f"loss {p.loss:.3f}, {p.live:.0%} live, lr {p.learning_rate:.1e}, {rate:,.0f} tokens/s, "
            f"{padding:.0%} padding", saves=True,
        )  # fmt: skip
        for log in self.logs:
            log(p)
