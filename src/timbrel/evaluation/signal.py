"""Plain facts about a signal: is it there, is it whole, how wide and how loud is it?

Conventions: samples are (n,) mono in [-1, 1].
"""

from dataclasses import dataclass

import numpy as np

from timbrel.audio import Audio

CLIPPED = 0.999  # magnitude from which a sample counts as clipped
SILENT_DB = -60.0  # level of a frame, below full scale, that counts as silence
FRAME_SECONDS = 0.05
ENERGY_SHARE = 0.99  # of the energy that lies below the bandwidth


@dataclass(frozen=True)
class Facts:
    """Loudness in LUFS (-inf for silence), bandwidth in Hz, shares in [0, 1]."""

    loudness: float
    bandwidth: float
    silent_share: float
    clipped_share: float


def facts(samples: np.ndarray, rate: int) -> Facts:
    """Measure a signal; one of no samples is silent."""
    if len(samples) == 0:
        return Facts(-np.inf, 0.0, 1.0, 0.0)
    size = max(1, round(FRAME_SECONDS * rate))
    padded = np.pad(samples, (0, -len(samples) % size)).reshape(-1, size)
    level = 10 * np.log10((padded**2).mean(1) + 1e-12)
    return Facts(
        loudness=Audio(np.asarray(samples, np.float32)[None], rate).loudness(),
        bandwidth=bandwidth(samples, rate),
        silent_share=float((level < SILENT_DB).mean()),
        clipped_share=float((np.abs(samples) >= CLIPPED).mean()),
    )


def bandwidth(samples: np.ndarray, rate: int) -> float:
    """Frequency in Hz below which 99 % of the energy lies; 0 for silence."""
    power = np.abs(np.fft.rfft(samples)) ** 2
    total = power.sum()
    if total <= 0:
        return 0.0
    index = int(np.searchsorted(np.cumsum(power), ENERGY_SHARE * total))
    return index * rate / len(samples)
