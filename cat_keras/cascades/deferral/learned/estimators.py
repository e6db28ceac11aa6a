"""Estimators of a gain from features: what was found is a few matrices, stored without pickle.

One thread fits: its sums do not depend on the machine's cores, and these fits are too small for more.
"""

import warnings

import numpy as np

Layers = tuple[tuple[np.ndarray, np.ndarray], ...]
"""Weights (in, out) and biases (out,) of each layer, rectified in between; the last has one output."""

PENALTIES = (0.1, 1.0, 10.0, 100.0, 1e3, 1e4)


def _ridge(x: np.ndarray, y: np.ndarray) -> Layers:
    """Linear, with the penalty of `PENALTIES` that predicts best when each row is left out in turn.

    In closed form here: importing scikit-learn takes longer than hundreds of such fits, which a report makes.
    """
    x, mean, scale = _standardised(x)
    left, values, right = np.linalg.svd(x, full_matrices=False)
    along, bias = left.T @ y, np.array([y.mean()])  # the columns of x have mean 0
    best = min(PENALTIES, key=lambda penalty: _left_out(left, along, values**2 / (values**2 + penalty), y - bias))
    weights = right.T @ (values / (values**2 + best) * along)
    return _unstandardised([(weights[:, None], bias)], mean, scale)


def _left_out(left: np.ndarray, along: np.ndarray, shrunk: np.ndarray, y: np.ndarray) -> float:
    """Mean squared error of predicting each row by the fit to the others: its residual over one minus its leverage."""
    leverage = 1 / len(y) + left**2 @ shrunk
    residual = y - left @ (shrunk * along)
    return float(np.mean((residual / np.maximum(1 - leverage, 1e-9)) ** 2))


def _mlp(x: np.ndarray, y: np.ndarray) -> Layers:
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
    from sklearn.ensemble import HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits

    trees = HistGradientBoostingRegressor(max_iter=50, max_leaf_nodes=8, min_samples_leaf=10, random_state=0)
    with threadpool_limits(1):
        return trees.fit(x, y)


ESTIMATORS = {"ridge": _ridge, "mlp": _mlp, "trees": _trees}


def _standardised(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Columns of mean 0 and deviation 1, and what they were; columns that say nothing become 0."""
    mean, scale = x.mean(axis=0), x.std(axis=0)
    scale[scale <= 1e-9 * np.maximum(1, np.abs(mean))] = np.inf
    return (x - mean) / scale, mean, scale


def _unstandardised(layers: list, mean: np.ndarray, scale: np.ndarray) -> Layers:
    """The same network on the features themselves."""
    (weights, bias), *rest = layers
    weights = weights / scale[:, None]
    return ((weights, bias - mean @ weights), *rest)


def predicted(model, x: np.ndarray) -> np.ndarray:
    """(n,); einsum, as a matrix product may give equal rows other last digits, which would break ties."""
    if not isinstance(model, tuple):
        return model.predict(x)
    *hidden, last = model
    for weights, bias in hidden:
        x = np.maximum(np.einsum("nd,dh->nh", x, weights) + bias, 0)
    return (np.einsum("nd,dh->nh", x, last[0]) + last[1])[:, 0]
