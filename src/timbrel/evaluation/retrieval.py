"""Is a piece still itself? Cover retrieval: find a piece by the harmony of a version of it.

Conventions: chroma is (12, n), a column every fifth of a second or so. Two pieces are as far
apart as the cheapest way to walk through both (dynamic time warping), a step costing one
less the cosine of the columns: timbre, octave and small changes of tempo do not count.

Metrics:
    reciprocal_ranks: one over the place of the right piece among all, for each output;
        1 if it is the nearest. Their mean is the MRR; by chance it is H_n / n, with
        H_n = 1 + 1/2 + ... + 1/n.
"""

from collections.abc import Sequence

import numpy as np


def warped_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Mean cost of the cheapest path through two chromas, in [0, 1]; 1 if one is empty."""
    if first.shape[1] == 0 or second.shape[1] == 0:
        return 1.0
    a, b = (x / np.maximum(np.linalg.norm(x, axis=0), 1e-9) for x in (first, second))
    cost = 1 - a.T @ b
    rows, columns = cost.shape
    total = np.full((rows + 1, columns + 1), np.inf)
    total[0, 0] = 0
    # cells of an antidiagonal do not depend on each other
    for place in range(2, rows + columns + 1):
        i = np.arange(max(1, place - columns), min(rows, place - 1) + 1)
        j = place - i
        best = total[i - 1, j - 1] + 2 * cost[i - 1, j - 1]
        best = np.minimum(best, total[i - 1, j] + cost[i - 1, j - 1])
        total[i, j] = np.minimum(best, total[i, j - 1] + cost[i - 1, j - 1])
    return float(total[rows, columns] / (rows + columns))


def reciprocal_ranks(
    versions: Sequence[np.ndarray], right: Sequence[int], pieces: Sequence[np.ndarray]
) -> list[float]:
    """Of each version: 1 / rank of its piece among all; `right` are the pieces' indices."""
    ranks = []
    for version, index in zip(versions, right, strict=True):
        distances = np.array([warped_distance(version, piece) for piece in pieces])
        ranks.append(1.0 / int((distances <= distances[index]).sum()))
    return ranks
