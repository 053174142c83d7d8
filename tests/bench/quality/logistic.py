"""Weighted logistic regression by Newton's method (iteratively reweighted least squares; McCullagh & Nelder 1989)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
_STEPS = 100
_RIDGE = 1e-6
"""Keeps the system solvable where the classes are separable."""


def fit(features: Numbers, is_yes: npt.NDArray[np.bool_], weights: Numbers) -> Numbers:
    """Return the intercept and the coefficients of greatest likelihood.

    Args:
        features: (N, F).
        is_yes: (N,), the class.
        weights: (N,), what each counts.
    """
    design = np.column_stack((np.ones(len(features)), features))  # (N, F + 1)
    beta = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        chance = probability(features, beta)
        slope = design.T @ (weights * (is_yes - chance)) - _RIDGE * beta
        curve = (design * (weights * chance * (1 - chance))[:, None]).T @ design + _RIDGE * np.eye(len(beta))
        step = np.linalg.solve(curve, slope)
        beta = beta + step
        if np.abs(step).max() < 1e-10:
            break
    return beta


def probability(features: Numbers, beta: Numbers) -> Numbers:
    """Return the chance of `yes` of each row, (N,)."""
    chance: Numbers = 1.0 / (1.0 + np.exp(-(beta[0] + features @ beta[1:])))
    return chance
