"""Sounds that tests make, and how they are measured."""

import numpy as np

RATE = 44_100


def tone(hz: float, seconds: float, rate: int = RATE, partials: int = 6) -> np.ndarray:
    """(samples,) float32: a steady harmonic tone with a soft start."""
    time = np.arange(round(seconds * rate)) / rate
    wave = sum(np.sin(2 * np.pi * k * hz * time) / k**1.5 for k in range(1, partials + 1))
    return (0.2 * wave * np.minimum(time / 0.01, 1)).astype(np.float32)


def pitch_hz(pitch: float) -> float:
    return float(440 * 2 ** ((pitch - 69) / 12))


def estimate_hz(samples: np.ndarray, low: float, high: float, rate: int = RATE) -> float:
    """Frequency of the strongest partial between two limits, by a long padded FFT."""
    n = 1 << 19
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), n))
    hz = np.fft.rfftfreq(n, 1 / rate)
    inside = (hz > low) & (hz < high)
    return float(hz[inside][np.argmax(spectrum[inside])])
