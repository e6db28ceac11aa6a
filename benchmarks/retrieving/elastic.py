"""The teacher at several sizes, as a bi-encoder and as a ranker: the section `[elastic]` of a profile."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.planning.ladder import WHOLE
from benchmarks.retrieving import judging
from benchmarks.retrieving.judging import Ranked
from benchmarks.retrieving.models import Workshop
from cat_keras import retrieval
from cat_keras.modeling.elastic import Elastic
from cat_keras.retrieval import ElasticDenser, ElasticRanker, ElasticRetriever, Pairs


def denser(shop: Workshop, seed: int) -> Path:
    """The folder of the bi-encoder of the whole, of which the sizes are parts; trained as the teacher, at all sizes."""
    settings, start = shop.profile.elastic, shop.start("teacher", seed)
    key = shop.key("denser", start=start.name, elastic=settings.training, seed=seed)

    def make():
        model = _denser(shop, retrieval.load(start))
        pairs = Pairs(shop.tokens.train, shop.tokens.documents, shop.train_part.positives, settings.tune.batch_size,
                      relevant=shop.train_part.relevant_rows, seed=seed)  # fmt: skip
        return model.at(-1), pairs, ElasticRetriever(model, distil=settings.distil)

    return shop.trained(key, f"denser {seed}: tune", settings.tune, make)


def ranker(shop: Workshop, seed: int) -> Path:
    """The folder of the ranker of the whole, which begins as the denser and is trained as the ranker, at all sizes."""
    settings, start = shop.profile.ranker, denser(shop, seed)
    parts = {"ranker": settings.model_dump(), "negatives": shop.profile.negatives, "teacher": shop.teacher().name}
    key = shop.key("elastic ranker", start=start.name, elastic=shop.profile.elastic.training, seed=seed, **parts)

    def make():
        elastic = _elastic(shop, retrieval.load(start).query.model)
        model = ElasticRanker(elastic, shop.profile.temperature)
        pairs = Pairs(shop.tokens.train, shop.tokens.documents, shop.train_part.positives, settings.tune.batch_size,
                      relevant=shop.train_part.relevant_rows, negatives=shop.negatives(), hard=settings.hard,
                      joint=True, seed=seed)  # fmt: skip
        return model.at(-1), pairs, ElasticRetriever(model, distil=shop.profile.elastic.distil)

    return shop.trained(key, f"elastic ranker {seed}: tune", settings.tune, make)


def retrieved(shop: Workshop) -> list[Ranked]:
    """The rankings of the bi-encoder at every size, the whole last in each seed, as `denser-NAME`.

    All sizes search one index, of the documents as the whole embeds them.
    """
    rankings = []
    for seed in shop.profile.elastic.seeds:
        model = _denser(shop, shop.loaded(denser(shop, seed)))
        rankings += [
            judging.ranked_by(shop, f"denser-{name}", seed, model.at(size)) for name, size in _sizes(shop).items()
        ]
    return rankings


def reread(shop: Workshop, rankings: Sequence[Ranked]) -> list[tuple[Ranked, np.ndarray, np.ndarray]]:
    """What the ranker at every size says of the first documents that the bi-encoder of the whole found.

    Returns:
        (ranking of the whole under the name `ranker-NAME`, scores (n, rerank), FLOPs of each pair (n, rerank)).
    """
    read = []
    for whole in (one for one in rankings if one.model == f"denser-{WHOLE}"):
        entry = ranker(shop, whole.seed)
        kept = shop.loaded(entry)
        model = ElasticRanker(_elastic(shop, kept.model), shop.profile.temperature, kept.head)
        for name, size in _sizes(shop).items():
            at_size = model.at(size)
            ranking = replace(whole, model=f"ranker-{name}", parameters=at_size.count_params())
            parts = {"ranker": entry.name, "size": list(model.elastic.size(size).numbers)}
            read.append((ranking, *judging.ranker_scores(shop, [whole], at_size, parts)[0]))
    return read


def _sizes(shop: Workshop) -> dict:
    """Name → size, the whole last."""
    return shop.profile.elastic.ladder | {WHOLE: None}


def _elastic(shop: Workshop, model) -> Elastic:
    return Elastic(model, list(shop.profile.elastic.ladder.values()))


def _denser(shop: Workshop, encoder: retrieval.BiEncoder) -> ElasticDenser:
    return ElasticDenser(_elastic(shop, encoder.query.model), temperature=shop.profile.temperature)
