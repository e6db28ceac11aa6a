"""Logistic regression on soft labels, with the penalty that predicts best when each row is left out in turn.

It is solved here by Newton's method, because a report makes thousands of small fits and scikit-learn's takes no soft
labels: given twice, with weights, they take several times as long.
"""

import numpy as np

PENALTIES = (100.0, 10.0, 1.0, 0.1)  # on the squared weights, from stiff to loose
STEPS, ENOUGH = 30, 1e-9


def fit(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights (d,) and bias of `P = 1 / (1 + exp(−(x·w + b)))`.

    It minimises the cross-entropy to the labels plus half the penalty times |w|².

    Args:
        x: (n, d) float64. y: (n,) in [0, 1].
    """
    n, d = x.shape
    middle = x.mean(axis=0)
    share = float(np.clip(y.mean(), 0.5 / n, 1 - 0.5 / n))
    constant = np.append(np.zeros(d), np.log(share / (1 - share)))
    if np.ptp(y) == 0:
        return constant[:-1], float(constant[-1])
    design = np.column_stack([x - middle, np.ones(n)])
    best, least, beta = constant, np.inf, constant
    for penalty in PENALTIES:
        beta, hessian = _newton(design, y, penalty, beta)
        loss = _left_out(design, y, beta, hessian)
        if loss < least:
            best, least = beta, loss
    return best[:-1], float(best[-1] - middle @ best[:-1])


def probability(x: np.ndarray, weights: np.ndarray, bias: float) -> np.ndarray:
    """(n,) in (0, 1)."""
    return _sigmoid(x @ weights + bias)


def _sigmoid(z):
    return 1 / (1 + np.exp(-np.clip(z, -500, 500)))


def _cross_entropy(z, y):
    return np.logaddexp(0, z) - y * z


def _newton(design, y, penalty, beta):
    ridge = np.append(np.full(design.shape[1] - 1, penalty), 0.0)

    def objective(beta):
        return _cross_entropy(design @ beta, y).sum() + 0.5 * np.sum(ridge * beta**2)

    value = objective(beta)
    for _ in range(STEPS):
        p = _sigmoid(design @ beta)
        hessian = (design * np.maximum(p * (1 - p), 1e-10)[:, None]).T @ design + np.diag(ridge)
        step = np.linalg.solve(hessian, design.T @ (p - y) + ridge * beta)
        while (lower := objective(beta - step)) > value and np.abs(step).max() > ENOUGH:
            step = step / 2
        beta, value = beta - step, min(value, lower)
        if np.abs(step).max() < 1e-6:
            break
    return beta, hessian


def _left_out(design, y, beta, hessian) -> float:
    """Mean cross-entropy of each row under the fit to the others, to first order.

    Leaving row i out moves its own logit by h (p − y) / (1 − p (1 − p) h), with h = xᵢᵀ H⁻¹ xᵢ.
    """
    z = design @ beta
    p = _sigmoid(z)
    leverage = np.einsum("nd,dn->n", design, np.linalg.solve(hessian, design.T))
    return float(_cross_entropy(z + leverage * (p - y) / np.maximum(1 - p * (1 - p) * leverage, 1e-3), y).mean())
