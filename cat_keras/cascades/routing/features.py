"""What a router reads of a prompt: TF-IDF of its words, or the small model's hidden states of it.

Both are linear maps into a space of a few dimensions, learned from prompts alone, without any label.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cat_keras.errors import CatKerasError, check_list

TERMS = 20_000  # most frequent words and pairs of words
PER_DIMENSION = 8  # prompts for each dimension, at least
LENGTH = 0.3  # standard deviation of the length's column, beside rows of TF-IDF of norm 1
FAR = 3.0  # standard deviations beyond which a longer or shorter prompt is like one of this length
WORDS = {"sublinear_tf": True, "ngram_range": (1, 2), "token_pattern": r"(?u)\b\w+\b"}


@dataclass(frozen=True, eq=False)
class TextSpace:
    """TF-IDF of words and pairs of words, and the logarithm of the number of characters.

    Attributes:
        terms: (V,) words. idf: (V,) their inverse document frequencies. length: mean and standard deviation of the
            logarithm of the number of characters.
    """

    terms: tuple[str, ...]
    idf: np.ndarray
    length: tuple[float, float]

    @classmethod
    def fit(cls, prompts: Sequence[str]) -> "TextSpace":
        """Terms of at least two of the prompts.

        Raises:
            CatKerasError: prompts without a word in common.
        """
        from sklearn.feature_extraction.text import TfidfVectorizer

        lengths = _log_lengths(prompts)
        vectorizer = TfidfVectorizer(**WORDS, min_df=2, max_features=TERMS)
        try:
            vectorizer.fit(prompts)
        except ValueError:
            raise CatKerasError(
                f"A router reads words that several prompts have. Received: {len(prompts)} prompts without any"
            ) from None
        deviation = float(lengths.std())
        return cls(tuple(vectorizer.get_feature_names_out()), vectorizer.idf_, (float(lengths.mean()), deviation))

    def __call__(self, prompts: Sequence[str]):
        """(n, V + 1) sparse float64; the last column is the length."""
        import scipy.sparse
        from sklearn.feature_extraction.text import TfidfVectorizer

        vectorizer = TfidfVectorizer(**WORDS, vocabulary=list(self.terms))
        vectorizer.idf_ = self.idf
        mean, deviation = self.length
        length = (_log_lengths(prompts) - mean) / deviation if deviation > 1e-9 else np.zeros(len(prompts))
        length = LENGTH * np.clip(length, -FAR, FAR)
        return scipy.sparse.hstack([vectorizer.transform(prompts), length[:, None]], format="csr")

    def config(self) -> dict:
        """In JSON values."""
        return {"terms": list(self.terms), "idf": self.idf.tolist(), "length": list(self.length)}


def _log_lengths(prompts: Sequence[str]) -> np.ndarray:
    return np.log1p(np.fromiter(map(len, prompts), np.float64, len(prompts)))


@dataclass(frozen=True, eq=False)
class StateSpace:
    """Hidden states with mean 0 and standard deviation 1 in every dimension; constant ones are left out.

    Attributes:
        mean, scale: (d,), before.
    """

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, states: np.ndarray) -> "StateSpace":
        mean, scale = states.mean(axis=0), states.std(axis=0)
        scale[scale <= 1e-9 * np.maximum(1, np.abs(mean))] = np.inf
        return cls(mean, scale * np.sqrt(states.shape[1]))  # rows of norm about 1, like those of TF-IDF

    def __call__(self, states: np.ndarray) -> np.ndarray:
        """(n, d) float64."""
        if states.shape[1] != len(self.mean):
            raise CatKerasError(f"States have {len(self.mean)} numbers, as in the fit. Received: {states.shape[1]}")
        return (states - self.mean) / self.scale

    def config(self) -> dict:
        """In JSON values; the scale of a constant dimension is null."""
        return {"mean": self.mean.tolist(), "scale": [float(s) if np.isfinite(s) else None for s in self.scale]}


SPACES = {"tfidf": TextSpace, "states": StateSpace}


def from_config(features: str, config: Mapping) -> TextSpace | StateSpace:
    """The space that `config` described."""
    if features == "tfidf":
        return TextSpace(tuple(map(str, config["terms"])), np.array(config["idf"], float), tuple(config["length"]))
    scale = [np.inf if each is None else each for each in config["scale"]]
    return StateSpace(np.array(config["mean"], float), np.array(scale, float))


def checked(features: str, inputs) -> Sequence[str] | np.ndarray:
    """Prompts as a list of texts, or states as (n, d) float64.

    Raises:
        CatKerasError: something else, nothing, or a state that is not finite.
    """
    if features == "tfidf":
        prompts = check_list("prompts", inputs, str)
        if not prompts:
            raise CatKerasError("A router reads prompts. Received: none")
        return prompts
    states = np.asarray(inputs, dtype=np.float64)
    if states.ndim != 2 or not states.size or not np.isfinite(states).all():
        raise CatKerasError(f"States are (n, d) finite numbers. Received: shape {states.shape}, or NaN in it")
    return states


def reduced(x, components: int) -> tuple[np.ndarray, np.ndarray]:
    """The directions in which the rows differ most (latent semantic analysis), one per `PER_DIMENSION` rows at most.

    Args:
        x: (n, V), sparse or not. components: at most so many.

    Returns:
        (n, r) the rows in them, and (V, r) the directions.
    """
    from threadpoolctl import threadpool_limits

    rank = max(1, min(components, x.shape[0] // PER_DIMENSION, min(x.shape) - 1))
    with threadpool_limits(1):  # so that sums do not depend on the machine's cores
        if isinstance(x, np.ndarray):
            basis = np.linalg.svd(x, full_matrices=False)[2][:rank].T
        else:
            from sklearn.decomposition import TruncatedSVD

            svd = TruncatedSVD(rank, algorithm="arpack", random_state=0).fit(x)
            basis = svd.components_.T
        return x @ basis, basis
