"""What looks wrong with answers of several models, before anybody believes a number of them: one sentence each."""

from collections.abc import Iterator, Mapping

import numpy as np

from benchmarks.importing.answers import shown
from benchmarks.importing.joining import Joined
from cat_keras.evaluation.confidence import auroc

ENOUGH = 200  # questions, below which nothing is said of a correlation
UNCORRELATED = 3.0  # standard deviations of a correlation of 0: two models on the same questions are far above
LEAKS = 0.98  # AUROC of a confidence that no model has of itself
TIED = 0.2  # share of the answers in the largest tie


def suspicions(joined: Joined, large: str, scores: Mapping[str, tuple[str, np.ndarray]]) -> list[str]:
    """Sentences, the gravest first.

    Args:
        joined: the answers. large: the model that others defer to. scores: model → (what it is, (n,)), of those that
            have a confidence.
    """
    qualities = {model: joined.column("quality", model).astype(float) for model in joined.models}
    return [
        *_other_questions(joined, qualities, large),
        *_truth(qualities),
        *_leaks(qualities, scores),
        *_ties(scores),
        *_other_texts(joined),
    ]


def _other_questions(joined: Joined, qualities, large: str) -> Iterator[str]:
    other, found = qualities[large], {}
    for model, own in qualities.items():
        if model != large and len(own) >= ENOUGH and min(own.std(), other.std()) > 0:
            correlation = float(np.corrcoef(own, other)[0, 1])
            if correlation < UNCORRELATED / np.sqrt(len(own)):
                found[model] = correlation
    if found:
        named = shown((f"{model} (correlation {value:.3f})" for model, value in found.items()), 6)
        yield (
            f"Whether {large} is right says nothing of whether these are: {named}, over {len(other):,} questions. "
            "Either they guess, or the same ids name other questions: look at the files' order."
        )


def _truth(qualities) -> Iterator[str]:
    for model, own in qualities.items():
        if len(own) >= ENOUGH and own.min() == 1:
            yield (
                f"{model} is right on all {len(own):,} questions: its answers may have been taken as the truth. Then "
                "quality says how often others agree with it, not how often they are right."
            )


def _leaks(qualities, scores) -> Iterator[str]:
    for model, (what, score) in scores.items():
        right = qualities[model] > 0.5
        area = auroc(score, right) if len(score) >= ENOUGH else float("nan")
        if area > LEAKS:
            yield (
                f"{model}: its {what} tells right from wrong answers with an AUROC of {area:.3f}. It may know the "
                "right answer, as the probability of the reference does; no cascade has that when it is asked."
            )
        elif area < 0.5:
            yield (
                f"{model}: its {what} is lower where it is right (AUROC {area:.3f}): is it a distance or an entropy?"
            )


def _ties(scores) -> Iterator[str]:
    found = []
    for model, (what, score) in scores.items():
        values, sizes = np.unique(score, return_counts=True)
        if len(score) >= ENOUGH and sizes.max() > TIED * len(score):
            share = sizes.max() / len(score)
            found.append(f"{model} ({share:.0%} have the {what} {values[sizes.argmax()]:.6g}, {len(values):,} values)")
    if found:
        yield f"Many answers tie, and shares between ties are reached by chance alone: {shown(found, 14)}."


def _other_texts(joined: Joined) -> Iterator[str]:
    """Ids under which models were asked something else, where files hold the questions or the right answers."""
    for role, words in (("question", "question"), ("target", "right answer")):
        if role not in joined.frame:
            continue
        first = joined.models[0]
        for model in joined.models[1:]:
            own, other = (joined.column(role, each).astype(str) for each in (first, model))
            differ = int((own != other).sum())
            if differ:
                yield f"{first} and {model}: {differ:,} of {len(own):,} ids have another {words} in either file."
