"""Fit the linear discriminant of timbrel.evaluation.timbre_embedding, and validate it.

    python benchmarks/fit_timbre_embedding.py [--patches 160] [--store STORE ...]

Fitted on the synthesiser's validation region alone: no font, and no sound that a model is
trained on. Validated by hard triplets on stores of other sounds.
"""

import argparse
from pathlib import Path

import numpy as np

from timbrel.audio import Audio
from timbrel.data.render.effects import Effects
from timbrel.data.render.scores import draw_score
from timbrel.data.render.synth import Patch, render_patch
from timbrel.data.store import Store
from timbrel.evaluation.timbre_embedding import DISCRIMINANT, features

REGISTERS = (40, 52, 64, 76)  # centres of the scores
DIM = 32
SHRINK = 0.1  # share of the identity in the within-class covariance


def examples(patches: int) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, 753) of many patches in several registers, and their patch numbers."""
    rows, labels = [], []
    for number in range(patches):
        rng = np.random.default_rng([5, number])
        patch, effects = Patch.draw(rng, "valid"), Effects.draw(rng)
        for centre in REGISTERS:
            notes = draw_score(rng, 4.5, centre - 9, centre + 9, int(rng.choice([1, 3])))
            audio = effects.apply(render_patch(patch, notes, 5.0), 44_100)
            rows.append(features(Audio(audio, 44_100).mono().samples[0], 44_100))
            labels.append(number)
        print(f"\r{number + 1} / {patches} patches", end="", flush=True)
    print()
    return np.stack(rows), np.array(labels)


def fit(rows: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Linear discriminant with shrinkage: mean (753,) and projection (753, DIM)."""
    mean = rows.mean(0)
    scale = rows.std(0) + 1e-3
    x = (rows - mean) / scale
    centres = np.stack([x[labels == k].mean(0) for k in np.unique(labels)])
    inner = x - centres[labels]
    within = inner.T @ inner / len(x)
    within += SHRINK * np.trace(within) / len(within) * np.eye(len(within))
    between = centres.T @ centres / len(centres)
    root = np.linalg.inv(np.linalg.cholesky(within))
    _values, vectors = np.linalg.eigh(root @ between @ root.T)
    projection = (root.T @ vectors[:, ::-1][:, :DIM]) / scale[:, None]
    return mean, projection


def hard_triplets(store: Store, mean: np.ndarray, projection: np.ndarray, count: int) -> float:
    """Share of triplets in which the same timbre is nearer than the same notes."""
    rng, cache, right = np.random.default_rng(0), {}, []

    def vector(index: int) -> np.ndarray:
        if index not in cache:
            cache[index] = features(store.audio(index)[: 6 * 44_100], 44_100)
        v = (cache[index] - mean) @ projection
        return v / np.linalg.norm(v)

    while len(right) < count:
        index = int(rng.integers(len(store)))
        item = store.items[index]
        same = [i for i in store.by_identity[item.identity] if store.items[i].score != item.score]
        other = [i for i in store.by_score[item.score] if store.items[i].identity != item.identity]
        if item.drums or not same or not other:
            continue
        a, b, c = vector(index), vector(int(rng.choice(same))), vector(other[0])
        right.append(float(a @ b) > float(a @ c))
    return float(np.mean(right))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patches", type=int, default=160)
    parser.add_argument("--triplets", type=int, default=100)
    parser.add_argument("--store", type=Path, action="append", default=[])
    options = parser.parse_args()
    mean, projection = fit(*examples(options.patches))
    np.savez_compressed(
        DISCRIMINANT, mean=mean.astype(np.float16), projection=projection.astype(np.float16)
    )
    for path in options.store:
        store = Store.open(path)
        raw = hard_triplets(store, mean, np.eye(len(mean)), options.triplets)
        fitted = hard_triplets(store, mean, projection, options.triplets)
        print(f"{path}: hard triplets right, features alone {raw:.2f}, discriminant {fitted:.2f}")


if __name__ == "__main__":
    main()
