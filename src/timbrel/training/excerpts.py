"""Random excerpts for the training of codecs, of a store or of audio rendered on the way."""

import itertools
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Generator, Iterator

import numpy as np
import torch
from torch import Tensor

from timbrel.data.engine import Local
from timbrel.data.render.endless import Endless, render
from timbrel.data.store import Store
from timbrel.errors import DataError
from timbrel.training.run import generator

BASIS_RANK = 65_535  # draws for the basis differ from any process's
HEARD = 2  # times that every second of a rendition is heard, on average
POOL = 2  # renditions to choose from, for each excerpt of a batch


def teaches(audio: np.ndarray, rng: np.random.Generator) -> bool:
    """Whether an excerpt is kept: of mostly silent ones, which teach little, one in twenty."""
    return bool(np.abs(audio).mean() > 1e-4 or rng.random() < 0.05)


class Excerpts(ABC):
    """Random excerpts, a pure function of (seed, step, rank).

    Args:
        samples: length of an excerpt.
        seed: of all draws.
    """

    rate: int  # Hz

    def __init__(self, samples: int, seed: int) -> None:
        self.samples, self.seed = samples, seed

    def batch(self, size: int, step: int, rank: int) -> Tensor:
        """(size, samples) float32; gains vary by -12 to +6 dB."""
        rng = generator(self.seed, step, rank, purpose=1)
        self.turn_to(size, step, rank)
        rows: list[np.ndarray] = []
        while len(rows) < size:
            audio = self.cut(rng)
            gain = 10 ** (rng.uniform(-12, 6) / 20)
            if teaches(audio, rng):
                rows.append(np.clip(audio * gain, -1, 1))
        return torch.from_numpy(np.stack(rows).astype(np.float32))

    def sweep(self, minutes: float) -> Iterator[Tensor]:
        """Excerpts for the basis: `minutes` of audio in all."""
        per_batch = 16 * self.samples / self.rate
        for step in range(max(1, round(60 * minutes / per_batch))):
            yield self.batch(16, step, rank=BASIS_RANK)

    @abstractmethod
    def turn_to(self, size: int, step: int, rank: int) -> None:
        """Have ready what the excerpts of a step are cut from."""

    @abstractmethod
    def cut(self, rng: np.random.Generator) -> np.ndarray:
        """A random excerpt (samples,) of what is ready."""

    @abstractmethod
    def close(self) -> None:
        """End what works ahead."""


class StoreExcerpts(Excerpts):
    """Excerpts of a store."""

    def __init__(self, store: Store, samples: int, seed: int) -> None:
        super().__init__(samples, seed)
        self.store = store
        self.items = [i for i, item in enumerate(store.items) if item.length >= samples]
        if not self.items:
            raise DataError(
                f"{store.path} has no item of at least {samples} samples; render longer items"
            )
        self.rate = store.items[0].rate

    def turn_to(self, size: int, step: int, rank: int) -> None:
        """Nothing: the whole store always is."""

    def cut(self, rng: np.random.Generator) -> np.ndarray:
        """See `Excerpts`."""
        index = self.items[int(rng.integers(len(self.items)))]
        start = int(rng.integers(self.store.items[index].length - self.samples + 1))
        return self.store.audio(index, start, self.samples)

    def close(self) -> None:
        """Nothing."""


class RenderedExcerpts(Excerpts):
    """Excerpts of a rolling pool of renditions.

    With every step the oldest leave it and new ones join, so many that each is heard `HEARD`
    times. Which ones are in it depends on the step alone: after a pause the pool is filled with
    the same ones again.

    Args:
        sounds: what is rendered.
        samples: length of an excerpt.
        seed: of all draws.
        workers: processes that render ahead; 1: this one, when it needs them.
    """

    def __init__(self, sounds: Endless, samples: int, seed: int, workers: int = 1) -> None:
        super().__init__(samples, seed)
        if sounds.length < samples:
            raise DataError(
                f"renditions of {sounds.seconds:g} s are shorter than an excerpt of {samples} "
                "samples; train on fewer frames"
            )
        self.sounds, self.rate, self.engine = sounds, sounds.rate, Local(workers)
        self.pool: deque[np.ndarray] = deque()
        self.first = 0  # number of the oldest in the pool
        self.choice = 0  # of how many, from the oldest on, excerpts are cut
        self.stream = -1
        self.coming: Iterator[np.ndarray] = iter(())

    def turn_to(self, size: int, step: int, rank: int) -> None:
        """See `Excerpts`."""
        first = int(step * size * self.samples / (HEARD * self.sounds.length))
        if rank != self.stream or not 0 <= first - self.first <= len(self.pool):
            self.close()
            numbers = ((self.seed, rank, number) for number in itertools.count(first))
            self.coming = self.engine.run(render, self.sounds, numbers)
            self.stream, self.first = rank, first
        while self.first < first:
            self.pool.popleft()
            self.first += 1
        self.choice = POOL * size
        while len(self.pool) < self.choice:
            self.pool.append(next(self.coming))

    def cut(self, rng: np.random.Generator) -> np.ndarray:
        """See `Excerpts`."""
        audio = self.pool[int(rng.integers(self.choice))]
        start = int(rng.integers(len(audio) - self.samples + 1))
        return audio[start : start + self.samples]

    def close(self) -> None:
        """Empty the pool; end the processes."""
        self.pool.clear()
        if isinstance(self.coming, Generator):
            self.coming.close()


def excerpts_of(
    sounds: Store | Endless, samples: int, seed: int, workers: int = 1
) -> StoreExcerpts | RenderedExcerpts:
    """Excerpts of a store, or of what is rendered while they are drawn."""
    if isinstance(sounds, Store):
        return StoreExcerpts(sounds, samples, seed)
    return RenderedExcerpts(sounds, samples, seed, workers)
