"""Continuations of many prompts at once; no answer waits for another to finish."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from cat_keras.decoding import slots
from cat_keras.decoding.aligned import AlignedBatching
from cat_keras.decoding.cache import CachedModel
from cat_keras.decoding.continuous import ContinuousBatching
from cat_keras.decoding.endings import Endings
from cat_keras.decoding.generated import Answers, Generated
from cat_keras.decoding.sampling import GREEDY, Sampler
from cat_keras.errors import ROWS, CatKerasError, check_list, check_number, check_numbers
from cat_keras.modeling import models

MEASURES = ("entropy", "margin", "hidden", "defer")


class Generator:
    """Continues prompts with one model; keeps its compiled functions, so reuse it.

    Families that `slots.supported` names run in slots with a position each, all others in batches at one position. How
    a prompt is continued depends on neither, nor on the other prompts.

    Args:
        model: a `CausalLM` or a `CachedModel`.
        stop: what ends an answer: ids and texts, or `Endings`; None for the ids at which the model's own `generate`
            stops. Texts need the model's tokenizer.
        sampler: see `sampling.Sampler`.
        rows: at most so many answers at a time; bounds the memory of the cache. On a CPU 64 are used at most.
        measures: further facts to return of each token, of `MEASURES`. With "defer", answers are without the token of
            `tokenizers.defer_id`, and its log-probability is one of the facts.
        jit: whether slots are compiled with XLA, once for each width of the cache. None for always on a GPU, a TPU and
            with JAX, and for calls that ask for 65,536 tokens or more on a CPU; below that the compilation takes
            longer than it saves.

    Attributes:
        steps, computed: forward passes of one token so far, and the rows in them, those that nobody needs included.
        compilations: functions traced so far; in slots at most one for each width and number of slots, which is 8 for
            up to 8 prompts, 32 for up to 128, and else as many as `rows` allows.
    """

    def __init__(self, model, stop: Iterable[int | str] | Endings | None = None, sampler: Sampler = GREEDY,
                 rows: int = 256, measures: Sequence[str] = (), jit: bool | None = None):  # fmt: skip
        check_number("rows", rows, ROWS, whole=True)
        if not set(check_list("measures", measures)) <= set(MEASURES):
            raise CatKerasError(f"measures are of {', '.join(MEASURES)}. Received: measures={list(measures)}")
        self.model = model.model if isinstance(model, CachedModel) else model
        self.endings = _endings(self.model, stop)
        self.sampler, self.measures = sampler, tuple(measures)
        if slots.supported(self.model):
            in_slots = slots.SlotModel(self.model)
            self._batching = ContinuousBatching(in_slots, self.endings.ids, sampler, rows, self.measures, jit)
        else:
            cached = model if isinstance(model, CachedModel) else CachedModel(model, tight=True)
            self._batching = AlignedBatching(cached, sampler, rows, self.measures)

    @property
    def steps(self) -> int:
        return self._batching.steps

    @property
    def computed(self) -> int:
        return self._batching.computed

    @property
    def compilations(self) -> int:
        return self._batching.compilations

    def __call__(self, prompts: Sequence[Sequence[int]], max_new_tokens: int | Sequence[int],
                 progress: Callable[[int], None] | None = None) -> list[Generated]:  # fmt: skip
        """Continuations in the order of the prompts.

        Args:
            prompts: token ids, at least one each. max_new_tokens: at most so many each, end token included; one number
                or one per prompt. progress: gets the number of prompts newly finished.

        Raises:
            CatKerasError: an empty prompt, or one that leaves no room for its answer in the positions of the model.
        """
        prompts = check_prompts(prompts)
        limits = check_numbers("max_new_tokens", max_new_tokens, "[0, 16777216]", whole=True)
        limits = np.broadcast_to(limits, len(prompts))
        for i, prompt in enumerate(prompts):  # the last token of an answer is not read
            models.check_positions(
                self.model, len(prompt) + int(limits[i]) - 1,
                f"prompt {i} of {len(prompt)} tokens and max_new_tokens={limits[i]}", "Give at most {} in all",
            )  # fmt: skip
        uniforms = [self.sampler.uniforms(i, n) if not self.sampler.greedy else np.zeros(n, np.float32)
                    for i, n in enumerate(limits)]  # fmt: skip
        answers = Answers(limits, uniforms, self.endings, self.measures, progress)
        self._batching(prompts, answers)
        return answers.all


def _endings(model, stop) -> Endings:
    """What ends the answers of a generator, from its argument `stop`."""
    if isinstance(stop, Endings):
        return stop
    if stop is None:
        return Endings.of(model)
    stop = list(check_list("ids and texts to stop at", stop))
    strings = [s for s in stop if isinstance(s, str)]
    tokenizer = models.tokenizer_of(model) if strings else None
    return Endings([s for s in stop if not isinstance(s, str)], strings, tokenizer)


def check_prompts(prompts) -> list[list[int]]:
    """Returns prompts as lists of token ids.

    Raises:
        CatKerasError: they are no list, or one of them is no list of ids, or empty.
    """
    prompts = [list(check_list("token ids of a prompt", p)) for p in check_list("prompts", prompts)]
    empty = [i for i, p in enumerate(prompts) if not p]
    if empty:
        raise CatKerasError(f"A prompt has at least one token. Received: none in prompt {empty[0]}")
    return prompts
