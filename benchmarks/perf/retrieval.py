"""Documents embedded and searched, and steps with a teacher: `python -m benchmarks perf retrieval`.

The promise: documents are embedded at 0.9 of the rate of a plain forward pass over the same padded arrays, which makes
no vectors of the hidden states. A step that distils from cached vectors takes at most 1.1 of one that learns labels
alone. How fast FAISS searches, and how much of the exact answer cells still find, is reported.
"""

import time

import keras
import numpy as np

from benchmarks.perf import paired, workload
from cat_keras import retrieval
from cat_keras.data.padding import bucket_lengths
from cat_keras.modeling import models
from cat_keras.retrieval import embedding, texts
from cat_keras.retrieval import index as indexes

BATCH = 256
LENGTHS = (16, 40)  # tokens of a document
STEP = 64  # queries of a step
SHAPE = {"layers": 1, "width": 48, "heads": 3, "feedforward": 96}


class Plain(keras.Model):
    """The backbone alone."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.compile(jit_compile=False)

    def call(self, inputs):
        return self.model.backbone(inputs)[:, -1]  # one position, as vectors of all would be copied from the device


def measure(documents: int = 100_000, queries: int = 1000, rounds: int = 3):
    """Prints a line per measurement.

    Args:
        documents: how many are embedded and searched. queries: that are searched for. rounds: turns of each candidate.
    """
    proto = workload.tokenizer()
    tower = retrieval.Tower(models.build(proto, **SHAPE))
    corpus, asked = made(tower, documents, seed=0), made(tower, queries, seed=1)
    sample = made(tower, min(documents, 20 * BATCH), seed=2)
    plain = Plain(tower.model)
    arrays = _padded(sample)
    seconds = paired.rounds(
        {"embed": lambda: embedding.embed(tower, sample, BATCH),
         "plain": lambda: [plain.predict_on_batch(batch) for batch in arrays]}, rounds,
    )  # fmt: skip
    rate = len(sample) / float(seconds["embed"].median())
    print(f"embedding {len(sample):,} documents: {rate:,.0f}/s, {paired.ratio(seconds, 'plain', 'embed'):.2f} of plain")
    started = time.perf_counter()
    exact = retrieval.Index.build(tower, corpus, range(len(corpus)), batch_size=BATCH)
    print(f"embedding all {documents:,} documents: {time.perf_counter() - started:.1f} s")
    vectors = embedding.embed(tower, asked, BATCH)
    _search("exactly", exact, vectors, None)
    near = exact.nearest(vectors, 10)[0]
    cells = min(round(4 * documents**0.5), documents)
    for probes in (4, 16, 64):
        _search(f"{min(probes, cells)} of {cells} cells", exact.approximate(cells, probes), vectors, near)
    steps = step_times(proto, rounds)
    print(f"a step that distils: {paired.ratio(steps, 'distils', 'labels'):.2f} of one of labels alone")


def made(tower, count: int, seed: int) -> texts.Texts:
    """So many texts of random tokens, of the tokenizer of a tower."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(LENGTHS[0], LENGTHS[1] + 1, count)
    tokenizer = models.tokenizer_of(tower.model)
    tokens = rng.integers(4, tokenizer.vocabulary_size(), int(lengths.sum())).astype(np.int32)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return texts.Texts(tokens, offsets, LENGTHS[1], 0, models.tokenizer_fingerprint(tokenizer))


def step_times(proto: bytes, rounds: int, steps: int = 5):
    """Seconds of some steps with the labels alone, and with scores and vectors of a teacher beside them."""
    runs = {}
    for name, objective in (("labels", retrieval.Objective()), ("distils", retrieval.Objective(1, 1, 10, 10))):
        tower = retrieval.Tower(models.build(proto, **SHAPE))
        corpus = made(tower, 2 * STEP, seed=3)
        vectors = np.random.default_rng(4).normal(size=(2, 2 * STEP, 128)).astype(np.float32)
        negatives = (np.arange(2 * STEP)[:, None] + 1) % len(corpus)
        pairs = retrieval.Pairs(corpus, corpus, np.arange(2 * STEP), STEP, negatives=negatives, objective=objective,
                                teaching=retrieval.EncoderTeaching(*vectors), buckets=1)  # fmt: skip
        matched = 128 if objective.columns else None
        trainer = retrieval.Retriever(retrieval.BiEncoder(tower, matched=matched), objective)
        trainer.compile(keras.optimizers.Adam(), jit_compile=False)
        runs[name] = lambda trainer=trainer, pairs=pairs: [trainer.step(pairs.batch(step)) for step in range(steps)]
    return paired.rounds(runs, rounds)


def _padded(sample: texts.Texts) -> list[dict]:
    """The arrays that `embed` computes, made beforehand."""
    edges = bucket_lengths(sample.lengths, 6)
    bucket, order = np.searchsorted(edges, sample.lengths), np.argsort(sample.lengths, kind="stable")
    batches = []
    for place, edge in enumerate(edges):
        members = order[bucket[order] == place]
        batches += [texts.pad(sample, members[i : i + BATCH], int(edge), BATCH) for i in range(0, len(members), BATCH)]
    return batches


def _search(label: str, index: retrieval.Index, vectors: np.ndarray, exact: np.ndarray | None):
    index.nearest(vectors[:1], 1)  # FAISS makes the cells
    started = time.perf_counter()
    rows = index.nearest(vectors, 10)[0]
    milliseconds = 1000 * (time.perf_counter() - started) / len(vectors)
    found = "" if exact is None else f", recall of the exact ten {indexes.recall(rows, exact):.3f}"
    print(f"searching {len(index.ids):,} documents, {label}: {milliseconds:.3f} ms per query{found}")
