"""Drum hits in a mix: what begins in its percussive part.

A drum hit is a column in a spectrogram, a held note a row: of each point's two medians,
along time and along frequency, the larger says which it belongs to (Fitzgerald, 2010).
What is struck and has a pitch (a piano, a plucked string) begins with a column too, so
read the numbers beside the ground truth's row.
"""

import itertools

import numpy as np

from timbrel.evaluation.notes_metrics import ONSET_SECONDS
from timbrel.notes import Notes

RATE = 22_050
N_FFT, HOP = 1024, 256
FRAME_RATE = RATE / HOP
ALONG_TIME, ALONG_FREQUENCY = 17, 17  # frames (0.2 s) and bins (370 Hz) of the medians
BANDS_HZ = (0, 150, 1_000, 5_000, RATE / 2)  # a hit that is strong in one band counts
NEAR_SECONDS = 0.1  # over which the local mean and the local maximum are taken
LEAST_DB = 6.0  # above the local mean
FLOOR = 0.01  # of the loudest frame of a band, below which nothing begins
TOGETHER_SECONDS = 0.03  # hits that are nearer are one


def drum_onsets(samples: np.ndarray) -> np.ndarray:
    """Times of hits.

    Args:
        samples: (n,) mono at `RATE`, at any loudness.

    Returns:
        (hits,) seconds, rising.
    """
    from scipy.ndimage import maximum_filter1d, median_filter, uniform_filter1d

    if len(samples) == 0 or np.abs(samples).max() < 1e-6:
        return np.zeros(0)
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(samples, N_FFT // 2), N_FFT)[::HOP]
    magnitude = np.abs(np.fft.rfft(frames * np.hanning(N_FFT), axis=1)).T
    held = median_filter(magnitude, (1, ALONG_TIME))
    struck = median_filter(magnitude, (ALONG_FREQUENCY, 1))
    percussive = magnitude * struck**2 / (struck**2 + held**2 + 1e-12)
    edges = [round(hz * N_FFT / RATE) for hz in BANDS_HZ]
    level = np.stack([percussive[a:b].sum(0) for a, b in itertools.pairwise(edges)])
    decibels = 20 * np.log10(level / level.max() + FLOOR)
    rise = np.maximum(np.diff(decibels, axis=1, prepend=decibels[:, :1]), 0).max(0)
    size = round(NEAR_SECONDS * FRAME_RATE)
    peaks = (rise == maximum_filter1d(rise, size)) & (
        rise > uniform_filter1d(rise, 2 * size) + LEAST_DB
    )
    return np.nonzero(peaks)[0] / FRAME_RATE


def hits(notes: Notes) -> np.ndarray:
    """(n,) seconds: when any drum is struck; strokes of several pieces at once are one."""
    times = np.unique(notes.drums().onset)
    if len(times) == 0:
        return times
    return times[np.diff(times, prepend=-np.inf) > TOGETHER_SECONDS]


def drum_onset_f1(reference: np.ndarray, estimate: np.ndarray) -> float:
    """F1 of hits within 50 ms; 1 if neither side has any."""
    from mir_eval.onset import f_measure

    if len(reference) == 0 or len(estimate) == 0:
        return float(len(reference) == len(estimate))
    return float(f_measure(reference, estimate, ONSET_SECONDS)[0])
