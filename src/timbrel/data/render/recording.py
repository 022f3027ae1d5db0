"""What a microphone and a studio add: tuning, compression, a limited band, a noise floor.

Users' examples are recordings. Renders that went through such a chain are nearer to them
than dry ones, so a model that learned from both follows recordings better.
"""

from dataclasses import dataclass

import numpy as np
import soxr
from scipy import signal

FOLLOW_HZ = 8.0  # of the compressor's level detector
LOWEST_LEVEL = 1e-4  # below it a compressor does nothing


@dataclass(frozen=True)
class Recording:
    """A recording chain; equal values do the same to any audio."""

    tuning_cents: float = 0.0  # of the whole instrument against 440 Hz
    ratio: float = 1.0  # of the compressor; 1 is off
    threshold_db: float = -20.0  # of the compressor, relative to the peak
    low_hz: float = 0.0  # what lies below is cut; 0 is off
    high_hz: float = 0.0  # what lies above is cut; 0 is off
    noise_db: float | None = None  # pink noise relative to the peak; None is off
    seed: int = 0  # of the noise

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Recording":
        """A random chain; every part of it is there in about half of the draws."""

        def maybe(value: float, absent: float = 0.0) -> float:
            return value if rng.random() < 0.5 else absent

        return cls(
            tuning_cents=maybe(float(np.clip(rng.normal(0, 18), -50, 50))),
            ratio=maybe(float(rng.uniform(1.5, 6)), 1.0),
            threshold_db=float(rng.uniform(-30, -12)),
            low_hz=maybe(float(rng.uniform(40, 160))),
            high_hz=maybe(float(np.exp(rng.uniform(np.log(5_000), np.log(15_000))))),
            noise_db=float(rng.uniform(-75, -25)) if rng.random() < 0.5 else None,
            seed=int(rng.integers(2**31)),
        )

    @property
    def speed(self) -> float:
        """How much faster the performance has to be replayed to be in this tuning."""
        return float(2 ** (self.tuning_cents / 1200))

    def apply(self, samples: np.ndarray, rate: int) -> np.ndarray:
        """All but the tuning: (2, n) -> (2, n) float32, of the same peak; silence stays silent."""
        peak = float(np.abs(samples).max(initial=0))
        if peak < 1e-6:
            return samples.astype(np.float32)
        out = samples.astype(np.float64) / peak
        if self.ratio > 1:
            out = self._compress(out, rate)
        for hz, kind in ((self.low_hz, "high"), (self.high_hz, "low")):
            if 0 < hz < 0.45 * rate:
                out = signal.sosfilt(signal.butter(2, hz, kind, fs=rate, output="sos"), out)
        if self.noise_db is not None:
            noise = pink_noise(out.shape[1], np.random.default_rng(self.seed))
            out = out + 10 ** (self.noise_db / 20) * noise
        return (out * (peak / max(float(np.abs(out).max()), 1e-9))).astype(np.float32)

    def _compress(self, samples: np.ndarray, rate: int) -> np.ndarray:
        """Turn down what is louder than the threshold, both channels alike."""
        follower = signal.butter(1, FOLLOW_HZ, fs=rate, output="sos")
        level = signal.sosfilt(follower, np.abs(samples).max(0)).clip(LOWEST_LEVEL)
        over = np.maximum(20 * np.log10(level) - self.threshold_db, 0)
        turned: np.ndarray = samples * 10 ** (-over * (1 - 1 / self.ratio) / 20)
        return turned


def replay(samples: np.ndarray, speed: float, length: int) -> np.ndarray:
    """Play faster by `speed`, which raises the pitch: (2, n) -> (2, length)."""
    if speed == 1:
        return samples[:, :length]
    out = soxr.resample(np.ascontiguousarray(samples.T), speed, 1.0).T
    return np.pad(out, ((0, 0), (0, max(0, length - out.shape[1]))))[:, :length]


def pink_noise(length: int, rng: np.random.Generator) -> np.ndarray:
    """(2, length), falling by 3 dB an octave, of unit power."""
    spectrum = np.fft.rfft(rng.standard_normal((2, length)))
    spectrum[:, 1:] /= np.sqrt(np.arange(1, spectrum.shape[1]))
    spectrum[:, 0] = 0
    noise: np.ndarray = np.fft.irfft(spectrum, length)
    return noise / np.sqrt((noise**2).mean())
