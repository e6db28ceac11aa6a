"""A bi-encoder and a ranker at every size of one elastic model.

ElasticLM (arXiv 2311.07204) names an ElasticDenser and an ElasticRanker. Its abstract alone could be read, so what they
are here is our definition. All sizes have the width of the whole, so that their vectors have one width and meet in one
index.
"""

import keras
from keras import ops

from cat_keras.errors import TEMPERATURE, CatKerasError, check_number
from cat_keras.modeling.elastic import Elastic
from cat_keras.retrieval.towers import BiEncoder, Ranker, Tower, mean_pool, new_head, pair_outputs, part, unit


class ElasticDenser(keras.Model):
    """A bi-encoder at every size of an elastic model: documents are embedded at one size, queries at any.

    Keras sees the weights of the whole model alone. `ElasticRetriever` trains all sizes together.

    Args:
        elastic: the model at its sizes.
        documents: the size of the tower of documents, see `Elastic.size`; None for the whole.
        temperature: τ of the scores, see `BiEncoder`.

    Raises:
        CatKerasError: a size is narrower than the whole; there is no such size; a temperature outside its range.
    """

    def __init__(self, elastic: Elastic, documents=None, temperature: float = 0.05, **kwargs):
        super().__init__(**kwargs)
        self._parts = _Parts(elastic)
        self.model, self.temperature = elastic.model, check_number("temperature", temperature, TEMPERATURE)
        self.documents = elastic.size(documents)
        self.built = True

    @property
    def elastic(self) -> Elastic:
        return self._parts.elastic

    def at(self, size) -> BiEncoder:
        """The bi-encoder that embeds queries at a size. It shares the weights, and is made once.

        So what is compiled with it stays, and going back and forth between sizes compiles nothing again. Its tower of
        documents is the same at every size. An index that one size made serves the queries of all.

        Args:
            size: see `Elastic.size`.
        """

        def made(size):
            return BiEncoder(self._tower(size), self._tower(self.documents), self.temperature)

        return self._parts.once("at", size, made)

    def extract(self, size) -> BiEncoder:
        """As `at`, with copies of the weights, which depend on the whole no more; for `save`."""
        size = self.elastic.size(size)
        query = _tower(self.elastic, size, self.elastic.extract)
        document = None if size == self.documents else _tower(self.elastic, self.documents, self.elastic.extract)
        return BiEncoder(query, document, self.temperature)

    def call(self, inputs, training=None) -> list[dict]:
        """What the bi-encoder of each size says of a batch of `Pairs`, in the order of `elastic.sizes`.

        Documents are embedded once for all sizes. Sizes that differ in layers alone take one pass over the queries.

        Args:
            inputs: as of `BiEncoder`.

        Returns:
            for each size scores (B, C), query (B, width), document (C, width).
        """
        if "document_embeddings" in inputs:
            document = inputs["document_embeddings"]
        else:
            document = self._tower(self.documents)(part(inputs, "document"), training=training)
        tokens, outputs = part(inputs, "query"), []
        for hidden in self._parts.hidden(tokens, training):
            query = unit(mean_pool(hidden, tokens["padding_mask"]))
            scores = ops.matmul(query, ops.transpose(document)) / self.temperature
            outputs.append({"scores": scores, "query": query, "document": document})
        return outputs

    def _tower(self, size) -> Tower:
        return self._parts.once("tower", size, lambda size: _tower(self.elastic, size, self.elastic.at))


class ElasticRanker(keras.Model):
    """A cross-encoder at every size of an elastic model; all sizes have one head, see `Ranker`.

    Keras sees the weights of the whole model and the head alone. `ElasticRetriever` trains all sizes together.

    Args:
        elastic: the model at its sizes. temperature: τ. head: see `Ranker`.

    Raises:
        CatKerasError: a size is narrower than the whole; a temperature outside its range.
    """

    def __init__(self, elastic: Elastic, temperature: float = 0.05, head: keras.layers.Dense | None = None, **kwargs):
        super().__init__(**kwargs)
        self._parts = _Parts(elastic)
        self.model, self.temperature = elastic.model, check_number("temperature", temperature, TEMPERATURE)
        self.head = head or new_head(elastic.whole.width)
        self.built = True

    @property
    def elastic(self) -> Elastic:
        return self._parts.elastic

    def at(self, size) -> Ranker:
        """The ranker of a size. It shares the weights and the head, and is made once, see `ElasticDenser.at`."""
        return self._parts.once("at", size, lambda size: Ranker(self.elastic.at(size), self.temperature, self.head))

    def extract(self, size) -> Ranker:
        """As `at`, with copies of the weights, which depend on the whole no more; for `save`."""
        ranker = Ranker(self.elastic.extract(size), self.temperature)
        ranker.head.kernel.assign(self.head.kernel)
        return ranker

    def call(self, inputs, training=None) -> list[dict]:
        """What the ranker of each size says of a batch of `Pairs`, in the order of `elastic.sizes`.

        Args:
            inputs: as of `Ranker`.

        Returns:
            for each size scores (n,); query, document (n, width).
        """
        pair = part(inputs, "pair")
        query_mask = pair.pop("query_mask")
        return [
            pair_outputs(hidden, pair["padding_mask"], query_mask, self.head, self.temperature)
            for hidden in self._parts.hidden(pair, training)
        ]


class _Parts:
    """The elastic model, its passes and what was made of its sizes, out of sight of Keras, which would track them."""

    def __init__(self, elastic: Elastic):
        if not isinstance(elastic, Elastic):
            raise CatKerasError(
                f"Elastic retrieval stands on an Elastic. Received: {type(elastic).__name__}. Give "
                "ck.elastic.Elastic(model, sizes), or a model to retrieval.Tower"
            )
        if narrower := [size for size in elastic.sizes if size.width != elastic.whole.width]:
            raise CatKerasError(
                f"All sizes of a retriever give vectors of one width, that of the whole, {elastic.whole.width}. "
                f"Received: a size with width={narrower[0].width}. Cut layers, heads and feedforward alone"
            )
        self.elastic, self._made = elastic, {}
        self._passes = [elastic.trunk(size) for size in elastic.trunks]

    def once(self, kind: str, size, make):
        """What `make` gives for a size, the same at every call."""
        size = self.elastic.size(size)
        if (kind, size) not in self._made:
            self._made[kind, size] = make(size)
        return self._made[kind, size]

    def hidden(self, tokens: dict, training) -> list:
        """Last hidden states (rows, length, width) of every size, in the order of the sizes."""
        states = {}
        for exits, trunk in self._passes:
            outputs = trunk(tokens, training=training)
            states |= zip(exits, outputs if len(exits) > 1 else [outputs], strict=True)
        return [states[size] for size in self.elastic.sizes]


def _tower(elastic: Elastic, size, model_of) -> Tower:
    """The tower of a size; an index remembers the name of the size, which the whole, a model as any other, has not."""
    return Tower(model_of(size), size="" if size == elastic.whole else str(size))
