"""tokenizer.json: a KerasHub tokenizer in the form of the `tokenizers` package, which transformers and vLLM read.

A control word in a text stays text, as in `modeling.tokens.tokenize`, unless the model has a chat template: then
servers render whole conversations as text, and each control word in it is to become its token.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from cat_keras.errors import CatKerasError

NORMAL, UNKNOWN, USER_DEFINED = 1, 2, 4  # types of a piece in a SentencePiece model
UNIGRAM, BPE = 1, 2  # types of a SentencePiece model


@dataclass(frozen=True)
class Words:
    """Words of a tokenizer that steer a model.

    Attributes:
        control: those that `modeling.tokens` spells where a text holds them.
        tokens: whether each becomes its token wherever a text holds it.
    """

    control: Sequence[str]
    tokens: bool = False


def tokenizer_json(tokenizer, words: Words) -> str:
    """The tokenizer.json of a KerasHub tokenizer; encoding with special tokens puts the start token first.

    Raises:
        CatKerasError: there is none that gives the same tokens.
    """
    if getattr(tokenizer, "proto", None):
        made = _sentence_pieces(tokenizer.proto, words)
    elif hasattr(tokenizer, "_maybe_initialized_tokenizers"):
        tokenizer._maybe_initialized_tokenizers()
        made = _byte_pairs(json.loads(tokenizer._tokenizer.to_str()), tokenizer, words)
    else:
        raise refused(tokenizer, "which is neither byte pairs nor SentencePiece")
    if tokenizer.start_token_id is not None:
        made["post_processor"] = _start_first(tokenizer.start_token, tokenizer.start_token_id)
    return json.dumps(made, ensure_ascii=False)


def refused(tokenizer, reason: str) -> CatKerasError:
    return CatKerasError(
        f"An export gives the tokens that the model was trained with. Received: a {type(tokenizer).__name__} {reason}. "
        "Take a tokenizer of byte pairs, or of SentencePiece as `models.train_tokenizer` makes it"
    )


def _start_first(word: str, token: int) -> dict:
    start = {"SpecialToken": {"id": word, "type_id": 0}}
    first, second = ({"Sequence": {"id": name, "type_id": i}} for i, name in enumerate("AB"))
    return {
        "type": "TemplateProcessing",
        "single": [start, first],
        "pair": [start, first, second],
        "special_tokens": {word: {"id": word, "ids": [token], "tokens": [word]}},
    }


def _added(token: int, word: str, special: bool, normalized: bool = False) -> dict:
    """An entry of `added_tokens`: a special one is found in texts unless `split_special_tokens` is set."""
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip"), False)
    return {"id": token, "content": word, **flags, "normalized": normalized, "special": special}


def _divided(places: dict[str, int]) -> list[dict]:
    """Steps before the model that divide each word after so many characters, so that no token arises from it."""
    if not places:
        return []
    longest_first = sorted(places, key=len, reverse=True)
    parts = [f"{re.escape(word[: places[word]])}(?={re.escape(word[places[word] :])})" for word in longest_first]
    return [{"type": "Split", "pattern": {"Regex": "|".join(parts)}, "behavior": "MergedWithPrevious", "invert": False}]


def _in_order(steps: list[dict]) -> dict | None:
    if len(steps) > 1:
        return {"type": "Sequence", "pretokenizers": steps}
    return steps[0] if steps else None


def _byte_pairs(made: dict, tokenizer, words: Words) -> dict:
    """KerasHub itself tokenizes byte pairs with this package; what its object says is all there is."""
    made["added_tokens"] = [
        _added(token, word, True)
        for word, token in sorted(((word, tokenizer.vocabulary[word]) for word in words.control), key=lambda x: x[1])
    ]
    if not words.tokens:
        made["pre_tokenizer"] = _in_order([*_divided(dict.fromkeys(words.control, 1)), made["pre_tokenizer"]])
    return made


def _model_of(proto: bytes):
    """The SentencePiece model.

    Raises:
        CatKerasError: its tokens are not those of a model that the `tokenizers` package has.
    """
    from sentencepiece import sentencepiece_model_pb2

    model = sentencepiece_model_pb2.ModelProto.FromString(proto)
    if model.trainer_spec.model_type not in (UNIGRAM, BPE):
        raise CatKerasError(
            "An export is of SentencePiece models of the types unigram and bpe. Received: one of words or characters. "
            "Train the tokenizer as one of these"
        )
    spec = model.normalizer_spec
    if spec.precompiled_charsmap or spec.remove_extra_whitespaces:
        received = f"the normalisation {spec.name}" if spec.precompiled_charsmap else "remove_extra_whitespaces"
        raise CatKerasError(
            f"An export is of SentencePiece models that change no character of a text. Received: one with {received}, "
            "which other packages do not compute alike. Train the tokenizer as `models.train_tokenizer` does"
        )
    return model


def _sentence_pieces(proto: bytes, words: Words) -> dict:
    """SentencePiece, by its own rules.

    Unigram: a piece that its trainer was given is not cut out of a text beforehand, but has a score that wins. Control
    pieces, bytes and the unknown piece are never found in a text; here all pieces are, so their words are divided.
    Byte pairs: pieces merge by their scores.
    """
    model = _model_of(proto)
    kind = model.trainer_spec.model_type
    pieces = list(model.pieces)
    control = set(words.control) & {p.piece for p in pieces}
    never = {p.piece for p in pieces if p.type not in (NORMAL, USER_DEFINED)}  # not found in a text by SentencePiece
    # Pieces that the trainer was given are found in the text as it is after normalisation, thus never one with a blank.
    given = {p.piece for p in pieces if kind == BPE and p.type == USER_DEFINED and " " not in p.piece} - control
    added = [
        _added(i, p.piece, p.piece in control, p.piece in given)
        for i, p in enumerate(pieces)
        if p.piece in control | given
    ]
    normal = [p.piece for p in pieces if p.type == NORMAL]
    divided = {word: _seam(word, normal) for word in never if len(word) > 1} if kind == UNIGRAM else {}
    if words.tokens:
        divided = {word: place for word, place in divided.items() if word not in control}
    else:
        divided |= {p.piece: 1 for p in pieces if p.type == USER_DEFINED and p.piece in control}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": _normalizer(model.normalizer_spec),
        "pre_tokenizer": _in_order(_divided(divided)),
        "post_processor": None,
        "decoder": _decoder(model.normalizer_spec),
        "model": _unigram(model) if kind == UNIGRAM else _merges(model),
    }


def _seam(word: str, pieces: Sequence[str]) -> int:
    """After how many characters a word can be divided with no effect on its tokens: where no piece goes across."""
    for place in range(1, len(word)):
        if not any(word[place - 1 : place + 1] in piece for piece in pieces):
            return place
    return 1


def _normalizer(spec) -> dict:
    steps = []
    if spec.add_dummy_prefix:
        steps.append({"type": "Prepend", "prepend": "▁"})
    steps.append({"type": "Replace", "pattern": {"String": " "}, "content": "▁"})
    return {"type": "Sequence", "normalizers": steps}


def _decoder(spec) -> dict:
    steps = [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    if spec.add_dummy_prefix:
        steps.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    return {"type": "Sequence", "decoders": steps}


def _unigram(model) -> dict:
    scores = [p.score for p in model.pieces if p.type == NORMAL]
    least, most = min(scores), max(scores)

    def score(piece):
        if piece.type == USER_DEFINED:
            return len(piece.piece.encode()) * most - 0.1
        return piece.score if piece.type == NORMAL else least  # the least score decides what the unknown costs

    return {
        "type": "Unigram",
        "unk_id": next(i for i, p in enumerate(model.pieces) if p.type == UNKNOWN),
        "vocab": [[p.piece, score(p)] for p in model.pieces],
        "byte_fallback": model.trainer_spec.byte_fallback,
    }


def _merges(model) -> dict:
    """SentencePiece merges the pair that makes the piece of the highest score, wherever it was made of."""
    vocabulary = {p.piece: i for i, p in enumerate(model.pieces)}
    normal = {p.piece: p.score for p in model.pieces if p.type == NORMAL}
    merges = [
        (-score, vocabulary[piece[:i]], piece[:i], piece[i:])
        for piece, score in normal.items()
        for i in range(1, len(piece))
        if piece[:i] in normal and piece[i:] in normal
    ]
    unknown = next((p.piece for p in model.pieces if p.type == UNKNOWN), None)
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": unknown,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": True,
        "byte_fallback": model.trainer_spec.byte_fallback,
        "ignore_merges": False,
        "vocab": vocabulary,
        "merges": [[left, right] for *_, left, right in sorted(merges)],
    }
