"""The trained models of a retrieval run, each kept by the identity of all that decides its weights."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np

from benchmarks.retrieving.columns import Tokens
from benchmarks.retrieving.profile import Model, Profile, Training
from benchmarks.retrieving.writing import Written, write_queries
from cat_keras import retrieval
from cat_keras.errors import CatKerasError, unknown_name
from cat_keras.modeling import models
from cat_keras.retrieval import BiEncoder, Pairs, Ranker, Tower, embedding
from cat_keras.storage import store
from cat_keras.storage.untrusted import read_npz
from cat_keras.training import Schedule, train

VERSION = 2  # of everything that is kept here; raise it when the code of a stage changes


@dataclass(frozen=True)
class Rung:
    """How a student is trained, beside the labels.

    Attributes:
        label: in tables. scores: of which teacher, "encoder" or "ranker". frozen: whether it inherits the teacher's
            tower of documents. queries, documents: which vectors are matched. generated: whether it reads queries that
            a decoder wrote as well.
    """

    label: str
    scores: str = ""
    frozen: bool = False
    queries: bool = False
    documents: bool = False
    generated: bool = False


RUNGS = {
    "alone": Rung("student alone"),
    "scores": Rung("+ scores", "encoder"),
    "frozen": Rung("+ frozen document tower", "encoder", frozen=True),
    "matching": Rung("+ query matching", "encoder", frozen=True, queries=True),
    "generated": Rung("+ generated queries", "encoder", frozen=True, queries=True, generated=True),
    "ranker-scores": Rung("ranker's scores", "ranker"),
    "ranker-matching": Rung("+ ranker's vectors", "ranker", queries=True, documents=True),
}
TEACHER, RANKER = "teacher", "ranker"


def rungs(profile: Profile) -> tuple[str, ...]:
    """Names of the students that a profile trains, in the order of the staircase."""
    for name in profile.rungs:
        if name not in RUNGS:
            raise unknown_name("rung", name, RUNGS)
    for size in profile.elastic.sizes if profile.elastic else ():
        if f"{RANKER}-{size}" in RUNGS:
            raise CatKerasError(
                f"A row has a name of its own. Received: a size {size!r}, whose ranker has the name of a student. Name "
                "it otherwise"
            )
    chosen = profile.rungs or tuple(RUNGS)
    return tuple(name for name in RUNGS if name in chosen and (profile.generator or not RUNGS[name].generated))


@dataclass(eq=False)
class Workshop:
    """Builds what it is asked for, and what that needs, unless it is kept already.

    Attributes:
        profile: what to build. tokens: from what. kept: the store. progress: as `running.progress.Progress`.
        indexes: of the corpus, by the fingerprint of the tower that made the vectors.
    """

    profile: Profile
    tokens: Tokens
    kept: store.Store
    progress: object
    indexes: dict[str, retrieval.Index] = field(default_factory=dict, repr=False)
    _loaded: dict = field(default_factory=dict, repr=False)

    @property
    def base(self) -> dict:
        """What every identity of this run begins with."""
        data = [self.tokens.collections[part].fingerprint for part in ("train", "test")]
        lengths = [self.profile.data.query_length, self.profile.data.document_length, self.profile.data.vocabulary_size]
        return {"version": VERSION, "data": data, "lengths": lengths, "temperature": self.profile.temperature}

    # -- models ------------------------------------------------------------------------------------------------------

    def start(self, role: str, seed: int) -> Path:
        """A bi-encoder that finds the paragraph of each sentence of the corpus, from random weights."""
        settings: Model = getattr(self.profile, role)
        key = self.key("start", shape=_shape(settings), pretrain=settings.pretrain.model_dump(), seed=seed)

        def make():
            model = models.build(self.tokens.proto, **_shape(settings), seed=seed)
            encoder = BiEncoder(Tower(model), temperature=self.profile.temperature)
            pairs = Pairs(self.tokens.sentences, self.tokens.documents, self.tokens.sources,
                          settings.pretrain.batch_size, seed=seed)  # fmt: skip
            return encoder, pairs, retrieval.Retriever(encoder)

        return self.trained(key, f"{role} {seed}: pretrain", settings.pretrain, make, len(self.tokens.sentences))

    def teacher(self) -> Path:
        """The large bi-encoder, trained on queries with in-batch negatives."""
        settings, start = self.profile.teacher, self.start("teacher", 0)
        key = self.key("teacher", start=start.name, tune=settings.tune.model_dump())

        def make():
            pairs = Pairs(self.tokens.train, self.tokens.documents, self.train_part.positives,
                          settings.tune.batch_size, relevant=self.train_part.relevant_rows)  # fmt: skip
            encoder = retrieval.load(start)
            return encoder, pairs, retrieval.Retriever(encoder)

        return self.trained(key, "teacher: tune", settings.tune, make)

    def ranker(self) -> Path:
        """The cross-encoder, which begins as the teacher and tells positives from hard negatives."""
        settings, teacher = self.profile.ranker, self.teacher()
        key = self.key("ranker", teacher=teacher.name, ranker=settings.model_dump(), negatives=self.profile.negatives)

        def make():
            ranker = Ranker(retrieval.load(teacher).query.model, self.profile.temperature)
            pairs = Pairs(self.tokens.train, self.tokens.documents, self.train_part.positives,
                          settings.tune.batch_size, relevant=self.train_part.relevant_rows,
                          negatives=self.negatives(), hard=settings.hard, joint=True)  # fmt: skip
            return ranker, pairs, retrieval.Retriever(ranker)

        return self.trained(key, "ranker: tune", settings.tune, make)

    def student(self, rung: str, seed: int) -> Path:
        """A small bi-encoder, trained as a rung says from the start of its seed; all have as many steps."""
        how, settings, start = RUNGS[rung], self.profile.student, self.start("student", seed)
        teacher = {"encoder": self.teacher, "ranker": self.ranker}.get(how.scores, lambda: None)()
        parts = {"start": start.name, "tune": settings.tune.model_dump(), "seed": seed, "hard": self.profile.hard}
        parts |= {"rung": [how.scores, how.frozen, how.queries, how.documents], "negatives": self.profile.negatives}
        parts |= {"distil": self.profile.distil.model_dump(), "teacher": teacher and teacher.name}
        parts["hard negatives of"] = self.teacher().name
        if how.generated:
            parts["generated"] = self._generated_key()
        key = self.key("student", **parts)

        return self.trained(key, f"student {seed}: {how.label}", settings.tune, lambda: self._student(how, start, seed))

    def _student(self, how: Rung, start: Path, seed: int) -> tuple[BiEncoder, Pairs, retrieval.Retriever]:
        objective, model = self._objective(how), retrieval.load(start).query.model
        if how.frozen:
            documents = self.loaded(self.teacher()).document
            encoder = BiEncoder(
                Tower(model, documents.dim, seed=seed), documents, self.profile.temperature, frozen=True
            )
        else:
            matched = self.profile.teacher.width if how.queries or how.documents else None
            encoder = BiEncoder(Tower(model), temperature=self.profile.temperature, matched=matched, seed=seed)
        queries, positives = self.tokens.train, self.train_part.positives
        relevant, negatives = self.train_part.relevant_rows, self.negatives()
        teaching = {"encoder": self.encoder_teaching, "ranker": self.ranker_teaching}.get(how.scores, lambda: None)()
        if how.generated:
            written = self.generated()
            queries, positives = queries.joined(written.texts), np.concatenate([positives, written.sources])
            relevant = [*relevant, *written.sources[:, None]]
            negatives = np.concatenate([negatives, written.negatives])
            teaching = retrieval.EncoderTeaching(np.concatenate([teaching.query, written.vectors]), teaching.document,
                                                 teaching.temperature)  # fmt: skip
        pairs = Pairs(queries, self.tokens.documents, positives, self.profile.student.tune.batch_size,
                      relevant=relevant, negatives=negatives, hard=self.profile.hard, objective=objective,
                      teaching=teaching, frozen=teaching.document if how.frozen else None, seed=seed)  # fmt: skip
        return encoder, pairs, retrieval.Retriever(encoder, objective)

    def _objective(self, how: Rung) -> retrieval.Objective:
        weights = self.profile.distil
        return retrieval.Objective(
            1.0, weights.scores * bool(how.scores), weights.queries * how.queries, weights.documents * how.documents
        )

    # -- what a teacher says -----------------------------------------------------------------------------------------

    def negatives(self) -> np.ndarray:
        """(n, k) the documents that the teacher ranks highest for each training query and that are not relevant."""
        return self.arrays("negatives", {"k": self.profile.negatives}, self._find_negatives)["rows"]

    def _find_negatives(self):
        teaching = self.encoder_teaching()
        return {"rows": hard_negatives(teaching, self.train_part.relevant_rows, self.profile.negatives)}

    def encoder_teaching(self) -> retrieval.EncoderTeaching:
        """The teacher's vectors of the training queries and of the corpus."""

        def build():
            said = retrieval.EncoderTeaching.of(self.loaded(self.teacher()), self.tokens.train, self.tokens.documents)
            return {"query": said.query, "document": said.document}

        return retrieval.EncoderTeaching(**self.arrays("vectors", {}, build), temperature=self.profile.temperature)

    def ranker_teaching(self) -> retrieval.RankerTeaching:
        """The ranker's scores and vectors of each training query with its positive and its hard negatives."""
        ranker = self.ranker()

        def build():
            candidates = np.concatenate([self.train_part.positives[:, None], self.negatives()], axis=1)
            return vars(retrieval.RankerTeaching.of(self.loaded(ranker), self.tokens.train, self.tokens.documents,
                                                    candidates, progress=self.progress.advance))  # fmt: skip

        pairs = len(self.tokens.train) * (1 + self.profile.negatives)
        return retrieval.RankerTeaching(**self.arrays("ranked", {"ranker": ranker.name}, build, (pairs, "pairs")))

    def generated(self) -> Written:
        """Queries that a decoder wrote for every document, with the teacher's vectors and hard negatives of them."""

        def build():
            texts = write_queries(self.profile.generator, self.tokens, self.progress,
                                  self.kept.unfinished("retrieval", self._generated_key()))  # fmt: skip
            sources = np.repeat(np.arange(len(self.tokens.documents)), self.profile.generator.per_document)
            kept = np.array([bool(text.strip()) for text in texts])
            texts = [text for text, keep in zip(texts, kept, strict=True) if keep]
            return {"texts": np.array(texts), "sources": sources[kept]}

        arrays = self.arrays("generated", {"generator": self.profile.generator.model_dump()}, build)
        tokenizer = self.loaded(self.teacher()).query.model.preprocessor.tokenizer
        texts = retrieval.Texts.encode(arrays["texts"].tolist(), tokenizer, self.profile.data.query_length)
        vectors = embedding.embed(self.loaded(self.teacher()).query, texts)
        said = retrieval.EncoderTeaching(vectors, self.encoder_teaching().document, self.profile.temperature)
        negatives = hard_negatives(said, list(arrays["sources"][:, None]), self.profile.negatives)
        return Written(texts, arrays["sources"], vectors, negatives)

    def _generated_key(self) -> str:
        return self.key("generated", generator=self.profile.generator.model_dump(), teacher=self.teacher().name)

    # -- keeping -----------------------------------------------------------------------------------------------------

    def loaded(self, entry: Path) -> BiEncoder | Ranker:
        """The model of an entry, read once."""
        if entry not in self._loaded:
            self._loaded[entry] = retrieval.load(entry)
        return self._loaded[entry]

    @property
    def train_part(self) -> retrieval.Collection:
        """The training queries and the corpus."""
        return self.tokens.collections["train"]

    def key(self, stage: str, **parts) -> str:
        return store.identity(stage=stage, **self.base, **parts)

    def trained(self, key: str, label: str, settings: Training, make: Callable, queries: int = 0) -> Path:
        """The folder of a trained model. A training that was killed continues from its checkpoint.

        Args:
            make: gives the model that is kept, the batches, and the trainer of that model.
            queries: of an epoch, by default those of the training set; generated ones make no epoch longer.
        """
        if self.kept.has("retrieval", key):
            return self.kept.path("retrieval", key)
        steps = round(settings.epochs * (queries or len(self.tokens.train)) / settings.batch_size)
        scratch = self.kept.unfinished("retrieval", key)
        scratch.mkdir(parents=True, exist_ok=True)

        def build(folder):
            model, pairs, trainer = make()
            trainer.compile(keras.optimizers.Adam(clipnorm=1.0), jit_compile=False)
            self.progress.start(label, steps, "steps")
            history = train(
                trainer, pairs, Schedule(settings.learning_rate, steps, round(steps * settings.warmup)),
                scratch / "checkpoint.npz", stop=self.progress.stopping,
                progress=lambda state: self.progress.upto(state.step, steps),
            )  # fmt: skip
            ends = {name: float(np.mean(values[-20:])) for name, values in history.items() if values}
            retrieval.save(model, folder)
            text = f"loss {ends['loss']:.3f}, positive first {ends['live']:.1%}" if ends else "no steps"
            self.progress.done(text)
            return {"label": label, "steps": steps, "ends": ends}

        return self.kept.get("retrieval", key, build)

    def arrays(
        self, stage: str, parts: dict, build: Callable[[], dict], counted: tuple[int, str] | None = None
    ) -> dict:
        """Arrays that are computed once, by name; counted says of how many units, where that is shown."""
        key = self.key(stage, teacher=self.teacher().name, **parts)
        if not self.kept.has("retrieval", key):

            def write(folder):
                if counted:
                    self.progress.start(stage, *counted)
                np.savez(folder / "arrays.npz", **build())
                if counted:
                    self.progress.done()

            self.kept.get("retrieval", key, write)
        return read_npz(self.kept.path("retrieval", key) / "arrays.npz")


def hard_negatives(teaching: retrieval.EncoderTeaching, relevant, k: int) -> np.ndarray:
    """(n, k) rows of the documents with the highest scores that are not relevant, best first."""
    rows = np.zeros((len(teaching.query), k), np.int64)
    for i, vector in enumerate(teaching.query):
        scores = teaching.document @ vector
        scores[relevant[i]] = -np.inf
        rows[i] = retrieval.rank(scores[None], k)[0]
    return rows


def _shape(settings) -> dict:
    return {name: getattr(settings, name) for name in ("layers", "width", "heads", "feedforward")}
