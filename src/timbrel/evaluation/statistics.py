"""Intervals and tests by the bootstrap: no assumption about how scores are spread.

What is drawn are groups of cases: those that ask for the same sounds at several levels of a
protocol are not independent, and many of them prove no more than a few.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

DRAWS = 2000
Groups = Sequence[Hashable] | None  # of each case; None: each stands for itself


def mean_interval(
    values: Sequence[float], groups: Groups = None, seed: int = 0
) -> tuple[float, float, float]:
    """Mean of the finite values and its 95 % interval; NaN three times if there is none."""
    return means_interval(lambda mean: mean, (values,), groups, seed)


def paired_difference(
    first: Sequence[float], second: Sequence[float], groups: Groups = None, seed: int = 0
) -> tuple[float, float, float, float]:
    """Of two systems on the same cases: mean of (second - first), 95 % interval, p.

    `p` is the two-sided bootstrap probability that the difference has the other sign or
    none. Draws from differences that all have one sign never have the other, however few they
    are, so `p` is at least what a sign test would give them: 2 / 2^n for n groups whose mean
    difference is not 0. Pairs with a value that is not finite are left out.
    """
    difference = np.asarray(second, float) - np.asarray(first, float)
    cases, numbers = _finite(difference[:, None], groups)
    if len(cases) == 0:
        return float("nan"), float("nan"), float("nan"), float("nan")
    means = _drawn(cases, numbers, seed)[:, 0]
    low, high = np.percentile(means, [2.5, 97.5])
    least = 0.5 ** np.count_nonzero(np.bincount(numbers, weights=cases[:, 0]))
    p = 2 * max(least, min((means <= 0).mean(), (means >= 0).mean()))
    return float(cases.mean()), float(low), float(high), float(min(p, 1.0))


def ratio_interval(
    values: Sequence[float], references: Sequence[float], groups: Groups = None, seed: int = 0
) -> tuple[float, float, float]:
    """Mean over mean of the same cases' reference, with its 95 % interval.

    Of means, not of cases: one case that the reference fails would make its ratio infinite.
    NaN three times if there is no case, or the reference's mean is 0.
    """
    return means_interval(np.divide, (values, references), groups, seed)


def means_interval(
    of: Callable[..., Any],
    columns: Sequence[Sequence[float]],
    groups: Groups = None,
    seed: int = 0,
) -> tuple[float, float, float]:
    """A function of means over the same cases, with its 95 % interval.

    Args:
        of: takes the mean of each column, or an array of such means; gives as many values.
        columns: scores of the same cases; those with one that is not finite are left out.
        groups: of the cases that are drawn together.
        seed: of the bootstrap.

    Returns:
        Value, low, high; NaN three times if there is no case, or the function has no value.
    """
    scores = np.stack([np.asarray(column, float) for column in columns], 1)
    cases, numbers = _finite(scores, groups)
    if len(cases) == 0:
        return float("nan"), float("nan"), float("nan")
    drawn = _drawn(cases, numbers, seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        value, values = of(*cases.mean(0)), of(*drawn.T)
    if not np.isfinite(value):
        return float("nan"), float("nan"), float("nan")
    low, high = np.percentile(values[np.isfinite(values)], [2.5, 97.5])
    return float(value), float(low), float(high)


def _finite(cases: np.ndarray, groups: Groups) -> tuple[np.ndarray, np.ndarray]:
    """Rows of (n, columns) without gaps, and the number of each one's group."""
    whole = np.isfinite(cases).all(1)
    names = list(range(len(cases)) if groups is None else groups)
    kept = [name for name, good in zip(names, whole, strict=True) if good]
    order = {name: number for number, name in enumerate(dict.fromkeys(kept))}
    return cases[whole], np.array([order[name] for name in kept], int)


def _drawn(cases: np.ndarray, numbers: np.ndarray, seed: int) -> np.ndarray:
    """(DRAWS, columns): means of as many groups as there are, drawn with replacement."""
    counts = np.bincount(numbers)
    sums = np.stack([np.bincount(numbers, weights=column) for column in cases.T], 1)
    drawn = np.random.default_rng(seed).choice(len(counts), (DRAWS, len(counts)))
    means: np.ndarray = sums[drawn].sum(1) / counts[drawn].sum(1)[:, None]
    return means
