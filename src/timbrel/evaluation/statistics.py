"""Intervals and tests by the bootstrap: no assumption about how scores are spread."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

DRAWS = 2000


def mean_interval(values: Sequence[float], seed: int = 0) -> tuple[float, float, float]:
    """Mean of the finite values and its 95 % interval; NaN three times if there is none."""
    kept = np.asarray(values, float)
    kept = kept[np.isfinite(kept)]
    if len(kept) == 0:
        return float("nan"), float("nan"), float("nan")
    means = np.random.default_rng(seed).choice(kept, (DRAWS, len(kept))).mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(kept.mean()), float(low), float(high)


def paired_difference(
    first: Sequence[float], second: Sequence[float], seed: int = 0
) -> tuple[float, float, float, float]:
    """Of two systems on the same cases: mean of (second - first), 95 % interval, p.

    `p` is the two-sided bootstrap probability that the difference has the other sign or
    none. Draws from differences that all have one sign never have the other, however few they
    are, so `p` is at least what a sign test would give them: 2 / 2^n for n that are not 0.
    Pairs with a value that is not finite are left out.
    """
    difference = np.asarray(second, float) - np.asarray(first, float)
    difference = difference[np.isfinite(difference)]
    if len(difference) == 0:
        return float("nan"), float("nan"), float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    means = rng.choice(difference, (DRAWS, len(difference))).mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    least = 0.5 ** np.count_nonzero(difference)
    p = 2 * max(least, min((means <= 0).mean(), (means >= 0).mean()))
    return float(difference.mean()), float(low), float(high), float(min(p, 1.0))


def ratio_interval(
    values: Sequence[float], references: Sequence[float], seed: int = 0
) -> tuple[float, float, float]:
    """Mean over mean of the same cases' reference, with its 95 % interval.

    Of means, not of cases: one case that the reference fails would make its ratio infinite.
    NaN three times if there is no case, or the reference's mean is 0.
    """
    return means_interval(np.divide, (values, references), seed)


def means_interval(
    of: Callable[..., Any], columns: Sequence[Sequence[float]], seed: int = 0
) -> tuple[float, float, float]:
    """A function of means over the same cases, with its 95 % interval.

    Args:
        of: takes the mean of each column, or an array of such means; gives as many values.
        columns: scores of the same cases; those with one that is not finite are left out.
        seed: of the bootstrap, which draws cases.

    Returns:
        Value, low, high; NaN three times if there is no case, or the function has no value.
    """
    cases = np.stack([np.asarray(column, float) for column in columns], 1)
    cases = cases[np.isfinite(cases).all(1)]
    if len(cases) == 0:
        return float("nan"), float("nan"), float("nan")
    drawn = np.random.default_rng(seed).choice(cases, (DRAWS, len(cases))).mean(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        value, values = of(*cases.mean(0)), of(*drawn.T)
    if not np.isfinite(value):
        return float("nan"), float("nan"), float("nan")
    low, high = np.percentile(values[np.isfinite(values)], [2.5, 97.5])
    return float(value), float(low), float(high)
