"""The models of retrieval, on the backbone of any `CausalLM`: a tower embeds a text, a bi-encoder has one tower for
queries and one for documents, and a ranker reads query and document together.

A sub-model of an elastic model is a `CausalLM` as well, so that a tower can stand on any of its sizes: documents at
one, queries at another.
"""

import hashlib

import keras
import numpy as np
from keras import ops

from cat_keras.errors import COUNT, TEMPERATURE, CatKerasError, check_number
from cat_keras.modeling import models
from cat_keras.storage import store

KERAS_SEED = "[0, 4294967295]"


def mean_pool(hidden, mask):
    """Mean of hidden states (rows, length, width) over the positions where mask (rows, length) is 1: (rows, width)."""
    hidden = ops.cast(hidden, "float32")  # a sum over a long text would lose its last terms in bfloat16
    mask = ops.cast(mask, "float32")[:, :, None]
    return ops.sum(hidden * mask, axis=1) / ops.sum(mask, axis=1)


def unit(vectors):
    """Vectors (rows, width) divided by their length, float32."""
    vectors = ops.cast(vectors, "float32")
    return vectors * ops.rsqrt(ops.sum(vectors * vectors, axis=-1, keepdims=True) + 1e-12)


class Tower(keras.Model):
    """Embeds texts: the mean of the backbone's last hidden states over the tokens of a text, as a vector of length 1.

    Both are our choice: the mean, since a decoder has no token that stands for its text, and length 1, which bounds the
    scores.

    Args:
        model: a `CausalLM`.
        dim: width of the vectors, by a matrix without bias; None for that of the backbone. A small query tower beside
            the documents of a larger one has the width of those.
        size: name of the size, where the model is a part of an elastic one; an index remembers it.
        seed: of the matrix.

    Raises:
        CatKerasError: dim or seed outside its range.
    """

    def __init__(self, model, dim: int | None = None, size: str = "", seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        if dim is not None:
            check_number("dim", dim, COUNT, whole=True)
        check_number("seed", seed, KERAS_SEED, whole=True)
        self.model, self.size = model, size
        width = model.backbone.hidden_dim
        self.dim = dim or width
        self.projection = None
        if dim is not None:
            initializer = keras.initializers.GlorotUniform(seed=seed)
            self.projection = keras.layers.Dense(dim, use_bias=False, kernel_initializer=initializer, name="projection")
            self.projection.build((None, width))
        self.built = True
        self.compile(jit_compile=False)  # for one pass over texts of several lengths, XLA would compile longer

    def call(self, inputs, training=None):
        """token_ids and padding_mask (rows, length) → (rows, dim) float32."""
        tokens = {name: inputs[name] for name in ("token_ids", "padding_mask")}
        pooled = mean_pool(self.model.backbone(tokens, training=training), tokens["padding_mask"])
        return unit(self.projection(pooled) if self.projection else pooled)

    @property
    def fingerprint(self) -> str:
        """sha256 (hex) of everything that decides the vectors of a text's tokens, but for the name of the size."""
        kernel = b"" if self.projection is None else ops.convert_to_numpy(self.projection.kernel).tobytes()
        projection = hashlib.sha256(kernel).hexdigest()
        return store.identity(model=models.weights_fingerprint(self.model), projection=projection, dim=self.dim)


class BiEncoder(keras.Model):
    """A tower for queries and one for documents; the score of a pair is the product of their vectors, over τ.

    Args:
        query: tower of queries. document: tower of documents; None for the same one.
        temperature: τ. Its value is our choice.
        frozen: whether the tower of documents is not trained, such as one inherited from a teacher (EmbedDistill,
            arXiv 2301.12005).
        matched: width of a teacher's vectors, where it differs from that of the towers: a matrix W, which is used in
            training alone, makes vectors of that width, see `losses.Objective`. seed: of that matrix.

    Raises:
        CatKerasError: the towers give vectors of different width.
    """

    def __init__(self, query: Tower, document: Tower | None = None, temperature: float = 0.05, frozen: bool = False,
                 matched: int | None = None, seed: int = 0, **kwargs):  # fmt: skip
        super().__init__(**kwargs)
        self.temperature = check_number("temperature", temperature, TEMPERATURE)
        check_number("seed", seed, KERAS_SEED, whole=True)
        document = document or query
        if query.dim != document.dim:
            raise CatKerasError(
                "Both towers give vectors of one width. Received: queries of "
                f"{query.dim}, documents of {document.dim}. Give the tower of queries dim={document.dim}"
            )
        if frozen:
            document.trainable = False
        self.query, self.document, self.matching = query, document, None
        if matched is not None and check_number("matched", matched, COUNT, whole=True) != query.dim:
            initializer = keras.initializers.GlorotUniform(seed=seed)
            self.matching = keras.layers.Dense(matched, use_bias=False, kernel_initializer=initializer, name="matching")
            self.matching.build((None, query.dim))
        self.built = True

    def call(self, inputs, training=None):
        """Scores of all pairs of a batch of `Pairs`, and the vectors that may be matched with a teacher's.

        Args:
            inputs: query_token_ids and query_padding_mask (B, length); document_token_ids and document_padding_mask
                (C, length), or document_embeddings (C, dim) in their place.

        Returns:
            scores (B, C), query (B, width), document (C, width).
        """
        query = self.query(part(inputs, "query"), training=training)
        if "document_embeddings" in inputs:
            document = inputs["document_embeddings"]
        else:
            document = self.document(part(inputs, "document"), training=training)
        scores = ops.matmul(query, ops.transpose(document)) / self.temperature
        match = self.matching or (lambda vectors: vectors)
        return {"scores": scores, "query": match(query), "document": match(document)}


class Ranker(keras.Model):
    """A cross-encoder: reads a query with a document behind it, and scores the pair.

    Dual pooling, as EmbedDistill has it for cross-encoders that teach bi-encoders: the hidden states of query tokens
    and of document tokens are averaged apart. The score is the product of both means (of length 1) over τ, plus a
    linear function of the document's mean, which begins at 0. That sum, length 1 and τ are our choice. So a ranker that
    starts with the weights of a bi-encoder begins near its scores. Tokens of the document attend to the query, and
    those of the query to nothing behind them: the mean of the query is the same for all documents.

    Args:
        model: a `CausalLM`. temperature: τ.
        head: the linear function, a built layer of another ranker of this width that shares it; None for a new one.
    """

    def __init__(self, model, temperature: float = 0.05, head: keras.layers.Dense | None = None, **kwargs):
        super().__init__(**kwargs)
        self.model, self.temperature = model, check_number("temperature", temperature, TEMPERATURE)
        self.dim = model.backbone.hidden_dim
        self.head = head or new_head(self.dim)
        self.built = True
        self.compile(jit_compile=False)

    def call(self, inputs, training=None):
        """pair_token_ids, pair_padding_mask, pair_query_mask (n, length) → scores (n,); query, document (n, width)."""
        pair = part(inputs, "pair")
        query_mask = pair.pop("query_mask")
        hidden = self.model.backbone(pair, training=training)
        return pair_outputs(hidden, pair["padding_mask"], query_mask, self.head, self.temperature)

    @property
    def fingerprint(self) -> str:
        """sha256 (hex) of everything that decides the score of a pair's tokens."""
        head = hashlib.sha256(np.asarray(ops.convert_to_numpy(self.head.kernel)).tobytes()).hexdigest()
        return store.identity(model=models.weights_fingerprint(self.model), head=head, temperature=self.temperature)


def new_head(width: int) -> keras.layers.Dense:
    """The linear function of a ranker, (n, width) → (n, 1), which begins at 0."""
    head = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros", name="head", dtype="float32")
    head.build((None, width))
    return head


def pair_outputs(hidden, padding_mask, query_mask, head, temperature: float) -> dict:
    """What a `Ranker` says of hidden states (n, length, width) of pairs: scores (n,); query, document (n, width)."""
    query = unit(mean_pool(hidden, query_mask))
    document = unit(mean_pool(hidden, padding_mask - query_mask))
    scores = ops.sum(query * document, axis=-1) / temperature + head(document)[:, 0]
    return {"scores": scores, "query": query, "document": document}


def part(inputs: dict, name: str) -> dict:
    """The arrays of a batch whose names begin with `name_`, without that beginning."""
    return {key.removeprefix(f"{name}_"): value for key, value in inputs.items() if key.startswith(f"{name}_")}
