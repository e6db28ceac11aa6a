"""Prompts that are too long for a context lose what their examples say may be cut, and no more of it than they must."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cat_keras.data.records import Example
from cat_keras.data.tokens import tokenize


@dataclass(frozen=True, eq=False)
class Fit:
    """Prompts as tokens, and what became of them.

    Attributes:
        prompts: token ids of each, without special tokens, at most as many as there is room for.
        cut: (n,) bool, whether a prompt was cut.
        overlong: (n,) bool, whether it lost more than `Example.cut` allows: the rest alone is too long.
    """

    prompts: list[list[int]]
    cut: np.ndarray
    overlong: np.ndarray


def fit(examples: Sequence[Example], rooms: Sequence[int], tokenizer) -> Fit:
    """Token ids of prompts, each cut to the tokens that it has room for.

    A prompt loses of what `Example.cut` names as few characters as it must. It loses its beginning where its example
    names nothing, or where the rest alone is still too long.

    Args:
        examples: whose prompts. rooms: tokens for each prompt, without special tokens.
        tokenizer: a KerasHub tokenizer.
    """
    prompts = tokenize(tokenizer, [e.prompt for e in examples])
    cut = np.array([len(ids) > room for ids, room in zip(prompts, rooms, strict=True)], bool)
    rows = [i for i in np.flatnonzero(cut).tolist() if examples[i].cut]
    shortened = _shortened([examples[i] for i in rows], [prompts[i] for i in rows], [rooms[i] for i in rows], tokenizer)
    for i, ids in zip(rows, shortened, strict=True):
        prompts[i] = ids
    overlong = np.zeros(len(prompts), bool)
    for i, (ids, room) in enumerate(zip(prompts, rooms, strict=True)):
        if len(ids) > room:
            prompts[i], overlong[i] = ids[len(ids) - max(room, 0) :], bool(examples[i].cut)
    return Fit(prompts, cut, overlong)


def shorten(example: Example, limit: int) -> str:
    """The prompt of an example with at most `limit` characters of each part that may be cut."""
    pieces, place = [], 0
    for keep, lose in sorted(example.cut, key=min):
        start, end = min(keep, lose), max(keep, lose)
        part = example.prompt[start:end]
        if len(part) > limit:
            part = part[:limit].rstrip() if keep < lose else part[len(part) - limit :].lstrip()
        pieces += [example.prompt[place:start], part]
        place = end
    return "".join(pieces) + example.prompt[place:]


def _shortened(examples, prompts, rooms, tokenizer) -> list[list[int]]:
    """Token ids of prompts that are too long, with as much as fits of what may be cut; without it where nothing does.

    The limit of characters is searched for all prompts at once, since a tokenizer is fast on many texts. The number of
    tokens grows with the limit, and nearly in proportion. So the next limit is where a straight line meets the room;
    every third time it is in the middle, which ends the search also where the line misleads.

    Args:
        examples: whose prompts. prompts: their whole token ids. rooms: tokens for each, fewer than it has.
    """
    low = [0] * len(examples)
    high = [max(abs(keep - lose) for keep, lose in e.cut) for e in examples]
    best = tokenize(tokenizer, [shorten(e, 0) for e in examples])
    above, turn = list(map(len, prompts)), 0
    while search := [i for i, ids in enumerate(best) if len(ids) < rooms[i] and high[i] - low[i] > 1]:
        turn += 1
        limits = []
        for i in search:
            share = (rooms[i] - len(best[i])) / (above[i] - len(best[i])) if turn % 3 else 0.5
            limits.append(min(max(low[i] + int((high[i] - low[i]) * share), low[i] + 1), high[i] - 1))
        tried = tokenize(tokenizer, [shorten(examples[i], limit) for i, limit in zip(search, limits, strict=True)])
        for i, limit, ids in zip(search, limits, tried, strict=True):
            if len(ids) <= rooms[i]:
                low[i], best[i] = limit, ids
            else:
                high[i], above[i] = limit, len(ids)
    return best
