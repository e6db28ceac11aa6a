"""The identity of a tokenizer: a hash of all that decides which tokens a text becomes."""

import hashlib
import inspect
import json

import numpy as np

from cat_keras.errors import CatKerasError

# Arguments that name a tokenizer, or say where and as what numbers it is stored, and change no token.
NAMES = ("name", "trainable", "dtype", "config_file", "self", "args", "kwargs")


def special_id(tokenizer, kind: str) -> int | None:
    """Id of the "start", "end" or "pad" token; None where the family has none (Qwen3 has no start token)."""
    return getattr(tokenizer, f"{kind}_token_id", None)


def defer_id(tokenizer) -> int:
    """Id of the token by which a small model asks for help (`losses.DeferToken`): the padding token.

    It is in every tokenizer that models are trained with here, no answer holds it, and no model reads it, since padding
    is masked. So nothing is added to a model. That it is the padding token is our choice.

    Raises:
        CatKerasError: the tokenizer has no padding token, or its padding token has another meaning besides (GPT-2 ends
            its texts with it).
    """
    pad = special_id(tokenizer, "pad")
    others = [kind for kind in ("start", "end") if pad is not None and special_id(tokenizer, kind) == pad]
    if pad is None or others:
        reason = f"whose padding token is the {others[0]} token too" if others else "which has none"
        raise CatKerasError(
            f"A model asks for help by its padding token. Received: a {type(tokenizer).__name__}, {reason}. Take a "
            "tokenizer with a padding token of its own, such as those of Gemma or of train_tokenizer"
        )
    return int(pad)


def check_defer_id(tokenizer, token: int):
    """Raises CatKerasError unless `token` is the `defer_id` of a tokenizer."""
    if token != defer_id(tokenizer):
        raise CatKerasError(
            f"DeferToken teaches the padding token of its model. Received: token={token}, where it is "
            f'{defer_id(tokenizer)}. Give losses.get("defer-token", token={defer_id(tokenizer)})'
        )


def decisive(tokenizer) -> dict:
    """All that decides the tokens of a text, as JSON values by name.

    A class that has a method of tokenizing decides by that code and by the arguments of its constructor: vocabulary,
    merges or SentencePiece proto, normalisation, rules of splitting, tokens that are added or never split. A class that
    only gives the special tokens a family's names (Gemma 3 beside Gemma) decides nothing more. Arguments are read as
    attributes where there are such, since `get_config` leaves out some (WordPiece's `split_on_cjk`) and says of others
    only that they lie in a file.
    """
    owners = _owners(type(tokenizer))
    classes = {cls for cls in owners.values() if "__init__" in vars(cls)}
    arguments = {name for cls in classes for name in inspect.signature(cls.__init__).parameters} - {*NAMES}
    arguments = {name for name in arguments if not name.startswith("_")}
    facts = {name: _plain(getattr(tokenizer, name, None)) for name in arguments}
    given = tokenizer.get_config() if hasattr(tokenizer, "get_config") else {}
    # What was given for an argument may differ from the attribute of that name: a property, or tokens added to it.
    config = {name: _plain(value) for name, value in given.items() if name in arguments}
    facts |= {f"{name} given": v for name, v in config.items() if v is not None and v != facts[name]}
    if not given:  # an object that only acts as a tokenizer
        facts["vocabulary"] = _plain(tokenizer.get_vocabulary())
    specials = _plain(getattr(tokenizer, "special_tokens", []))
    for name in ("special_tokens", "unsplittable_tokens"):
        # By default these are in the order of a set, which changes from one process to the next.
        if isinstance(facts.get(name), list) and set(facts[name]) == set(specials):
            facts[name] = sorted(specials)
    if isinstance(facts.get("merges"), list):  # the line of a file that tells its version is no rule
        facts["merges"] = [merge for merge in facts["merges"] if "#version:" not in merge]
    facts["special ids"] = [_plain(special_id(tokenizer, kind)) for kind in ("start", "end", "pad")]
    facts["methods"] = {name: f"{cls.__module__.partition('.')[0]}.{cls.__qualname__}" for name, cls in owners.items()}
    return facts


def fingerprint(tokenizer) -> str:
    """sha256 (hex) of `decisive`; the same for a tokenizer before it was saved to a preset and after it was loaded."""
    return hashlib.sha256(json.dumps(decisive(tokenizer), sort_keys=True).encode()).hexdigest()


def vocabulary_fingerprint(tokenizer) -> str:
    """sha256 (hex) of the vocabulary in order and of the special tokens.

    This was the fingerprint of version 0.1, which files of that version hold. Tokenizers of one vocabulary with other
    merges or scores share it, so it proves nothing by itself.
    """
    pieces = tokenizer.get_vocabulary()
    if isinstance(pieces, dict):
        pieces = [f"{i}\t{p}" for p, i in sorted(pieces.items(), key=lambda kv: kv[1])]
    specials = [special_id(tokenizer, kind) for kind in ("start", "end", "pad")]
    return hashlib.sha256("\n".join([*map(str, pieces), str(specials)]).encode()).hexdigest()


def differences(one, other) -> list[str]:
    """Names of what decides tokens and is not the same in two tokenizers; empty where both give the same tokens."""
    first, second = decisive(one), decisive(other)
    return sorted(name for name in {*first, *second} if first.get(name) != second.get(name))


def _owners(cls: type) -> dict[str, type]:
    """Method of tokenizing, or of taking the files that it needs → the class that it is from."""
    owners = {}
    for base in reversed(cls.__mro__):
        if base.__module__.startswith(("keras.", "builtins")):
            continue
        for name, value in vars(base).items():
            if callable(value) and (
                name in ("call", "__call__") or "tokenize" in name or name.lstrip("_").startswith("set_")
            ):
                owners[name] = base
    return owners


def _plain(value):
    """A value as JSON can hold it; bytes as their hash, and objects by their class."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    if isinstance(value, list | tuple | np.ndarray) or hasattr(value, "keys"):
        return [_plain(v) for v in value]
    return type(value).__qualname__
