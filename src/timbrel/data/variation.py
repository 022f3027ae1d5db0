"""More timbres from few recordings: the same ones transposed and through an equaliser.

Latents are computed once, so recordings are varied when they are read, not while a model
trains. All passages of an identity are varied alike and become an identity of their own:
its timbre examples sound like its targets.
"""

import math
from dataclasses import asdict, dataclass, replace

import numpy as np

from timbrel.data.render.effects import Effects, draw_bands
from timbrel.errors import DataError
from timbrel.notes import Notes

BANDS = 3  # of an equaliser
BAND_DB = 7.0  # largest gain of `draw_bands`


@dataclass(frozen=True)
class Augmentation:
    """How recordings are varied; each part can be set to 0."""

    variants: int = 0  # more versions of every training recording
    transpose: int = 3  # largest transposition of a version, semitones up or down
    equalise_db: float = 7.0  # largest gain of its equaliser's three bands
    level_db: float = 2.0  # standard deviation of the level of every passage

    def check(self) -> None:
        """Refuse what cannot be.

        Raises:
            DataError: a value is negative or no number, or a transposition more than an octave.
        """
        for name, value in asdict(self).items():
            if not 0 <= value < math.inf:
                raise DataError(
                    f"{name.removesuffix('_db')} must be a number from 0 up, but is {value}"
                )
        if self.transpose > 12:
            raise DataError(f"a transposition by {self.transpose} semitones is more than an octave")
        if self.variants and not (self.transpose or self.equalise_db):
            raise DataError("variants would not differ: neither transposed nor equalised")


@dataclass(frozen=True)
class Variation:
    """What is done to a recording; by default nothing."""

    semitones: int = 0  # by playing faster or slower: formants and tempo move along
    bands: tuple[tuple[float, float, float], ...] = ()  # Hz, dB, Q of an equaliser

    @classmethod
    def draw(
        cls, rng: np.random.Generator, augmentation: Augmentation, pitched: bool
    ) -> "Variation":
        """A random one; only what is `pitched` is transposed, and then never by 0."""
        largest = augmentation.transpose if pitched else 0
        semitones = int(rng.integers(1, max(largest, 1) + 1)) * int(rng.choice([-1, 1]))
        share = augmentation.equalise_db / BAND_DB
        bands = tuple((hz, db * share, quality) for hz, db, quality in draw_bands(rng, BANDS))
        return cls(semitones if largest else 0, bands if share else ())

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
