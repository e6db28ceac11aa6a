"""How an instruct model is asked: a system prompt and a prompt in the form of the turns that it was trained on.

A template is jinja2, in the form that `tokenizer_config.json` of Hugging Face has. It is rendered once per tokenizer,
around a mark that stands for the prompt. Its control words become their ids; prompts and system prompts are data, whose
text never becomes a control token, whatever words stand in it.
"""

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from cat_keras.errors import CatKerasError
from cat_keras.modeling.models import special_id, token_id
from cat_keras.modeling.tokens import WORD, ControlWords, control_words, tokenize

PROMPT, ANSWER, CUT = "\ufdd0", "\ufdd1", "\ufdd2"  # marks: Unicode has these for programs, and no text holds them
CERTAIN = re.compile(r"<\|[^<>|\s]+\|>|<(?:start|end)_of_turn>")  # what is one if it stands in a template

GEMMA = (
    "{% set ns = namespace(system='') %}"
    "{% for m in messages %}{% if m.role == 'system' %}{% set ns.system = m.content + '\\n\\n' %}{% else %}"
    "<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ ns.system + m.content | trim }}"
    "<end_of_turn>\n{% set ns.system = '' %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
LLAMA3 = (
    "{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content | trim }}<|eot_id|>"
    "{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# The documented form of each family, by the class of its tokenizer. None adds a system prompt of its own.
FAMILIES = {
    **dict.fromkeys(("GemmaTokenizer", "Gemma3Tokenizer", "Gemma3nTokenizer"), GEMMA),
    "Llama3Tokenizer": LLAMA3,
    **dict.fromkeys(("QwenTokenizer", "QwenMoeTokenizer", "Qwen3Tokenizer", "Qwen3MoeTokenizer"), CHATML),
}


@dataclass(frozen=True)
class Turn:
    """The tokens around a prompt. Without a chat there are none but the start token.

    Attributes:
        tokenizer: of the model.
        end: id of the token that ends an answer; None where the family has none.
        control: words of the control tokens of tokenizer and template, which are data where they stand in a text.
        head, tail: ids before and after the prompt, the start token left out.
        lead, trail: text between head and prompt, and between prompt and tail, tokenized together with the prompt.
        strip: whether the template drops blanks at the beginning and at the end of a prompt.
    """

    tokenizer: object
    end: int | None
    control: ControlWords
    head: tuple[int, ...] = ()
    lead: str = ""
    trail: str = ""
    tail: tuple[int, ...] = ()
    strip: tuple[bool, bool] = (False, False)

    def ids(self, prompts: Sequence[str]) -> list[list[int]]:
        """Token ids of each prompt, with the texts beside it; without head and tail."""
        prompts = [p.lstrip() if self.strip[0] else p for p in prompts]
        prompts = [p.rstrip() if self.strip[1] else p for p in prompts]
        return self.data([self.lead + p + self.trail for p in prompts])

    def data(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of other texts, such as answers."""
        return tokenize(self.tokenizer, texts, self.control)

    @functools.cached_property
    def before(self) -> list[int]:
        """The start token, where the family has one, and the head."""
        start = special_id(self.tokenizer, "start")
        return [*([] if start is None else [start]), *self.head]

    @functools.cached_property
    def least(self) -> int:
        """How many tokens of `ids` stay of every prompt: those of the texts beside it."""
        beside = len(self.ids([""])[0]) if self.lead or self.trail else 0
        # A causal model predicts from at least one token: where none comes before a prompt, one of its own has to stay.
        return beside or int(not self.before)

    def room(self, tokens: int) -> int:
        """How many tokens of `ids` there is room for, where `tokens` are left for a whole turn."""
        return tokens - len(self.before) - len(self.tail)

    def last(self, ids: list[int], room: int) -> list[int]:
        """As much as there is room for of a prompt from `ids`: it loses its beginning, and not the text before it."""
        if len(ids) <= room:
            return ids
        return self._lead_ids + ids[len(ids) - max(room - len(self._lead_ids), 0) :]

    @functools.cached_property
    def _lead_ids(self) -> list[int]:
        return self.data([self.lead])[0] if self.lead else []


@dataclass(frozen=True)
class Chat:
    """How an instruct model is asked.

    Args:
        system: the system prompt; "" for none.
        template: jinja2 text; "" for that of the preset, which `models.load` reads from `chat_template.jinja` or
            `tokenizer_config.json`, and else for the documented one of Gemma, Llama 3 or Qwen.

    Raises:
        CatKerasError: one of them is no text.
    """

    system: str = ""
    template: str = ""

    def __post_init__(self):
        for name in ("system", "template"):
            if not isinstance(getattr(self, name), str):
                raise CatKerasError(f"The {name} of a chat is a text. Received: {getattr(self, name)!r:.60}")

    def template_of(self, tokenizer) -> str:
        """The template for a model with this tokenizer: its own, that of the preset, or the family's.

        Raises:
            CatKerasError: there is none.
        """
        return self.template or getattr(tokenizer, "chat_template", "") or _of_family(tokenizer)

    def turn(self, tokenizer) -> Turn:
        """The tokens around a prompt.

        Raises:
            CatKerasError: there is no template; it cannot be rendered, or does not show the prompt once as it is; or it
                has control words that the tokenizer does not know.
        """
        template = self.template_of(tokenizer)
        control = _control_words(tokenizer, template)
        words = control.words
        system = [{"role": "system", "content": _guarded(self.system, words)}] if self.system else []
        asked = [*system, {"role": "user", "content": PROMPT}]
        blank = [*system, {"role": "user", "content": f" {PROMPT} "}]
        before, after = _around(PROMPT, _rendered(template, tokenizer, asked))
        stripped = _around(PROMPT, _rendered(template, tokenizer, blank))
        strip = stripped[0] == before, stripped[1] == after
        if not all((strip[0] or stripped[0] == before + " ", strip[1] or stripped[1] == " " + after)):
            raise CatKerasError(
                "A chat template shows a prompt as it is, with or without the blanks around it. Received: one that "
                f"makes {stripped} of it. Give another, ck.Chat(template=…)"
            )
        *head, lead = _pieces(tokenizer, before, words, last_is_text=True)
        trail, *tail = _pieces(tokenizer, after, words, first_is_text=True)
        start = special_id(tokenizer, "start")
        head = _ids(tokenizer, head, control)
        return Turn(
            tokenizer, self._end(tokenizer, template, asked, words), control,
            tuple(head[1:] if head[:1] == [start] else head), lead, trail, tuple(_ids(tokenizer, tail, control)), strip,
        )  # fmt: skip

    def _end(self, tokenizer, template, asked, words) -> int | None:
        """Id of the control word that comes after an answer; the end token where none does."""
        try:
            turns = [*asked, {"role": "assistant", "content": ANSWER}]
            after = _rendered(template, tokenizer, turns, answer=False).partition(ANSWER)[2]
        except CatKerasError:  # a template of questions alone
            after = ""
        pieces = _pieces(tokenizer, after, words)
        return next((p for p in pieces if isinstance(p, int)), special_id(tokenizer, "end"))


def turn_of(chat: Chat | None, tokenizer) -> Turn:
    """The tokens around prompts, with a chat or without.

    Raises:
        CatKerasError: see `Chat.turn`; or the chat is something else.
    """
    if chat is None:
        return Turn(tokenizer, special_id(tokenizer, "end"), control_words(tokenizer))
    if not isinstance(chat, Chat):
        raise CatKerasError(f'A chat is a ck.Chat. Received: {chat!r:.60}. Give e.g. ck.Chat(system="Be brief.")')
    return chat.turn(tokenizer)


def _of_family(tokenizer) -> str:
    names = [cls.__name__ for cls in type(tokenizer).__mro__]
    template = next((FAMILIES[name] for name in names if name in FAMILIES), None)
    if template is None:
        raise CatKerasError(
            f"A chat needs a template. Received: a {names[0]}, whose preset brings none; known are those of Gemma, "
            "Llama 3 and Qwen. Give it as ck.Chat(template=…), jinja2 as in tokenizer_config.json"
        )
    return template


def _control_words(tokenizer, template) -> ControlWords:
    """The control words of a tokenizer, and those of a template that are tokens of their own."""
    known = {word for word in WORD.findall(template) if token_id(tokenizer, word) is not None}
    return ControlWords.of(tokenizer, known.union(control_words(tokenizer).words))


def _rendered(template, tokenizer, messages, answer=True) -> str:
    """A conversation in the form of a template, up to where the answer begins if `answer`."""
    import jinja2.sandbox

    def refuse(message):
        raise jinja2.TemplateError(message)

    # The settings under which templates of Hugging Face are written; a template comes from outside, so in a sandbox.
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.globals["raise_exception"] = refuse
    tokens = {f"{short}_token": getattr(tokenizer, f"{kind}_token", None) or ""
              for short, kind in (("bos", "start"), ("eos", "end"), ("pad", "pad"))}  # fmt: skip
    try:
        return environment.from_string(template).render(
            messages=messages, add_generation_prompt=answer, tools=None, documents=None, **tokens
        )
    except Exception as error:  # a template may do whatever it likes
        raise CatKerasError(
            f"A chat template renders a system prompt (where there is one) and a prompt. Received: {error} from "
            f"{template!r:.80}. Leave the system prompt out, or give another, ck.Chat(template=…)"
        ) from error


def _around(mark, text) -> tuple[str, str]:
    """What stands before and after the mark, which has to be there once."""
    if text.count(mark) != 1:
        raise CatKerasError(
            f"A chat template shows the prompt once. Received: one that shows it {text.count(mark)} times. "
            "Give another, ck.Chat(template=…)"
        )
    before, _, after = text.partition(mark)
    return before, after


def _guarded(text, words) -> str:
    """The text with a mark within each control word, so that it is told from the template's own."""
    pattern = "|".join([*map(re.escape, sorted(words, key=len, reverse=True)), CERTAIN.pattern])
    return re.sub(pattern, lambda found: found[0][0] + CUT + found[0][1:], text.replace(CUT, ""))


def _pieces(tokenizer, text, words, first_is_text=False, last_is_text=False) -> list:
    """Ids of control words and texts between them, in order; at the ends a text, maybe an empty one, where asked."""
    pattern = "|".join(map(re.escape, sorted(words, key=len, reverse=True)))
    parts = re.split(f"({pattern})", text) if words else [text]
    if unknown := [word for part in parts[::2] for word in CERTAIN.findall(part)]:
        raise CatKerasError(
            f"The control words of a chat template are tokens of the model. Received: {unknown[0]}, which its "
            "tokenizer does not know. Take an instruct preset, or give another template, ck.Chat(template=…)"
        )
    pieces = [token_id(tokenizer, part) if i % 2 else part.replace(CUT, "") for i, part in enumerate(parts)]
    keep = {0: first_is_text, len(pieces) - 1: last_is_text}
    return [piece for i, piece in enumerate(pieces) if piece != "" or keep.get(i)]


def _ids(tokenizer, pieces, control) -> list[int]:
    texts = iter(tokenize(tokenizer, [piece for piece in pieces if isinstance(piece, str)], control))
    return [token for piece in pieces for token in (next(texts) if isinstance(piece, str) else [piece])]
