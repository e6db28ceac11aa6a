"""Examples that no answer can be asked for, as a tokenizer sees them."""

from collections.abc import Sequence

from cat_keras.data.records import Example
from cat_keras.data.tokens import tokenize
from cat_keras.modeling.tokenizers import special_id


def unanswerable(examples: Sequence[Example], tokenizer, max_length: int) -> list[tuple[int, str]]:
    """(index, problem) of every example that `Predictor` refuses, in their order.

    Args:
        examples: to be classified or answered freely.
        tokenizer: of the model that is to answer.
        max_length: the context, tokens.
    """
    texts = list(dict.fromkeys(option for e in examples for option in e.options))
    tokens = dict(zip(texts, map(tuple, tokenize(tokenizer, texts)), strict=True))
    problems = []
    for index, example in enumerate(examples):
        options = [tokens[option] for option in example.options]
        if problem := _prompt_problem(example, tokenizer) or option_problem(example, options, tokenizer, max_length):
            problems.append((index, problem))
    return problems


def _prompt_problem(example: Example, tokenizer) -> str:
    if not example.prompt:
        return "A prompt is not empty. Received: an empty prompt"
    # Only a prompt without any letter or digit may have no token, and only without a start token is that an error.
    doubtful = not any(map(str.isalnum, example.prompt)) and special_id(tokenizer, "start") is None
    if doubtful and not tokenize(tokenizer, [example.prompt])[0]:
        return f"A prompt has at least one token. Received: {example.prompt!r:.80}"
    return ""


def option_problem(example: Example, options: Sequence[Sequence[int]], tokenizer, max_length: int) -> str:
    """Why the options of an example cannot be scored; "" if they can.

    Args:
        options: the token ids of each option, without special tokens. tokenizer, max_length: as in `unanswerable`.
    """
    if len(set(map(tuple, options))) < len(options) or not all(options):
        return f"Options differ and are not empty, as tokens too. Received: {list(example.options)!r:.300}"
    longest = max(map(len, options), default=0)
    # Beside the option stand its end token and the start token, or one token of the prompt where there is no start.
    if options and longest + 2 > max_length:
        return f"An option fits the context. Received: {longest} tokens, context {max_length}"
    return ""
