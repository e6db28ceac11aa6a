"""Requests of lm-evaluation-harness as examples: options gathered by question, generations by their settings.

A request has `args`, `task_name` and `doc_id`, as `lm_eval.api.instance.Instance` has. lm_eval itself is not needed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cat_keras.data.records import Example
from cat_keras.decoding.sampling import GREEDY, Sampler
from cat_keras.errors import CatKerasError

# Names of one thing, the first that is there counts: so lm_eval's own `normalize_gen_kwargs` reads them.
LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
KNOWN = {"until", "do_sample", "temperature", "top_k", "top_p", *LENGTHS}


@dataclass
class Question:
    """Requests for the likelihood of continuations of one context, in one document of a task.

    Attributes:
        task: its name. doc: number of the document. example: the continuations are its options, each once.
        places: of the requests, in the order of `options_of`. options_of: which option each request asks for.
    """

    task: str
    doc: int | None
    example: Example
    places: list[int] = field(default_factory=list)
    options_of: list[int] = field(default_factory=list)


def questions(requests: Sequence) -> list[Question]:
    """Gathers requests (context, continuation) by task, document and context.

    A document with several contexts, such as one that also asks for the likelihood of its options alone, is as many
    questions. Requests for the same continuation share an option, as repeated ones do.
    """
    groups: dict[tuple, list[int]] = {}
    for place, request in enumerate(requests):
        context = request.args[0]
        groups.setdefault((request.task_name, request.doc_id, context), []).append(place)
    gathered, of_doc = [], {}
    for (task, doc, context), places in groups.items():
        wanted = [requests[place].args[1] for place in places]
        options = tuple(dict.fromkeys(wanted))
        name = _name(doc, of_doc.setdefault((task, doc), len(gathered)), len(gathered))
        example = Example(name, context, options[0], task or "", options)
        gathered.append(Question(task or "", doc, example, places, [options.index(option) for option in wanted]))
    return gathered


def _name(doc, first: int, number: int) -> str:
    """The id of a question. It is no bare number: calibration examples may have these under the same task."""
    return f"lm-eval document {doc}" + (f", question {number - first + 1}" if number > first else "")


def prompt(request) -> Example:
    """A request for an answer that is generated."""
    return Example(_name(request.doc_id, 0, 0), request.args[0], "", request.task_name or "")


@dataclass(frozen=True)
class Settings:
    """How a group of requests is to be generated.

    Attributes:
        stop: texts that end an answer. max_new_tokens: None where the task leaves it open.
        sampler: None where the task leaves it open.
    """

    stop: tuple[str, ...]
    max_new_tokens: int | None
    sampler: Sampler | None

    def arguments(self) -> dict:
        """Those of `Predictor` that a task has set."""
        given = {"max_new_tokens": self.max_new_tokens, "sampler": self.sampler}
        return {name: value for name, value in given.items() if value is not None}


def generations(requests: Sequence, seed: int = 0) -> dict[Settings, list[int]]:
    """Places of requests (context, settings) by their settings.

    Raises:
        CatKerasError: a setting that cannot be followed.
    """
    groups: dict[Settings, list[int]] = {}
    for place, request in enumerate(requests):
        groups.setdefault(settings(request.args[1], seed), []).append(place)
    return groups


def settings(given: Mapping, seed: int = 0) -> Settings:
    """The generation settings of a task file (`generation_kwargs`).

    Greedy where `do_sample` is false or the temperature 0, whatever else is set. Where `do_sample` is true, the
    temperature is 1 unless it is given. `seed` is that of the draws.

    Raises:
        CatKerasError: one that cannot be followed.
    """
    unknown = sorted(name for name in set(given) - KNOWN if given[name] is not None)
    if unknown:
        raise CatKerasError(
            f"Generation is set by {', '.join(sorted(KNOWN))}. Received: {', '.join(unknown)}. Leave it out of "
            "generation_kwargs"
        )
    until = given.get("until") or ()
    stop = tuple(text for text in ((until,) if isinstance(until, str) else until) if text)
    length = next((given[name] for name in LENGTHS if given.get(name) is not None), None)
    return Settings(stop, None if length is None else int(length), _sampler(given, seed))


def _sampler(given, seed) -> Sampler | None:
    asked, temperature = given.get("do_sample"), given.get("temperature")
    if asked is None and temperature is None:
        return None
    temperature = float(1 if temperature is None else temperature)
    if asked is False or temperature == 0:
        return GREEDY
    top_k, top_p = given.get("top_k"), given.get("top_p")
    return Sampler(temperature, max(int(top_k or 0), 0), float(1 if top_p is None else top_p), seed)
