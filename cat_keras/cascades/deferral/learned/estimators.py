"""Estimators of a gain from features. Fitted models other than trees are a few matrices, stored without pickle.

scikit-learn fits on one thread, so that its sums do not depend on the machine's cores; these fits are too small to gain
from more.
"""

import warnings
from functools import lru_cache

import numpy as np

Layers = tuple[tuple[np.ndarray, np.ndarray], ...]
"""Weights (in, out) and biases (out,) of each layer, with ReLU in between; the last layer has one output."""

PENALTIES = (0.1, 1.0, 10.0, 100.0, 1e3, 1e4)


def _ridge(x: np.ndarray, y: np.ndarray) -> Layers:
    """A linear model, with the penalty of `PENALTIES` that predicts best when each row is left out in turn.

    It is solved here in closed form, because a report makes hundreds of such fits, which together take less time than
    importing scikit-learn.
    """
    (left, values, right), shrinkage, rest, mean, scale = _decomposed(x.tobytes(), x.shape)
    projected, bias = left.T @ y, np.array([y.mean()])  # the bias is the mean of y, as the columns of x have mean 0
    # The error of predicting a row by the fit to the others is its residual over one minus its leverage.
    residual = (y - bias)[:, None] - left @ (shrinkage * projected[:, None])
    penalty = PENALTIES[np.argmin(np.mean((residual / rest) ** 2, axis=0))]
    weights = right.T @ (values / (values**2 + penalty) * projected)
    return _unstandardised([(weights[:, None], bias)], mean, scale)


@lru_cache(maxsize=16)  # several targets are fitted to the features of one fold after another
def _decomposed(content: bytes, shape: tuple[int, int]):
    """What fits to features have in common whatever they are fitted to.

    Args:
        content: float64 features as bytes. shape: (n, d).

    Returns:
        the singular value decomposition of the standardised features; how much each of `PENALTIES` leaves of each
        singular direction, (d, penalties); one minus the leverage of each row, (n, penalties); means and scales.
    """
    x, mean, scale = _standardised(np.frombuffer(content, np.float64).reshape(shape))
    left, values, right = np.linalg.svd(x, full_matrices=False)
    shrinkage = (values**2)[:, None] / ((values**2)[:, None] + np.array(PENALTIES))
    leverage = 1 / len(x) + left**2 @ shrinkage
    return (left, values, right), shrinkage, np.maximum(1 - leverage, 1e-9), mean, scale


def _mlp(x: np.ndarray, y: np.ndarray) -> Layers:
    """A network with one hidden layer of 16 units."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPRegressor
    from threadpoolctl import threadpool_limits

    x, mean, scale = _standardised(x)
    network = MLPRegressor(hidden_layer_sizes=(16,), alpha=1.0, solver="lbfgs", max_iter=200, random_state=0)
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)  # stopping early regularises
        network.fit(x, y)
    return _unstandardised(list(zip(network.coefs_, network.intercepts_, strict=True)), mean, scale)


def _trees(x: np.ndarray, y: np.ndarray):
    """Gradient-boosted trees, as a scikit-learn estimator."""
    from sklearn.ensemble import HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits

    trees = HistGradientBoostingRegressor(max_iter=50, max_leaf_nodes=8, min_samples_leaf=10, random_state=0)
    with threadpool_limits(1):
        return trees.fit(x, y)


ESTIMATORS = {"ridge": _ridge, "mlp": _mlp, "trees": _trees}


def _standardised(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Columns of mean 0 and standard deviation 1, and their means and deviations before; constant columns become 0."""
    mean, scale = x.mean(axis=0), x.std(axis=0)
    scale[scale <= 1e-9 * np.maximum(1, np.abs(mean))] = np.inf
    return (x - mean) / scale, mean, scale


def _unstandardised(layers: list, mean: np.ndarray, scale: np.ndarray) -> Layers:
    """The same network for features that are not standardised."""
    (weights, bias), *rest = layers
    weights = weights / scale[:, None]
    return ((weights, bias - mean @ weights), *rest)


def predicted(model, x: np.ndarray) -> np.ndarray:
    """Predictions for features (n, d), (n,).

    By einsum, because a matrix product may give equal rows different last digits, which would break ties.
    """
    if not isinstance(model, tuple):
        return model.predict(x)
    *hidden, last = model
    for weights, bias in hidden:
        x = np.maximum(np.einsum("nd,dh->nh", x, weights) + bias, 0)
    return (np.einsum("nd,dh->nh", x, last[0]) + last[1])[:, 0]
