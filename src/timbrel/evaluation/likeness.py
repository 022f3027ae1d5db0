"""How like are two recordings of the same length: in harmony, in rhythm, in spectrum?

Conventions: samples are (n,) mono at `RATE`; of two lengths, the shorter is padded with
silence. Similarities are in [-1, 1], 1 for equal sounds; gain does not count.

Metrics:
    chroma_similarity: mean cosine of chroma, frame by frame; blind to octave and timbre.
    cqt_similarity: mean cosine of constant-Q spectra; sees octaves.
    onset_correlation: correlation of onset-strength envelopes, best within 50 ms.
    log_mel_distance: root mean square of the difference of log-mel spectra, in dB.
    level_distance: mean difference of levels, second by second, in dB: what drones or dies early.
"""

from functools import lru_cache

import numpy as np
import torch

from timbrel.audio import Audio
from timbrel.evaluation.mel import mel_filters
from timbrel.spectra import ConstantQ

RATE, HOP = 44_100, 1024
N_FFT, MELS = 2048, 128
LOUDNESS = -23.0  # LUFS at which spectra are compared
FLOOR_DB = 80.0  # below the loudest band of the pair, nothing counts
LEVEL_SECONDS = 1.0
LEVEL_FLOOR_DB = 50.0  # below a sound's loudest second, no level is lower
LAG_FRAMES = 2  # 46 ms: how far two onset envelopes may be apart


def pair(first: Audio, second: Audio) -> tuple[np.ndarray, np.ndarray]:
    """Both as mono at `RATE`, of equal length and loudness."""
    rows = [a.mono().resample(RATE).with_loudness(LOUDNESS).samples[0] for a in (first, second)]
    length = max(len(row) for row in rows)
    return tuple(np.pad(row, (0, length - len(row))) for row in rows)  # type: ignore[return-value]


@lru_cache(maxsize=1)
def _constant_q() -> ConstantQ:
    return ConstantQ(RATE, HOP)


def constant_q(samples: np.ndarray) -> np.ndarray:
    """(n,) -> (288, frames) magnitudes, 36 bins an octave from 27.5 Hz."""
    with torch.no_grad():
        spectrum = _constant_q()(torch.from_numpy(np.asarray(samples, np.float32))[None])[0]
    return np.expm1(spectrum.numpy())


def chroma(spectrum: np.ndarray) -> np.ndarray:
    """(288, frames) constant-Q magnitudes -> (12, frames) energy of each pitch class from A."""
    # a pitch class is the bin on the semitone and its two neighbours
    turned = np.roll(spectrum**2, 1, axis=0)
    by_semitone = turned.reshape(-1, 3, spectrum.shape[1]).sum(1)
    return by_semitone.reshape(-1, 12, spectrum.shape[1]).sum(0)


def _frame_cosine(first: np.ndarray, second: np.ndarray) -> float:
    """Mean cosine over the frames in which either sounds; 1 if none does."""
    norms = np.linalg.norm(first, axis=0), np.linalg.norm(second, axis=0)
    loud = np.maximum(*norms)
    heard = loud > 1e-3 * loud.max(initial=0)
    if not heard.any() or loud.max() < 1e-9:
        return 1.0
    product = (first * second).sum(0) / np.maximum(norms[0] * norms[1], 1e-20)
    return float(product[heard].mean())


def chroma_similarity(first: np.ndarray, second: np.ndarray) -> float:
    """See the module's list; takes two outputs of `constant_q`."""
    return _frame_cosine(chroma(first), chroma(second))


def cqt_similarity(first: np.ndarray, second: np.ndarray) -> float:
    """See the module's list; takes two outputs of `constant_q`."""
    return _frame_cosine(first, second)


@lru_cache(maxsize=1)
def _filters() -> np.ndarray:
    return mel_filters(RATE, N_FFT, MELS)


def log_mel_db(samples: np.ndarray) -> np.ndarray:
    """(n,) -> (frames, 128) in dB."""
    padded = np.pad(samples, N_FFT // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT)
    power = np.abs(np.fft.rfft(frames * window, axis=1)) ** 2
    return 10 * np.log10(power @ _filters().T + 1e-10)


def log_mel_distance(first: np.ndarray, second: np.ndarray) -> float:
    """See the module's list; takes two outputs of `log_mel_db`, gives dB."""
    floor = max(first.max(), second.max()) - FLOOR_DB
    return float(np.sqrt(np.mean((np.maximum(first, floor) - np.maximum(second, floor)) ** 2)))


def levels_db(samples: np.ndarray) -> np.ndarray:
    """(n,) -> (n / `RATE`,) levels of whole seconds in dB, from the loudest on, which is 0."""
    size = round(LEVEL_SECONDS * RATE)
    whole = samples[: len(samples) // size * size].reshape(-1, size)
    found = 10 * np.log10(np.square(whole, dtype=np.float64).mean(1) + 1e-12)
    relative: np.ndarray = np.maximum(found - found.max(initial=-120.0), -LEVEL_FLOOR_DB)
    return relative


def level_distance(first: np.ndarray, second: np.ndarray) -> float:
    """See the module's list; takes two outputs of `levels_db`, gives dB.

    NaN of less than two seconds: all of one is the loudest.
    """
    return float(np.abs(first - second).mean()) if len(first) > 1 else float("nan")


def onset_strength(mel: np.ndarray) -> np.ndarray:
    """(frames, 128) in dB -> (frames,): how much louder the bands become, in dB."""
    floored = np.maximum(mel, mel.max() - FLOOR_DB)
    return np.maximum(np.diff(floored, axis=0, prepend=floored[:1]), 0).mean(1)


def onset_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """See the module's list; takes two outputs of `onset_strength`; 0 if one is flat."""
    if len(first) <= 2 * LAG_FRAMES or first.std() < 1e-9 or second.std() < 1e-9:
        return 0.0
    best = -1.0
    for lag in range(-LAG_FRAMES, LAG_FRAMES + 1):
        a = first[max(lag, 0) : len(first) + min(lag, 0)]
        b = second[max(-lag, 0) : len(second) + min(-lag, 0)]
        if a.std() > 1e-9 and b.std() > 1e-9:
            best = max(best, float(np.corrcoef(a, b)[0, 1]))
    return best
