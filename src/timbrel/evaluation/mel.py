"""The mel scale for code that must run without torch."""

from functools import lru_cache

import numpy as np


def mel_to_hz(mel: np.ndarray) -> np.ndarray:
    """Slaney's scale: 3 mel per 200 Hz below 1 kHz, 27 steps per factor 6.4 above."""
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))


def hz_to_mel(hz: float) -> float:
    """The inverse of `mel_to_hz`."""
    return hz * 3 / 200 if hz < 1000 else 15 + 27 * float(np.log(hz / 1000) / np.log(6.4))


@lru_cache(maxsize=4)
def mel_filters(rate: int, n_fft: int, mels: int) -> np.ndarray:
    """Triangular filters of unit area (Slaney): (mels, n_fft / 2 + 1) float32."""
    hz = np.fft.rfftfreq(n_fft, 1 / rate)
    edges = mel_to_hz(np.linspace(0, hz_to_mel(rate / 2), mels + 2))
    rising = (hz - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - hz) / np.diff(edges)[1:, None]
    filters = np.maximum(0, np.minimum(rising, falling)) * (2 / (edges[2:] - edges[:-2]))[:, None]
    return filters.astype(np.float32)
