"""Retrieval with language models: texts become vectors, an index of vectors is searched, a ranker reads the best again.

`collection` is a corpus with queries and what is relevant to them, `texts` its tokens. `towers` has the models:
`BiEncoder` embeds queries and documents apart, `Ranker` reads both together; `elastic` has both at every size of one
elastic model. `losses` has the objectives, EmbedDistill (arXiv 2301.12005) among them, `pairs` the batches, `teaching`
what a teacher says of them, `trainer` joins model and objective for `cat_keras.train`. `embedding` computes vectors and
scores, `index` searches vectors by FAISS, `measures` judges rankings, and `saved` keeps the models as folders.
"""

from cat_keras.retrieval.collection import Collection
from cat_keras.retrieval.elastic import ElasticDenser, ElasticRanker
from cat_keras.retrieval.embedding import embed, rank, rerank
from cat_keras.retrieval.index import Index
from cat_keras.retrieval.losses import ElasticObjective, Objective
from cat_keras.retrieval.measures import per_query
from cat_keras.retrieval.pairs import Pairs
from cat_keras.retrieval.saved import load, save
from cat_keras.retrieval.teaching import EncoderTeaching, RankerTeaching
from cat_keras.retrieval.texts import Texts
from cat_keras.retrieval.towers import BiEncoder, Ranker, Tower
from cat_keras.retrieval.trainer import ElasticRetriever, Retriever

__all__ = [
    "BiEncoder",
    "Collection",
    "ElasticDenser",
    "ElasticObjective",
    "ElasticRanker",
    "ElasticRetriever",
    "EncoderTeaching",
    "Index",
    "Objective",
    "Pairs",
    "Ranker",
    "RankerTeaching",
    "Retriever",
    "Texts",
    "Tower",
    "embed",
    "load",
    "per_query",
    "rank",
    "rerank",
    "save",
]
