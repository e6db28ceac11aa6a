"""How the hidden state of an answer compares with those of the calibration inputs: density ratio and distance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cat_keras.cascades.deferral import flatten, row_lengths
from cat_keras.cascades.routing import logistic
from cat_keras.errors import CatKerasError, check_number

COMPONENTS = 128  # of wider hidden states so many principal components are taken
FOLDS = 5
INSIDE = 0.05, 0.95  # the least and the largest share of own inputs that is estimated


def embeddings(columns: Mapping[str, Sequence], width: int = 0) -> np.ndarray:
    """The column `embedding` as (n, d) float64.

    Args:
        width: d of the hidden states that a rule was fitted to, 0 for any.

    Raises:
        CatKerasError: vectors that are missing, of several sizes, of another size than `width`, or not finite.
    """
    column = columns["embedding"]
    lengths = row_lengths(column)
    sizes = sorted(set(lengths.tolist()))
    if len(sizes) != 1 or not sizes[0]:
        raise CatKerasError(
            f"Rejecting reads one hidden state of one size per answer. Received: sizes {sizes}. Predict with "
            'measures=("hidden",)'
        )
    if width and sizes[0] != width:
        raise CatKerasError(
            f"A rule that rejects reads hidden states of the model that it was fitted with, of width {width}. "
            f"Received: width {sizes[0]}, of another model. Fit it again"
        )
    is_matrix = isinstance(column, np.ndarray) and column.ndim == 2
    found = np.asarray(column, np.float64) if is_matrix else flatten(column).reshape(len(lengths), -1)
    if not np.isfinite(found.sum()):  # a test of each number would take as long as scoring
        raise CatKerasError("Hidden states are finite. Received: NaN or infinity. Look at the weights of the model")
    return found


@dataclass(frozen=True, eq=False)
class DensityRatio:
    """`p_out / p_in` of features, from a logistic classifier of calibration inputs against unlabelled traffic.

    The traffic is a mixture, `p_mix = π p_in + (1 − π) p_out`, and the classifier gives `e^{−s} = p_mix / p_in`, so
    `p_out / p_in = (e^{−s} − π) / (1 − π)`, at least 0. arXiv 2301.12386.

    Attributes:
        weights, bias: of −s, linear in the features, (d,) and a number.
        inside: π, given or estimated as the median of `e^{−s}` over calibration inputs, which is π where hardly any
            input from elsewhere is near them (ours), within 0.05 and 0.95.
    """

    weights: np.ndarray
    bias: float
    inside: float

    def __call__(self, *features: np.ndarray) -> np.ndarray:
        """(n,) ≥ 0 of features (n, d), which may come in several blocks of columns."""
        ends = np.cumsum([block.shape[1] for block in features])
        parts = zip(features, np.split(self.weights, ends[:-1]), strict=True)
        return self.of_log(sum(np.einsum("nd,d->n", block, weights) for block, weights in parts) + self.bias)

    def of_log(self, mixture: np.ndarray) -> np.ndarray:
        """The ratio from `log p_mix / p_in`."""
        return np.maximum(np.exp(np.clip(mixture, -50, 50)) - self.inside, 0) / (1 - self.inside)

    @classmethod
    def fit(
        cls, own: np.ndarray, traffic: np.ndarray, inside: float | None = None
    ) -> tuple["DensityRatio", np.ndarray]:
        """The ratio, and (m,) the ratios of the traffic by classifiers that did not see the row.

        Args:
            own: (n, d) of calibration inputs. traffic: (m, d). inside: π in (0, 1) where it is known.

        Raises:
            CatKerasError: fewer than 10 rows, all traffic is among the calibration inputs, or other widths.
        """
        check(own, traffic)
        both = np.concatenate([own, traffic])
        labels = np.repeat([0.0, 1.0], [len(own), len(traffic)])
        basis, middle = _basis(both)
        x = (both - middle) @ basis
        fold = np.concatenate([np.arange(len(own)) % FOLDS, np.arange(len(traffic)) % FOLDS])
        apart = np.zeros(len(both))
        for part in range(FOLDS):
            apart[fold == part] = _log_mixture(x[fold != part], labels[fold != part], x[fold == part])
        shrinkage = _shrinkage(apart, labels)
        apart *= shrinkage
        if inside is None:
            inside = float(np.clip(np.median(np.exp(np.clip(apart[: len(own)], -50, 50))), *INSIDE))
        check_number("inside", inside, "(0, 1)")
        weights, bias = logistic.fit(x, labels)
        weights = basis @ weights
        bias += np.log(len(own) / len(traffic)) - middle @ weights
        found = cls(shrinkage * weights, float(shrinkage * bias), inside)
        return found, found.of_log(apart[len(own) :])


def _log_mixture(x, labels, at) -> np.ndarray:
    """`log p_mix / p_in` at rows, by a classifier of others; the shares of either side are taken out."""
    weights, bias = logistic.fit(x, labels)
    return at @ weights + bias + np.log((labels == 0).sum() / (labels == 1).sum())


def _shrinkage(apart: np.ndarray, labels: np.ndarray) -> float:
    """The factor in [0, 1] on `log p_mix / p_in` that predicts rows best which the classifier did not see (ours).

    It is 0, a ratio of 1 everywhere, where nothing tells the traffic from the calibration inputs.
    """
    even = np.log((labels == 1).sum() / (labels == 0).sum())
    factors = np.linspace(0, 1, 21)
    logits = factors[:, None] * apart + even
    return float(factors[np.argmin((np.logaddexp(0, logits) - labels * logits).mean(axis=1))])


def _basis(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(d, k) that takes centred rows to features of about variance 1, and the centre."""
    middle, scale = rows.mean(axis=0), rows.std(axis=0)
    scale[scale <= 1e-9 * np.maximum(1, np.abs(middle))] = np.inf
    basis = np.diag(1 / scale)
    if rows.shape[1] > COMPONENTS:
        _, _, right = np.linalg.svd((rows - middle) / scale, full_matrices=False)
        basis = basis @ right[:COMPONENTS].T
    return basis, middle


