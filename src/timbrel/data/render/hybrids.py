"""Instruments that nobody built: smaller or larger ones, and two in unison.

A sound font has a few hundred sounds, of which a timbre encoder learns every one by heart.
Moving the resonances of one and layering it with another gives as many as are wanted.
"""

from dataclasses import dataclass

import numpy as np

from timbrel.data.render.instruments import Instrument
from timbrel.data.render.soundfont import Preset, SoundFont
from timbrel.data.render.synth import Patch

Source = Patch | Instrument | tuple[SoundFont, Preset]

LARGEST = 6  # semitones by which resonances are moved
LAYERED = 0.5  # share of hybrids that are two sounds
LAYER_DB = (-12.0, 0.0)  # of the second sound against the first


@dataclass(frozen=True)
class Hybrid:
    """What makes another instrument of one.

    Attributes:
        semitones: by which all its resonances are higher; attack and decay are as much faster.
        layer: another sound that plays the same notes; None: it plays alone.
        layer_db: level of the layer against the instrument's own.
    """

    semitones: int = 0
    layer: Source | None = None
    layer_db: float = 0.0

    @classmethod
    def draw(cls, rng: np.random.Generator, other: Source) -> "Hybrid":
        """A random one, in `LAYERED` of all cases with `other`."""
        semitones = int(rng.integers(-LARGEST, LARGEST + 1))
        layered = rng.random() < LAYERED
        level = float(rng.uniform(*LAYER_DB))
        return cls(semitones, other if layered else None, level)

    @property
    def speed(self) -> float:
        """How much faster a transposed performance is replayed."""
        return float(2 ** (self.semitones / 12))

    def mixed(self, own: np.ndarray, layer: np.ndarray) -> np.ndarray:
        """The layer beside the instrument: (2, samples) each -> same shape."""
        power, other = float(np.square(own).mean()), float(np.square(layer).mean())
        if min(power, other) < 1e-12:
            return own
        gain = 10 ** (self.layer_db / 20) * (power / other) ** 0.5
        return own + np.float32(gain) * layer
