"""What a plan will take, estimated before anything is built: tokens, FLOPs, disk, time and memory.

The estimate counts what the machine computes: of a mixture of experts also those that a token is not sent to. Padding
is not counted.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmarks.planning import ladder, sizes
from benchmarks.planning.examples import BYTES_PER_TOKEN, Lengths
from benchmarks.planning.hardware import Hardware
from benchmarks.planning.plan import LARGE, Cell, Model, Plan
from benchmarks.planning.profile import Training
from benchmarks.planning.sizes import ModelSize
from cat_keras.modeling.models import train_tokenizer
from cat_keras.storage.compilations import LONG_TRAINING
from cat_keras.storage.store import Store

SAMPLE = 2_000  # about so many texts are tokenized to measure how long tokens are
FLOAT = 4  # bytes of a number
WIDTHS = {"float32": FLOAT, "bfloat16": FLOAT // 2}  # bytes of a weight
# What a training keeps in memory, in numbers; measured with float32 on CPUs (`perf memory` says how well it fits).
# COPIES is of a trained number beside its weight: of a kernel, and of a table of embeddings. On CPUs, XLA keeps kernels
# also as its products read them. On accelerators, where nothing was measured, it is the gradient and two moments.
COPIES = {"CPU": (11.8, 6.0), "GPU": (3.0, 3.0), "TPU": (3.0, 3.0)}
OUTPUTS = 1.85  # for each output of a kernel
SCORES = 2.2  # for each score of attention
LOGITS = 3.3  # for each logit
COMPILER = 120e6  # bytes of XLA on a CPU and of what it has compiled
LAYERS = 30  # assumed of a model of which only the number of parameters is known


@dataclass(frozen=True)
class Stage:
    """One thing that a run builds.

    Attributes:
        label: as in a run's progress. kind: "train", "teacher" or "predict". key: of its result in the cache.
        role: "small", "large" or the name of a model between. objective, seed: of the model; "" or the name of a
            method, and −1 for the large model.
        steps: of the optimizer. flops: all that it computes. disk: bytes of its result.
        steps_decoded: how often greedy decoding reads all weights. compiled: layers times padded lengths of its step.
            A short training is not compiled; at `LONG_TRAINING` steps it loses as much by that as compiling takes.
        start: the key of the training that it needs first, or "".
    """

    label: str
    kind: str
    key: str
    role: str
    objective: str = ""
    seed: int = -1
    steps: int = 0
    flops: float = 0.0
    disk: float = 0.0
    steps_decoded: int = 0
    compiled: float = 0.0
    start: str = ""

    @property
    def model(self) -> Model:
        """The model that is predicted with."""
        if self.role == "large":
            return LARGE
        return (self.objective, self.seed) if self.role == "small" else (self.objective, self.seed, self.role)


def bytes_per_token(plan: Plan, cache: Store | None) -> tuple[float, str]:
    """Bytes per token of the training text, and in words how they are known.

    They are measured on a sample of the text: with the run's tokenizer if it is on this machine, else with one that is
    trained on the sample if the run builds its models itself. Without the data or a tokenizer they are taken as 4.
    """
    if plan.train.assumed:
        return BYTES_PER_TOKEN, f"taken as {BYTES_PER_TOKEN} bytes each, for want of the data"
    stride = max(len(plan.train) // SAMPLE, 1)
    texts = [e.prompt + e.target for i, e in enumerate(plan.train) if i % stride == 0]
    vocabulary, description = _vocabulary(plan, cache), "the run's tokenizer"
    if vocabulary is None and not any(plan.profile.model_of(role).preset for role in plan.profile.roles):
        vocabulary = train_tokenizer(texts, plan.profile.data.vocabulary_size)
        description = "a tokenizer trained on them"
    if vocabulary is None:
        return BYTES_PER_TOKEN, f"taken as {BYTES_PER_TOKEN} bytes each, for want of the tokenizer"
    import sentencepiece

    tokenizer = sentencepiece.SentencePieceProcessor(model_proto=vocabulary)
    measured = sum(len(text.encode()) for text in texts) / max(sum(map(len, tokenizer.encode(texts))), 1)
    return measured, f"{measured:.2f} bytes each, measured on {len(texts):,} texts with {description}"


def _vocabulary(plan: Plan, cache: Store | None) -> bytes | None:
    """The SentencePiece vocabulary of a preset folder or of an earlier run, if it is on this machine."""
    folders = [Path(p) for role in plan.profile.roles if (p := plan.profile.model_of(role).preset)]
    if not folders and cache:
        folders = [cache.path("tokenizer", plan.tokenizer)]
    paths = [path for folder in folders if folder.is_dir() for path in sorted(folder.rglob("vocabulary.spm"))]
    return paths[0].read_bytes() if paths else None


class Estimate:
    """The stages of a plan with what each takes.

    Args:
        plan: what is to be built. bytes_per_token: of its text; the same on every machine that shares the work.
    """

    def __init__(self, plan: Plan, bytes_per_token: float = BYTES_PER_TOKEN):
        self.plan, self.profile, self.bytes_per_token = plan, plan.profile, bytes_per_token
        vocabulary = plan.profile.data.vocabulary_size
        self.size = {r: sizes.of(plan.profile.model_of(r), vocabulary) for r in reversed(plan.profile.roles)}

    def stages(self) -> list[Stage]:
        """Every training, the columns of a model that teaches another, and the predictions."""
        cells, stages = self.plan.cells(), []
        once = {cell.key: cell for cell in reversed(cells)}  # by the first of its labels
        for cell in reversed(once.values()):
            if cell.small_columns:
                small = cell.small_teacher
                stages.append(self._columns("columns of the small model", cell.small_columns, "small", small))
            stages.append(self._training(cell))
        for source in self.plan.columns(cells):
            label = "teacher cache" if source.role == "large" else f"columns of {source.cell.label}"
            stages.append(self._columns(label, source.key, source.role, source.cell))
        return [*stages, *self._predictions()]

    def equal_epochs(self, cell: Cell) -> float:
        """Epochs of xent that take the FLOPs of a training with SALT, the small model's forward pass included."""
        return cell.training.epochs + self._reading("small") / (3 * self._reading(cell.role))

    # -- tokens --------------------------------------------------------------------------------------------------

    @cached_property
    def train_lengths(self) -> np.ndarray:
        """(n,) tokens per training example, start and end included, cut to the context."""
        return self._sequences(
            self.plan.train.lengths.values(), lambda t: self._tokens(t.prompt) + self._tokens(t.target)
        )

    @cached_property
    def target_lengths(self) -> np.ndarray:
        """(n,) target tokens per training example, with the end of each."""
        return np.concatenate([np.zeros(0), *(self._tokens(t.target) + 1 for t in self.plan.train.lengths.values())])

    @cached_property
    def target_tokens(self) -> int:
        """Target tokens of all training examples."""
        return int(self.target_lengths.sum())

    @cached_property
    def scored(self) -> np.ndarray:
        """(options,) tokens of each option of the test examples after its prompt."""

        def per_option(t: Lengths):
            mean = t.options / np.maximum(t.n_options, 1)
            return np.repeat(self._tokens(t.prompt) + self._tokens(mean), t.n_options)

        return self._sequences(self.plan.test.lengths.values(), per_option)

    @cached_property
    def chosen(self) -> tuple[np.ndarray, int]:
        """(n,) tokens read to choose among the options of each test example that has some; tokens of all options."""
        parts = [(t, t.n_options > 0) for t in self.plan.test.lengths.values()]
        options = [self._tokens(t.options[has]) + t.n_options[has] for t, has in parts]  # an end after each
        prompts = [np.minimum(self._tokens(t.prompt[has]), self.profile.data.max_length) for t, has in parts]
        lengths = [prompt + option for prompt, option in zip(prompts, options, strict=True)]
        return np.concatenate([np.zeros(0), *lengths]), int(sum(map(np.sum, options)))

    @cached_property
    def generated(self) -> np.ndarray:
        """(n,) tokens of each test example without options: its prompt and an answer of the greatest length."""
        max_new_tokens = self.profile.data.max_new_tokens
        return self._sequences(
            self.plan.test.lengths.values(), lambda t: self._tokens(t.prompt[t.n_options == 0]) + max_new_tokens
        )

    @cached_property
    def asked(self) -> tuple[int, int]:
        """Tokens that an endpoint reads to answer the test examples, and at most writes."""
        remote, chat = self.profile.large.remote(), self.profile.data.chat
        scored, generated, new = self.scored, self.generated, self.profile.data.max_new_tokens
        if remote.scores(bool(chat)):
            return int(scored.sum() + (generated - new).sum()), len(scored) + new * len(generated)
        prompts = self._sequences(self.plan.test.lengths.values(), lambda t: self._tokens(t.prompt))
        return int(prompts.sum()), new * len(prompts)

    def _tokens(self, n_bytes: np.ndarray) -> np.ndarray:
        return np.ceil(n_bytes / self.bytes_per_token)

    def _sequences(self, parts, measure: Callable[[Lengths], np.ndarray]) -> np.ndarray:
        """Lengths of the sequences of all parts, with two more tokens for start and end, cut to the context."""
        lengths = np.concatenate([np.zeros(0), *(measure(part) + 2 for part in parts)])
        return np.minimum(lengths, self.profile.data.max_length)

    # -- stages --------------------------------------------------------------------------------------------------

    def _forward(self, model: str | dict, lengths: np.ndarray, logits: float) -> float:
        """FLOPs of a forward pass of a role or of a part of the small model, with the logits of some positions."""
        flops = self._size(model).flops.computed  # a machine runs the experts that are not in the price
        pairs = (lengths**2).sum() / 2
        return float(flops.per_token * lengths.sum() + flops.per_logit * logits + flops.per_context * pairs)

    def _reading(self, model: str | dict, scope: str = "target") -> float:
        """FLOPs of a forward pass over the training examples, with the logits where `scope` counts the loss."""
        logits = self.train_lengths.sum() if scope == "all" else self.target_tokens
        return self._forward(model, self.train_lengths, logits)

    def _size(self, model: str | dict) -> sizes.ModelSize:
        if isinstance(model, str):
            return self.size[model]
        if self.profile.small.preset:  # taken for the whole, of which only the number of parameters may be known
            return self.size["small"]
        return sizes.of(self.profile.small.model_copy(update=model), self.profile.data.vocabulary_size)

    def _training(self, cell: Cell) -> Stage:
        batches = -(-len(self.train_lengths) // cell.training.batch_size)
        steps = max(round(cell.training.epochs * batches), 1) if cell.training.epochs else 0
        compiled = self.profile.buckets * (self.size[cell.role].layers or LAYERS)
        return Stage(
            cell.label,
            "train",
            cell.key,
            cell.role,
            cell.objective,
            -1 if cell.role == "large" else cell.seed,
            steps=steps,
            flops=cell.training.epochs * sum(self._step(part, cell) for part in self._parts(cell)),
            disk=FLOAT * self._trained(cell),
            compiled=compiled * min(1.0, steps / LONG_TRAINING),
            start=cell.start.key if cell.start else "",
        )

    def _step(self, part: str | dict, cell: Cell) -> float:
        """FLOPs of an epoch: a forward pass, two where layers are recomputed; gradients of activations and of weights.

        LoRA leaves out the last, except for the kernels that it adapts: Keras adds the product of the factors to a
        kernel before it multiplies, so that the gradient of their sum is computed.
        """
        forward = self._reading(part, cell.scope)
        again = forward if cell.training.recompute else 0.0
        if not cell.lora:
            return 3 * forward + again
        return again + 2 * forward + 2 * self._size(part).adapted(cell.lora)[1] * float(self.train_lengths.sum())

    def _parts(self, cell: Cell) -> list:
        """What a training computes: the model of its role, or parts of the small one, each in a pass of its own."""
        if "sizes" not in cell.arguments:
            return [cell.size or cell.role]
        if self.profile.small.preset:
            return [cell.role] * (len(cell.arguments["sizes"]) + 1)
        return ladder.passes(cell.arguments["sizes"], self.profile.small)

    def _columns(self, label: str, key: str, role: str, cell: Cell | None) -> Stage:
        """The columns of a model over the training data; `cell` is the training that it comes from."""
        vocabulary = self.size[role].vocabulary or 2**18
        entry = 2 + np.min_scalar_type(vocabulary - 1).itemsize  # a probability and its id
        columns = self.profile.teacher.k * entry if self.profile.teacher.distribution != "none" else 0
        return Stage(
            label,
            "teacher",
            key,
            role,
            flops=self._reading(role),
            disk=self.target_tokens * (1 / 8 + 2 + columns),
            start=cell.key if cell else "",
        )

    def _predictions(self) -> Iterator[Stage]:
        batches, written = -(-len(self.generated) // 64), len(self.generated) * self.profile.data.max_new_tokens
        for model in self.plan.models():
            role = self.plan.role(model)
            cell = self.plan.last(model)
            part = (cell and cell.size) or role
            yield Stage(
                f"predict {self.plan.label(model)}",
                "predict",
                self.plan.prediction_key(self.plan.model_key(model)),
                role,
                *model[:2],
                flops=self._forward(part, *self.chosen) + self._forward(part, self.generated, written),
                disk=8.0 * len(self.scored) + len(self.generated) * 4 * self.profile.data.max_new_tokens,
                steps_decoded=batches * self.profile.data.max_new_tokens,
                start=cell.key if cell else "",
            )

    # -- on some hardware ----------------------------------------------------------------------------------------

    def seconds(self, stage: Stage, hardware: Hardware) -> float:
        """Seconds at the assumed rate; or for reading the weights at every decoding step, if that takes longer."""
        weights = FLOAT * self.size[stage.role].parameters
        computed = stage.flops / hardware.rate(self.size[stage.role].flops.per_token)
        decoded = stage.steps_decoded * weights / (hardware.bandwidth * hardware.devices)
        return max(computed, decoded)

    def times(self, stages: Iterable[Stage], hardware: Hardware) -> tuple[float, float]:
        """Seconds of computing some stages one after the other, and of compiling for them."""
        stages = list(stages)
        return sum(self.seconds(s, hardware) for s in stages), self.compile_seconds(stages, hardware)

    def compile_seconds(self, stages: list[Stage], hardware: Hardware) -> float:
        """Seconds of compiling: once per model, objective and padded length. Starts share the compilation of xent.

        What a short training loses as it is not compiled counts alike.
        """
        compiled: dict[tuple[str, str], float] = {}
        for stage in stages:
            key = stage.role, stage.objective
            compiled[key] = max(compiled.get(key, 0), stage.compiled)
        return hardware.compile * sum(compiled.values())

    def memory(self, role: str, kind: str = "CPU") -> tuple[float, bool]:
        """Bytes that training a model takes on one device, and whether activations are among them.

        They hold the weights, what training adds to each trained number, and if the architecture is known activations:
        of every layer, or of two where layers are recomputed. TensorFlow itself is not counted.

        Args:
            kind: of device, see `hardware`.
        """
        size, model = self.size[role], self.profile.model_of(role)
        objective = self.profile.objective if role != "large" else None
        phases = [(model.pretrain, "all"), (model.tune, "target"), (objective, "target")]
        activations = max((self._activations(*phase, size, kind) for phase in phases if phase[0]), default=0.0)
        added = max((self._added(cell, kind) for cell in self.plan.cells() if cell.role == role), default=0.0)
        compiler = COMPILER if kind == "CPU" else 0.0  # that of an accelerator works in the memory of the host
        return WIDTHS[model.weights] * size.parameters + added + activations + compiler, bool(size.layers)

    def _activations(self, phase: Training, scope: str, size: ModelSize, kind: str) -> float:
        """Bytes of what one slice of a batch keeps for its gradient."""
        longest = -(-float(self.train_lengths.max()) // 8) * 8
        rows = (phase.batch_tokens / longest if phase.batch_tokens else phase.batch_size) / phase.accumulate
        tokens = rows * longest
        layers = OUTPUTS * size.outputs + SCORES * size.heads * longest  # numbers per token, of all layers
        if phase.recompute and size.layers:
            layers = layers * min(2 / size.layers, 1) + size.layers * size.width
        logits = tokens
        if scope == "target":  # as `Batches.capacity`
            counts = self.target_lengths
            logits = min(rows * counts.mean() + 5 * math.sqrt(rows) * counts.std(), tokens)
        # XLA on CPUs keeps in float32 what it computes in bfloat16.
        number = FLOAT if self.profile.precision == "float32" or kind == "CPU" else FLOAT / 2
        return tokens * layers * number + FLOAT * min(logits, phase.chunk or logits) * LOGITS * size.vocabulary

    def _added(self, cell: Cell, kind: str) -> float:
        """Bytes that training adds to the weights of a model: gradients, the moments of Adam, copies."""
        size, (kernel, table) = self.size[cell.role], COPIES[kind]
        if cell.lora:
            return FLOAT * kernel * self._trained(cell)
        tables = size.vocabulary * size.width
        return FLOAT * (kernel * (size.parameters - tables) + table * tables)

    def _trained(self, cell: Cell) -> int:
        """How many numbers a training changes and ends with: all weights, or the factors of LoRA."""
        size = self.size[cell.role]
        return size.adapted(cell.lora)[0] if cell.lora else size.parameters
