"""A model behind an OpenAI-compatible address, as a value: where it is, what it costs, how it is asked."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from cat_keras.data.chat import Chat
from cat_keras.errors import CatKerasError, check_number, shown
from cat_keras.modeling.costs import check_token_price

WAYS = ("likelihood", "match")  # how an option is chosen
# Fields of a request that decide what its answer looks like.
OWN = {"model", "prompt", "messages", "logprobs", "top_logprobs", "echo", "stream", "n"}
SECRET = re.compile(r"key|secret|password|authorization|credential", re.IGNORECASE)  # in the name of a field


@dataclass(frozen=True)
class Endpoint:
    """A model behind an OpenAI-compatible address: a stage of `Cascade`, beside KerasHub models or other endpoints.

    A prompt is sent as it is, to `/completions`; with a chat it is the turn of a user, sent to `/chat/completions`.

    Args:
        url: the address up to its version, e.g. "http://127.0.0.1:8000/v1".
        model: the name that the server knows it by.
        price: of a million tokens read and of a million written, in one currency for all stages; None if not known.
        key: the name of the environment variable that holds the key; "" sends none. The key itself is read where it is
            sent, and stands in no file, log or message.
        chat: how it is asked, with a system prompt or without; None to do as the cascade does. The server knows its
            template, so a chat with a template is refused.
        options: how the option of a classification is chosen. "likelihood": the server returns the prompt with
            log-probabilities (`echo`), and the most probable option is the answer. "match": an answer is generated and
            the option that it names is taken; options that the prompt does not name are added to it. By default
            "match" with a chat or without log-probabilities, else "likelihood".
        logprobs: whether the server gives log-probabilities. Without them no deferral rule can judge its answers, but
            it can be the last stage.
        concurrency: how many requests are under way at a time.
        timeout: seconds until a request that nothing comes back from is asked again.
        retries: how often a request is asked again after status 408, 409, 429 or 5xx, a time-out or a cut connection.
            The time between is what the server asks for (Retry-After, up to two minutes), or doubles from half a
            second.
        fields: further fields of every request, or other values of those that it has; None leaves one out, e.g.
            {"max_tokens": None, "max_completion_tokens": 64}.
        answers: a file that keeps every answer as it comes. What is in it is not asked again, by any process.

    Raises:
        CatKerasError: one of them is out of its range. A key in the place of a name is not repeated in the message.
    """

    url: str
    model: str
    price: tuple[float, float] | None = None
    key: str = ""
    chat: Chat | None = None
    options: str = ""
    logprobs: bool = True
    concurrency: int = 8
    timeout: float = 60.0
    retries: int = 5
    fields: Mapping = field(default_factory=dict)
    answers: str | Path | None = field(default=None, compare=False)

    def __post_init__(self):
        _check_url(self.url)
        if not isinstance(self.model, str) or not self.model:
            raise CatKerasError(f"An endpoint has the name of a model. Received: model={shown(self.model)}")
        object.__setattr__(self, "price", check_token_price("price", self.price))
        if not isinstance(self.key, str) or not re.fullmatch(r"[A-Z_][A-Z0-9_]*|", self.key):
            raise CatKerasError(
                "key is the name of an environment variable, in capital letters, and not the key itself. Received: "
                'something else. Export the key, e.g. as MY_SERVER_KEY, and give key="MY_SERVER_KEY"'
            )
        _check_chat(self.chat)
        if self.options not in ("", *WAYS):
            raise CatKerasError(f"options is one of {', '.join(WAYS)}, or empty. Received: {shown(self.options)}")
        if (self.chat or not self.logprobs) and self.options == "likelihood":
            raise CatKerasError(
                "The likelihood of an option needs the log-probabilities of a prompt, which no chat returns. Received: "
                f'options="likelihood" with {"a chat" if self.chat else "logprobs=False"}. Give options="match"'
            )
        check_number("concurrency", self.concurrency, "[1, 1024]", whole=True)
        check_number("timeout", self.timeout, "[0.01, 86400]")
        check_number("retries", self.retries, "[0, 100]", whole=True)
        _check_fields(self.fields)

    @property
    def name(self) -> str:
        """The model and where it is, for messages."""
        return f"{self.model} at {self.url}"

    def scores(self, chat: bool) -> bool:
        """Whether options are chosen by their likelihood, where the cascade or the run has a chat or none."""
        return (self.options or ("match" if self.chat or chat or not self.logprobs else "likelihood")) == "likelihood"

    def predictor(self, needs: Sequence[str] = ("token_logprobs",), **arguments):
        """What answers examples, like `Predictor`.

        Args:
            needs: the columns of `Prediction` that its answers are judged by.
            arguments: of `Predictor`; see `EndpointPredictor` for what becomes of them.
        """
        from cat_keras.decoding.endpoints.predictor import EndpointPredictor  # late: sampling brings Keras

        return EndpointPredictor(self, needs, **arguments)

    def config(self) -> dict:
        """All settings in JSON values, for `from_config`, but for `answers`, which is of this machine."""
        facts = asdict(self) | {"fields": dict(self.fields)}
        facts.pop("answers")
        return facts

    @classmethod
    def from_config(cls, config: Mapping) -> "Endpoint":
        """The endpoint that `config` was of."""
        chat = config.get("chat")
        price = config.get("price")
        return cls(**{**config, "chat": chat and Chat(**chat), "price": price and tuple(price)})

    def identity(self) -> dict:
        """What decides on the answers: where, which model, and how it is asked; not prices, keys and time-outs."""
        names = ("url", "model", "chat", "options", "logprobs", "fields")
        return {name: value for name, value in self.config().items() if name in names}


def _check_url(url):
    """An address of HTTP, without anything in it that may be a secret; the message does not repeat it."""
    if isinstance(url, str) and set("@?#") & set(url):
        raise CatKerasError(
            "An address holds no user, password or query, which would be written to files with it. Received: one that "
            "does. Give a key by the name of its environment variable, key="
        )
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except (ValueError, TypeError, AttributeError):
        good = False
    if not good:
        raise CatKerasError(f"An endpoint has an address like http://127.0.0.1:8000/v1. Received: {shown(url)}")


def _check_chat(chat):
    if chat is not None and not isinstance(chat, Chat):
        raise CatKerasError(f'A chat is a ck.Chat. Received: {chat!r:.60}. Give e.g. ck.Chat(system="Be brief.")')
    if chat and chat.template:
        raise CatKerasError(
            "A server renders prompts by its own template. Received: an endpoint with a chat that has a template. "
            "Give the endpoint a chat without, chat=ck.Chat(system=…)"
        )


def _check_fields(fields):
    secret = [name for name in fields if SECRET.search(str(name))] if isinstance(fields, Mapping) else []
    if secret:
        raise CatKerasError(
            f"The fields of a request are written to files. Received: one named {secret[0]!r}, which may be a secret. "
            "Give a key by the name of its environment variable, key="
        )
    if own := sorted(OWN & set(fields)) if isinstance(fields, Mapping) else ():
        raise CatKerasError(
            f"fields are beside those that an endpoint sets and reads itself. Received: {own[0]!r}. Leave it out"
        )
    try:
        json.dumps(dict(fields), allow_nan=False)
    except (TypeError, ValueError):
        raise CatKerasError(f"fields are names and values that JSON can hold. Received: {shown(fields)}") from None
