"""Examples that no answer can be asked for, as a tokenizer sees them."""

from collections.abc import Sequence

from cat_keras.data.chat import Turn
from cat_keras.data.records import Example


def unanswerable(examples: Sequence[Example], turn: Turn, max_length: int) -> list[tuple[int, str]]:
    """(index, problem) of every example that `Predictor` refuses, in their order.

    Args:
        examples: to be classified or answered freely.
        turn: what stands around a prompt, see `chat.turn_of`, with the tokenizer of the model that is to answer.
        max_length: the context, tokens.
    """
    texts = list(dict.fromkeys(option for e in examples for option in e.options))
    tokens = dict(zip(texts, map(tuple, turn.data(texts)), strict=True))
    problems = []
    for index, example in enumerate(examples):
        options = [tokens[option] for option in example.options]
        if problem := _prompt_problem(example, turn) or option_problem(example, options, turn, max_length):
            problems.append((index, problem))
    return problems


def _prompt_problem(example: Example, turn: Turn) -> str:
    if not example.prompt:
        return "A prompt is not empty. Received: an empty prompt"
    # Only a prompt without any letter or digit may have no token, and only where no other comes first is that an error.
    doubtful = not any(map(str.isalnum, example.prompt)) and not turn.before
    if doubtful and not turn.ids([example.prompt])[0]:
        return f"A prompt has at least one token. Received: {example.prompt!r:.80}"
    return ""


def option_problem(example: Example, options: Sequence[Sequence[int]], turn: Turn, max_length: int) -> str:
    """Why the options of an example cannot be scored; "" if they can.

    Args:
        options: the token ids of each option, without special tokens. turn, max_length: as in `unanswerable`.
    """
    if len(set(map(tuple, options))) < len(options) or not all(options):
        return f"Options differ and are not empty, as tokens too. Received: {list(example.options)!r:.300}"
    longest = max(map(len, options), default=0)
    if options and turn.room(max_length - longest - 1) < turn.least:  # 1 for its end token
        return f"An option fits the context. Received: {longest} tokens, context {max_length}"
    return ""
