"""Intervals by the bootstrap, tests by signs: scores need no known distribution.

What is drawn are groups of cases: those that ask for the same sounds at several levels of a
protocol are not independent, and many of them prove no more than a few.

Draws from n groups spread less than their mean does, the more so the fewer they are, so
intervals reach further out among the draws, as Student's distribution does beyond the normal one
(the expanded percentiles of Hesterberg, 2015). Of fewer than six groups that is as far as they
go, from the least to the greatest, and less than 95 %; of one there is no interval.
"""

from collections.abc import Callable, Hashable, Sequence
from itertools import product
from typing import Any

import numpy as np
from scipy import stats

DRAWS = 2000
ALL_SIGNS = 12  # groups, up to which all signs are tried; of more, as many as are drawn:
SIGNS = 10_000
ROUNDING = 1e-6  # what two scores differ by without a cause
Groups = Sequence[Hashable] | None  # of each case; None: each stands for itself


def mean_interval(
    values: Sequence[float], groups: Groups = None, seed: int = 0
) -> tuple[float, float, float]:
    """Mean of the finite values and its 95 % interval; NaN where there is none."""
    return means_interval(lambda mean: mean, (values,), groups, seed)


def paired_difference(
    first: Sequence[float], second: Sequence[float], groups: Groups = None, seed: int = 0
) -> tuple[float, float, float, float]:
    """Of two systems on the same cases: mean of (second - first), 95 % interval, p.

    `p` is that of the two-sided sign-flip test (Fisher): in what share of all ways to give the
    groups' differences a sign the mean is as far from 0 as it is. n groups can bring it to
    2 / 2^n at least. Pairs with a value that is not finite are left out.
    """
    difference = np.asarray(second, float) - np.asarray(first, float)
    cases, numbers = _finite(difference[:, None], groups)
    if len(cases) == 0:
        return float("nan"), float("nan"), float("nan"), float("nan")
    cases = np.where(np.abs(cases) < ROUNDING, 0.0, cases)
    low, high = _interval(_drawn(cases, numbers, seed)[:, 0], numbers)
    p = _sign_flip_p(np.bincount(numbers, weights=cases[:, 0]), seed)
    return float(cases.mean()), low, high, p


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
        Value, low, high; NaN three times if there is no case, or the function has no value;
        no interval of one group.
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
    return float(value), *_interval(values[np.isfinite(values)], numbers)


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


def _interval(draws: np.ndarray, numbers: np.ndarray) -> tuple[float, float]:
    """(draws,) of a statistic, and the number of each case's group -> 95 % interval, or NaN."""
    groups = int(numbers.max()) + 1
    if groups < 2:
        return float("nan"), float("nan")
    reach = np.sqrt(groups / (groups - 1)) * stats.t.ppf(0.025, groups - 1)
    low, high = np.percentile(draws, 100 * stats.norm.cdf([reach, -reach]))
    return float(low), float(high)


def _sign_flip_p(sums: np.ndarray, seed: int) -> float:
    """(groups,) differences -> p of the two-sided sign-flip test, exact for a few groups."""
    count = len(sums)
    if count <= ALL_SIGNS:
        signs = np.array(list(product((-1.0, 1.0), repeat=count)))
    else:
        signs = np.random.default_rng(seed).choice((-1.0, 1.0), (SIGNS, count))
        signs[0] = 1  # what was found is one of the ways
    as_far = np.abs(signs @ sums) >= np.abs(sums.sum()) * (1 - 1e-9)
    return float(as_far.mean())
