"""More timbres from few recordings: the same ones transposed and through an equaliser.

Latents are computed once, so recordings are varied when they are read, not while a model
trains. All passages of an identity are varied alike and become an identity of their own:
its timbre examples sound like its targets.
"""

from dataclasses import dataclass, replace

import numpy as np

from timbrel.data.render.effects import Effects, draw_bands
from timbrel.notes import Notes

LARGEST = 3  # semitones either way


@dataclass(frozen=True)
class Variation:
    """What is done to a recording; by default nothing."""

    semitones: int = 0  # by playing faster or slower: formants and tempo move along
    bands: tuple[tuple[float, float, float], ...] = ()  # Hz, dB, Q of an equaliser

    @classmethod
    def draw(cls, rng: np.random.Generator, transposed: bool) -> "Variation":
        """A random one, up to `LARGEST` semitones up or down if `transposed`."""
        semitones = int(rng.integers(1, LARGEST + 1)) * int(rng.choice([-1, 1]))
        return cls(semitones if transposed else 0, draw_bands(rng, 3))

    @property
    def speed(self) -> float:
        """How much faster it plays."""
        return float(2 ** (self.semitones / 12))

    def of_notes(self, notes: Notes) -> Notes:
        """Notes of the varied recording."""
        onset, offset = notes.onset / self.speed, notes.offset / self.speed
        return replace(notes, onset=onset, offset=offset).transpose(self.semitones)

    def of_samples(self, samples: np.ndarray, rate: int) -> np.ndarray:
        """(n,) through the equaliser; the speed is the decoder's business."""
        if not self.bands or not np.isfinite(samples).all():
            return samples
        return Effects(bands=self.bands).apply(samples[None], rate)[0]
