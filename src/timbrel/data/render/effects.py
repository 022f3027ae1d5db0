"""Room, equaliser and drive: the rest of what makes a recording's sound (numpy and scipy)."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import signal


@dataclass(frozen=True)
class Effects:
    """A chain of effects; equal values do the same to any audio."""

    bands: tuple[tuple[float, float, float], ...] = ()  # (Hz, dB, Q) of peaking filters
    drive: float = 0.0  # gain into tanh; 0 is off
    reverb_seconds: float = 0.0  # time to fall by 60 dB; 0 is off
    reverb_share: float = 0.0  # of the output
    damping_hz: float = 6_000.0  # the room's low-pass
    predelay_seconds: float = 0.01
    seed: int = 0  # of the room's noise

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Effects":
        """A random chain: 70 % with an equaliser, 15 % driven, 60 % in a room."""
        bands = draw_bands(rng, 3 if rng.random() < 0.7 else 0)
        room = rng.random() < 0.6
        return cls(
            bands=bands,
            drive=float(rng.uniform(1, 5)) if rng.random() < 0.15 else 0.0,
            reverb_seconds=float(np.exp(rng.uniform(np.log(0.2), np.log(1.8)))) if room else 0.0,
            reverb_share=float(rng.uniform(0.05, 0.35)) if room else 0.0,
            damping_hz=float(rng.uniform(2_500, 9_000)),
            predelay_seconds=float(rng.uniform(0.002, 0.03)),
            seed=int(rng.integers(2**31)),
        )

    def apply(self, samples: np.ndarray, rate: int) -> np.ndarray:
        """(2, n) -> (2, n) float32, of the same peak; silence stays silent."""
        peak = float(np.abs(samples).max(initial=0))
        if peak < 1e-6:
            return samples.astype(np.float32)
        out = samples.astype(np.float64)
        if self.bands:
            out = signal.sosfilt(np.stack([_peaking(*band, rate) for band in self.bands]), out)
        if self.drive:
            top = np.abs(out).max()
            out = np.tanh(out / top * self.drive) * top / np.tanh(self.drive)
        if self.reverb_share:
            key = (self.reverb_seconds, self.damping_hz, self.predelay_seconds, self.seed, rate)
            wet = signal.oaconvolve(out, _room(*key), axes=1)[:, : out.shape[1]]
            out = (1 - self.reverb_share) * out + self.reverb_share * wet
        return (out * (peak / max(float(np.abs(out).max()), 1e-9))).astype(np.float32)


def draw_bands(rng: np.random.Generator, count: int) -> tuple[tuple[float, float, float], ...]:
    """Random peaking filters (Hz, dB, Q)."""
    return tuple(
        (
            float(np.exp(rng.uniform(np.log(80), np.log(9_000)))),
            float(rng.uniform(-7, 7)),
            float(rng.uniform(0.5, 1.5)),
        )
        for _ in range(count)
    )


def _peaking(hz: float, gain_db: float, quality: float, rate: int) -> np.ndarray:
    """Second-order section of a peaking equaliser (Bristow-Johnson's audio EQ cookbook)."""
    amplitude = 10 ** (gain_db / 40)
    angle = 2 * np.pi * min(hz, 0.45 * rate) / rate
    alpha = np.sin(angle) / (2 * quality)
    top = [1 + alpha * amplitude, -2 * np.cos(angle), 1 - alpha * amplitude]
    bottom = [1 + alpha / amplitude, -2 * np.cos(angle), 1 - alpha / amplitude]
    return np.array([*top, *bottom]) / bottom[0]


@lru_cache(maxsize=64)
def _room(seconds: float, damping_hz: float, predelay: float, seed: int, rate: int) -> np.ndarray:
    """Stereo impulse response (2, n): exponentially decaying, low-passed noise, unit energy."""
    count = int(rate * min(seconds, 2.0))
    time = np.arange(count) / rate
    noise = np.random.default_rng(seed).standard_normal((2, count)) * np.exp(-6.9 * time / seconds)
    sos = signal.butter(1, min(damping_hz, 0.45 * rate), fs=rate, output="sos")
    damped = signal.sosfilt(sos, noise)
    damped /= np.sqrt((damped**2).sum(1, keepdims=True))
    return np.pad(damped, ((0, 0), (int(predelay * rate), 0)))
