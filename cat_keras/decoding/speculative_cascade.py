"""A cascade of two models token by token: the small one drafts, the large one judges several drafts at once."""

from collections.abc import Callable, Sequence
from functools import partial

from keras import ops

from cat_keras.data.chat import Chat, turn_of
from cat_keras.data.encoding import prompts_within
from cat_keras.data.records import Example
from cat_keras.decoding import slots, speculative
from cat_keras.decoding.cache import CachedModel
from cat_keras.decoding.endings import Endings
from cat_keras.decoding.generation import check_prompts
from cat_keras.decoding.sampling import GREEDY, Sampler
from cat_keras.decoding.speculative_rounds import Rounds, Speculated
from cat_keras.decoding.speculative_slots import Pair, SpeculatedAnswers, SpeculativeBatching
from cat_keras.errors import ROWS, TOKENS, CatKerasError, check_list, check_number
from cat_keras.modeling import costs, models


class SpeculativeCascade:
    """A token-level cascade of two `CausalLM`s, by speculation (arXiv 2405.19261); lossless by default (2211.17192).

    In a round the small model drafts γ tokens one by one and the large one reads them in one pass. The drafts that
    stand under the rule's target distribution are kept, and one more token is added. Answers follow the target
    distribution whatever γ is; see `speculative`. It keeps its compiled functions, so reuse it.

    Args:
        small, large: models with one tokenizer.
        rule: of `speculative.RULES`. Under greedy decoding "lossy" keeps a draft iff the large model finds it at least
            (1 − α) times as probable as its own choice, which is "token-v3".
        alpha: trust in the small model, see `speculative.check`.
        gamma: drafts per round.
        sampler: how tokens are drawn from either model; the rule looks at the models' own distributions regardless.
        max_length: context, tokens; longer prompts lose what `Example.cut` says, or their beginning, see `truncated`;
            longer token ids are an error. Models with learned positions must have γ more of them, as drafts may exceed
            the context.
        stop: texts that end an answer, besides the tokens at which the large model's own `generate` stops; see
            `Predictor`.
        chat: for instruct models, how they are asked, see `Predictor`; of texts and examples, not of token ids.
        rows: at most so many answers at a time; bounds the memory of the caches.

    Attributes:
        truncated: prompts cut so far.

    Raises:
        CatKerasError: different tokenizers, an unknown rule, α, γ or rows outside their range, or a context that is
            longer than the models have positions.
    """

    def __init__(self, small, large, rule: str = "lossless", alpha: float = 0.0, gamma: int = 4,
                 sampler: Sampler = GREEDY, max_length: int = 512, rows: int = 64,
                 stop: Sequence[str] = (), chat: Chat | None = None):  # fmt: skip
        models.check_same_tokenizer(small, large)
        speculative.check(rule, alpha)
        check_number("gamma", gamma, speculative.DRAFTS, whole=True)
        check_number("rows", rows, ROWS, whole=True)
        check_number("max_length", max_length, TOKENS, whole=True)
        for model in (small, large):
            models.check_positions(
                model, max_length + gamma, f"max_length={max_length} and gamma={gamma}", "Give at most {} in all"
            )
        self.gamma, self.sampler, self.max_length, self.limit = gamma, sampler, max_length, rows
        self.tokenizer = models.tokenizer_of(large)
        self.turn = turn_of(chat, self.tokenizer)
        self.endings = Endings.of(large, stop, self.turn.end)
        self.truncated = 0
        self.flops_of = costs.count_if_known(small), costs.count_if_known(large)
        # Models of one family may pad their embedding tables to different sizes.
        self.vocabulary = min(model.backbone.get_config()["vocabulary_size"] for model in (small, large))
        self._pair = Pair(small, large) if slots.supported(small) and slots.supported(large) else None
        if self._pair is None:
            self.models = small, large = CachedModel(small), CachedModel(large)
            self.draft = small.function(self._draft, ((None,), "int32"), ((None, gamma), "float32"), ((), "int32"))
        self._ways = {}  # rule → what is compiled for it
        self.use(rule, alpha)

    def use(self, rule: str, alpha: float = 0.0):
        """Sets the rule and α of further answers; compiles only a rule that was not used before.

        Raises:
            CatKerasError: an unknown rule, or α outside its range.
        """
        speculative.check(rule, alpha)
        if rule not in self._ways:
            self._ways[rule] = SpeculativeBatching(self, self._pair, rule) if self._pair else self._judge_of(rule)
        self.rule, self.alpha, self.judge = rule, alpha, self._ways[rule]

    def _judge_of(self, rule):
        """The compiled function that judges drafts at one position."""
        drafts, places = (None, self.gamma), (None, self.gamma + 1)
        return self.models[1].function(
            partial(self._judge, rule), ((None,), "int32"), (drafts, "int32"), ((*places, self.vocabulary), "float32"),
            (places, "float32"), ((), "int32"), ((), "float32"),
        )  # fmt: skip

    @property
    def compilations(self) -> int:
        """Functions traced so far; in slots at most one for each rule, width and number of slots."""
        if self._pair:
            return sum(way.compilations for way in self._ways.values())
        return sum(model.compilations for model in self.models)

    def generate(self, prompts: Sequence[str | Example] | Sequence[Sequence[int]], max_new_tokens: int = 64,
                 progress: Callable[[int], None] | None = None) -> list[Speculated]:  # fmt: skip
        """Answers in the order of the prompts.

        Args:
            prompts: texts, examples, or token ids with whatever start token the models want.
            max_new_tokens: at most so many per answer, end token included. progress: gets the answers newly finished.

        Raises:
            CatKerasError: an empty prompt, or no room for prompts beside the answers.
        """
        encoded = self._encode(prompts, max_new_tokens)
        answers = [Speculated(n_prompt=len(p)) for p in encoded]
        if self._pair:
            self._ways[self.rule](encoded, SpeculatedAnswers(self, answers, max_new_tokens, progress))
        else:
            rounds = Rounds(self, encoded, max_new_tokens, answers, progress)
            while rounds.open:
                rounds.advance()
        for answer in answers:
            kept, answer.text = self.endings.cut(answer.tokens)
            del answer.tokens[kept:]
        return answers

    def _encode(self, prompts, max_new_tokens):
        """Token ids of the prompts; texts are cut to the room that the answer leaves."""
        prompts = check_list("prompts", prompts)
        texts = [isinstance(p, str | Example) for p in prompts]
        if any(texts) and not all(texts):
            raise CatKerasError(
                f"Prompts are all texts or all token ids. Received: a text as prompt {texts.index(True)}, none as "
                f"prompt {texts.index(False)}"
            )
        empty = [i for i, p in enumerate(prompts) if texts[i] and not (p.prompt if isinstance(p, Example) else p)]
        if empty:
            raise CatKerasError(f"A prompt is not empty. Received: nothing in prompt {empty[0]}")
        room = self.max_length - check_number("max_new_tokens", max_new_tokens, TOKENS, whole=True)
        if room < 1:
            raise CatKerasError(
                f"An answer leaves room for its prompt. Received: max_new_tokens={max_new_tokens}, "
                f"max_length={self.max_length}"
            )
        if not all(texts):
            encoded = check_prompts(prompts)
            if too_long := [i for i, p in enumerate(encoded) if len(p) > room]:
                raise CatKerasError(
                    f"Token ids of a prompt fit beside the answer; texts are cut, ids are not. Received: "
                    f"{len(encoded[too_long[0]])} as prompt {too_long[0]}, max_length={self.max_length}, "
                    f"max_new_tokens={max_new_tokens}. Cut them to {room}"
                )
            return encoded
        encoded, fitted = prompts_within(prompts, self.tokenizer, room, self.turn)
        self.truncated += int(fitted.cut.sum())
        return encoded

    def extend(self, answer: Speculated, drafts: list[int], token: int, limit: int) -> bool:
        """Appends what one round has given, up to the end or the limit; says whether the answer goes on.

        Args:
            drafts: those that stand. token: the one after them. limit: tokens of the answer, at most.
        """
        before = len(answer.tokens)
        tokens = [*answer.tokens, *drafts, token][:limit]
        end = self.endings.reached(tokens, before)
        new = tokens[before:end]
        judged = len(new) > len(drafts)  # else the answer ended among the accepted drafts, and no rejection matters
        start = answer.n_prompt - 1 + before
        answer.flops += sum(_reading_flops(count, start, self.gamma + 1) for count in self.flops_of)
        answer.large_calls += 1
        answer.drafted += self.gamma
        answer.accepted += min(len(new), len(drafts))
        answer.rejected += judged and len(drafts) < self.gamma
        answer.tokens += new
        return end is None and len(answer.tokens) < limit

    # -- at one position, for other families -------------------------------------------------------------------------

    def _draft(self, last, uniforms, position, cache):
        """γ drafts of the small model after the last token, and its logits at each draft and after the last one."""
        small, tokens, drafts, logits = self.models[0], last, [], []
        for step in range(self.gamma + 1):
            step_logits, _, cache = small.read(tokens[:, None], cache, position + step)
            logits.append(ops.cast(step_logits[:, 0, : self.vocabulary], "float32"))
            if step < self.gamma:
                tokens = self.sampler.choose(logits[-1], uniforms[:, step])
                drafts.append(tokens)
        return ops.stack(drafts, axis=1), ops.stack(logits, axis=1), cache

    def _judge(self, rule, last, drafts, small_logits, uniforms, position, alpha, cache):
        """How many of the drafts stand under the large model, and the token that follows them."""
        tokens = ops.concatenate([last[:, None], drafts], axis=1)
        logits, _, cache = self.models[1].read(tokens, cache, position)
        pair = small_logits, ops.cast(logits[..., : self.vocabulary], "float32")
        return *speculative.judge(rule, self.sampler, drafts, pair, uniforms, alpha), cache


def _reading_flops(count: costs.FlopCount, start: int, n: int) -> float:
    """FLOPs to read `n` tokens after `start` earlier ones, with the next-token distribution at each."""
    return float(count.forward(start + n, 0, n_logits=n) - count.forward(start, 0))