def check(own: np.ndarray, traffic: np.ndarray):
    """Raises CatKerasError as `DensityRatio.fit`."""
    if min(len(own), len(traffic)) < 2 * FOLDS:
        raise CatKerasError(
            f"Rejecting is fitted on at least {2 * FOLDS} calibration inputs and as many of the traffic. Received: "
            f"{len(own)} and {len(traffic)}. Give more of either"
        )
    if own.shape[1] != traffic.shape[1]:
        raise CatKerasError(
            f"Calibration inputs and traffic have hidden states of one model. Received: widths {own.shape[1]} and "
            f"{traffic.shape[1]}. Predict both with the small model"
        )
    known = {row.tobytes() for row in own}
    if all(row.tobytes() in known for row in traffic):
        raise CatKerasError(
            "The traffic holds other queries than the calibration. Received: calibration inputs alone, which show "
            "nothing of what comes from elsewhere. Give queries as they arrive"
        )


@dataclass(frozen=True, eq=False)
class Mahalanobis:
    """Squared distance to the nearest task's mean under the covariance within tasks: arXiv 1807.03888, by task.

    Attributes:
        means: (tasks, d). whitening: (d, k), with the covariance shrunk by Ledoit and Wolf, of the first principal
            components where the states are wide.
    """

    means: np.ndarray
    whitening: np.ndarray

    @classmethod
    def fit(cls, states: np.ndarray, tasks: Sequence[str]) -> "Mahalanobis":
        """From hidden states (n, d) of calibration inputs and the task of each."""
        from sklearn.covariance import ledoit_wolf

        names, task = np.unique(np.asarray(tasks, dtype=str), return_inverse=True)
        means = np.array([states[task == i].mean(axis=0) for i in range(len(names))])
        centred = states - means[task]
        basis = np.eye(states.shape[1])
        if len(basis) > COMPONENTS:
            basis = np.linalg.svd(centred, full_matrices=False)[2][:COMPONENTS].T
        covariance, _ = ledoit_wolf(centred @ basis, assume_centered=True)
        values, vectors = np.linalg.eigh(covariance)
        return cls(means, basis @ vectors / np.sqrt(np.maximum(values, 1e-12 * max(values.max(), 1e-12))))

    @classmethod
    def apart(cls, states: np.ndarray, tasks: Sequence[str]) -> np.ndarray:
        """(n,) distances of calibration inputs, each from others alone: from all of them they would look too near."""
        fold, tasks, found = np.arange(len(states)) % FOLDS, np.asarray(tasks, dtype=str), np.zeros(len(states))
        for part in range(FOLDS):
            found[fold == part] = cls.fit(states[fold != part], tasks[fold != part])(states[fold == part])
        return found

    def __call__(self, states: np.ndarray) -> np.ndarray:
        """(n,) ≥ 0 of hidden states (n, d)."""
        white, centres = states @ self.whitening, self.means @ self.whitening
        return np.min([((white - centre) ** 2).sum(axis=1) for centre in centres], axis=0)
