"""The two records that all parts exchange: an `Example` goes into a model, a `Prediction` comes out."""

import operator
from dataclasses import asdict, dataclass, field

from cat_keras.errors import CatKerasError, is_list


@dataclass(frozen=True, slots=True)
class Example:
    """One query of a task, rendered to text.

    Attributes:
        id: unique within its task and split; the unit of pairing and of disjointness checks.
        prompt: what the model reads.
        target: what the model should answer; for classification one of `options`.
        task: name of the task.
        options: the answers a classification chooses from, in the order of the data; empty for generation.
        references: every accepted answer; `(target,)` when there is only one.
        group: a label that reports may split by (the stratum of an embedded example), or "".
        cut: what of a prompt that is too long for a context may be cut: pairs (keep, lose) of places in the prompt. The
            text between the two loses what is nearest to `lose`: (9, 900) is cut from its end, (900, 9) from its
            beginning. Of several, the longest loses first. Everything else stays. Without any, the whole prompt is cut
            from its beginning.

    Raises:
        CatKerasError: a field is no text, or a text that UTF-8 cannot write (half of a surrogate pair); parts to cut
            reach beyond the prompt or into each other.
    """

    id: str
    prompt: str
    target: str
    task: str = ""
    options: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    group: str = ""
    cut: tuple[tuple[int, int], ...] = ()

    def __post_init__(self):
        try:
            # JSON and Parquet return lists; a frozen record holds tuples.
            for name in ("options", "references"):
                if not is_list(getattr(self, name)):
                    raise TypeError(f"{name} is a {type(getattr(self, name)).__name__}, not a list of texts")
                object.__setattr__(self, name, tuple(getattr(self, name)))
            texts = (self.id, self.prompt, self.target, self.task, self.group, *self.options, *self.references)
            "".join(texts).encode()
        except (TypeError, UnicodeEncodeError) as error:
            raise CatKerasError(
                f"The fields of an example are texts, and lists of them, that UTF-8 can write. Received: {error} in "
                f"example {self.id!r} of task {self.task!r}"
            ) from error
        if not self.references:
            object.__setattr__(self, "references", (self.target,))
        if self.cut != ():
            object.__setattr__(self, "cut", self._checked_cut())

    def _checked_cut(self) -> tuple[tuple[int, int], ...]:
        try:
            cut = tuple((operator.index(keep), operator.index(lose)) for keep, lose in self.cut)
        except (TypeError, ValueError):
            cut = ((-1, -1),)
        places = [place for pair in sorted(map(sorted, cut)) for place in pair]
        if places != sorted(places) or not all(0 <= place <= len(self.prompt) for place in places):
            raise CatKerasError(
                f"What may be cut are pairs of places in the prompt, 0 to {len(self.prompt)}, apart from each other. "
                f"Received: {self.cut!r} in example {self.id!r} of task {self.task!r}"
            )
        return cut

    @property
    def answer(self) -> int:
        """Index of the target among the options; −1 if it is none of them."""
        return self.options.index(self.target) if self.target in self.options else -1

    def asdict(self) -> dict:
        """The fields by name. `cut` is left out where it is empty, since hashes of examples are older than it is."""
        fields = asdict(self)
        return fields if self.cut else {name: value for name, value in fields.items() if name != "cut"}


@dataclass(frozen=True, slots=True)
class Prediction:
    """What one model answered to one example, with everything that scores, costs and metrics are computed from.

    Attributes:
        id: id of the example.
        task: task of the example.
        text: the answer; for classification the chosen option.
        token_logprobs: natural-log probability of each answer token, the end token included if it was emitted.
        option_logprobs: log-likelihood of each option (nats), in the order of the options, whatever they were compared
            by; empty for generation.
        n_prompt: prompt tokens read.
        n_answer: answer tokens; for classification, those of all options.
        flops: forward floating-point operations (see `costs`); NaN for a model whose architecture is not known.
        seconds: this example's share, by FLOPs (else by tokens), of the wall time of the call that answered it.

    Only filled on request, the first two of generated answers alone:
        token_entropies: entropy of the distribution of each answer token (nats).
        token_margins: difference of the two largest probabilities at each answer token.
        embedding: mean over the answer tokens, for classification those of the chosen option, of the last hidden state
            that predicted each.

        defer_logprob: log-probability (nats) of the token that asks for help at the first token of the answer, of a
            model that was trained with `losses.DeferToken`; None of any other. The other numbers are then of the
            distribution without this token.

    And of classifications:
        option_scores: what the options were compared by, where that is not `option_logprobs`: these per token,
            character or byte, see `Predictor`. Deferral rules of options read them in its place.
    """

    id: str
    task: str
    text: str
    token_logprobs: tuple[float, ...]
    option_logprobs: tuple[float, ...] = field(default=())
    n_prompt: int = 0
    n_answer: int = 0
    flops: float = 0.0
    seconds: float = 0.0
    token_entropies: tuple[float, ...] = field(default=())
    token_margins: tuple[float, ...] = field(default=())
    embedding: tuple[float, ...] = field(default=())
    option_scores: tuple[float, ...] = field(default=())
    defer_logprob: float | None = None

    def asdict(self) -> dict:
        """The fields by name; without `defer_logprob` where it is None, as most models have no such column."""
        fields = asdict(self)
        if self.defer_logprob is None:
            del fields["defer_logprob"]
        return fields
