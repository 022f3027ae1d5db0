"""Bodies: the fixed resonances of an instrument, through which all that it sounds passes.

A body is a filter in absolute frequency: its formants stay where they are when the pitch
moves, and noises of breath, bow and hammer take its colour too.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

TAPS = 8_192  # of its impulse response: 0.19 s at 44.1 kHz
LOWEST_HZ, HIGHEST_HZ = 70.0, 9_000.0  # of its resonances
FLOOR_DB = -40.0  # nothing is weaker: what is not there cannot be judged


@dataclass(frozen=True)
class Body:
    """A filter of unit mean power over the octaves from `LOWEST_HZ` to `HIGHEST_HZ`."""

    resonances: tuple[tuple[float, float, float], ...]  # (Hz, dB, Q)
    curve: tuple[float, ...]  # dB of cosines over log frequency: a smooth tilt
    low_hz: float  # what lies below is radiated weakly, 12 dB an octave
    high_hz: float  # what lies above falls by 6 dB an octave

    @classmethod
    def draw(cls, rng: np.random.Generator, character: float, depth: float = 1.0) -> "Body":
        """A random one.

        Args:
            rng: of all but where the resonances lie.
            character: [0, 1], decides the pattern of the resonances.
            depth: [0, 1], how strong they are.
        """
        count = int(rng.integers(10, 41))
        k = np.arange(count)
        # one in each stratum, displaced within it by the character
        shift = np.sin(2 * np.pi * (3 * character + 0.37 * k * (1 + character)))
        place = (k + 0.5 + 0.45 * shift + 0.1 * rng.uniform(-1, 1, count)) / count
        hz = LOWEST_HZ * (HIGHEST_HZ / LOWEST_HZ) ** np.clip(place, 0, 1)
        gain = depth * rng.uniform(-12, 14, count)
        quality = np.exp(rng.uniform(np.log(2.5), np.log(28), count))
        return cls(
            resonances=tuple(zip(hz.tolist(), gain.tolist(), quality.tolist(), strict=True)),
            curve=tuple((depth * rng.normal(0, (5, 4, 3, 2))).tolist()),
            low_hz=float(np.exp(rng.uniform(np.log(30), np.log(220)))),
            high_hz=float(np.exp(rng.uniform(np.log(2_500), np.log(16_000)))),
        )

    def gain(self, hz: np.ndarray) -> np.ndarray:
        """Amplitude of its response at some frequencies (n,), same shape."""
        gain: np.ndarray = 10 ** (self._decibels(np.maximum(hz, 1.0)) / 20) / _level(self)
        return gain

    def _decibels(self, hz: np.ndarray) -> np.ndarray:
        """Before its power is brought to one."""
        place = np.log(hz / LOWEST_HZ) / np.log(HIGHEST_HZ / LOWEST_HZ)
        db = -10 * np.log10((1 + (self.low_hz / hz) ** 4) * (1 + (hz / self.high_hz) ** 2))
        for k, depth in enumerate(self.curve):
            db += depth * np.cos(np.pi * (k + 1) * np.clip(place, 0, 1))
        for centre, gain, quality in self.resonances:
            db += gain / (1 + (quality * (hz / centre - centre / hz)) ** 2)
        return np.maximum(db, FLOOR_DB)


@lru_cache(maxsize=64)
def _level(body: Body) -> float:
    """Root of the mean power over the octaves."""
    octaves = np.geomspace(LOWEST_HZ, HIGHEST_HZ, 400)
    return float(np.sqrt(np.mean(10 ** (body._decibels(octaves) / 10))))


@lru_cache(maxsize=64)
def impulse_response(body: Body, rate: int) -> np.ndarray:
    """(TAPS,) float32, of minimum phase: nothing sounds early, resonances ring."""
    size = 2 * TAPS
    log = np.log(body.gain(np.fft.rfftfreq(size, 1 / rate)))
    # minimum phase is the causal part of the cepstrum (Oppenheim and Schafer, 1975)
    cepstrum = np.fft.irfft(log, size)
    cepstrum[1:TAPS] *= 2
    cepstrum[TAPS + 1 :] = 0
    response = np.fft.irfft(np.exp(np.fft.rfft(cepstrum)), size)[:TAPS]
    response[TAPS // 2 :] *= np.linspace(1, 0, TAPS - TAPS // 2)
    return response.astype(np.float32)
