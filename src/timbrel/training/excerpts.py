"""Random excerpts of a store, for the training of codecs."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from timbrel.data.store import Store
from timbrel.errors import DataError
from timbrel.training.run import generator

BASIS_RANK = 65_535  # draws for the basis differ from any process's


class Excerpts:
    """Random excerpts of a store, a pure function of (seed, step, rank).

    Args:
        store: audio.
        samples: length of an excerpt.
        seed: of all draws.
    """

    def __init__(self, store: Store, samples: int, seed: int) -> None:
        self.store, self.samples, self.seed = store, samples, seed
        self.items = [i for i, item in enumerate(store.items) if item.length >= samples]
        if not self.items:
            raise DataError(
                f"{store.path} has no item of at least {samples} samples; render longer items"
            )

    def batch(self, size: int, step: int, rank: int) -> Tensor:
        """(size, samples) float32; gains vary by -12 to +6 dB."""
        rng = generator(self.seed, step, rank, purpose=1)
        rows: list[np.ndarray] = []
        while len(rows) < size:
            index = self.items[int(rng.integers(len(self.items)))]
            start = int(rng.integers(self.store.items[index].length - self.samples + 1))
            audio = self.store.audio(index, start, self.samples)
            gain = 10 ** (rng.uniform(-12, 6) / 20)
            # mostly silent excerpts teach little
            if np.abs(audio).mean() > 1e-4 or rng.random() < 0.05:
                rows.append(np.clip(audio * gain, -1, 1))
        return torch.from_numpy(np.stack(rows).astype(np.float32))

    def sweep(self, minutes: float) -> Iterator[Tensor]:
        """Excerpts for the basis: `minutes` of audio in all."""
        per_batch = 16 * self.samples / self.store.items[0].rate
        for step in range(max(1, round(60 * minutes / per_batch))):
            yield self.batch(16, step, rank=BASIS_RANK)
