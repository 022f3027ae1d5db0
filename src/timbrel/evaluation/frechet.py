"""Fréchet audio distance, with its bias for small samples taken out (FAD-infinity).

A distance between two sets of embeddings, each taken for a Gaussian (Kilgour et al.,
2019). From N samples it is too large by about a constant over N, so distances between few
and many files cannot be compared; Chong and Forsyth (2020) extrapolate to infinitely many
(Gui et al., 2024, for audio).
"""

from collections.abc import Sequence

import numpy as np

SIZES = 8  # subset sizes on the line that is extrapolated
DRAWS = 8  # subsets of each size
SMALLEST_SHARE = 0.3  # of the samples, in the smallest subset


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) of two sets (n, dim) and (m, dim).

    Raises:
        ValueError: fewer than two samples in a set.
    """
    if min(len(first), len(second)) < 2:
        raise ValueError("a Fréchet distance needs at least two samples in each set")
    offset = first.mean(0) - second.mean(0)
    a, b = (np.atleast_2d(np.cov(x, rowvar=False)) for x in (first, second))
    values, vectors = np.linalg.eigh(a)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ b @ root), 0)).sum()
    return float(max(offset @ offset + np.trace(a) + np.trace(b) - 2 * cross, 0.0))


def frechet_infinity(first: np.ndarray, second: np.ndarray, seed: int = 0) -> float:
    """The distance that infinitely many samples of `first` would have to `second`.

    A line through the distances of random subsets over 1 / size, read off at 0.

    Args:
        first: (n, dim), the set under test.
        second: (m, dim), the reference, taken as it is.
        seed: of the subsets.
    """
    rng = np.random.default_rng(seed)
    smallest = max(2, round(SMALLEST_SHARE * len(first)))
    sizes = np.unique(np.linspace(smallest, len(first), SIZES).round().astype(int))
    if len(sizes) < 2:
        return frechet_distance(first, second)
    distances = [
        np.mean(
            [
                frechet_distance(first[rng.choice(len(first), size, replace=False)], second)
                for _ in range(DRAWS if size < len(first) else 1)
            ]
        )
        for size in sizes
    ]
    _slope, at_infinity = np.polyfit(1 / sizes, distances, 1)
    return float(max(at_infinity, 0.0))


def song_distances(songs: Sequence[np.ndarray], reference: np.ndarray) -> list[float]:
    """Of each song alone (n, dim) to the whole reference (m, dim) (Gui et al., 2024).

    A song has few samples, so these are large: compare them with each other only, for
    songs of one length. NaN for a song of a single sample.
    """
    return [frechet_distance(song, reference) if len(song) > 1 else float("nan") for song in songs]
