"""Beats: where a listener would tap, by dynamic programming (Ellis, 2007).

Conventions: times in seconds. A beat counts as found within 70 ms, and the first 5 s of a
piece do not count (mir_eval's usage): a tracker must first find the tempo.

The tempo is the lag after which, and after twice which, the onset strength is most like
itself, weighed by how usual it is; beats are the times, about a period apart, at which the
most begins. A tracker that loses the tempo's octave loses a third of the F1, so read it
beside the ground truth's row.
"""

import numpy as np

RATE_HZ = (40.0, 240.0)  # beats per minute that are looked for
USUAL_BPM, USUAL_OCTAVES = 110.0, 0.9  # centre and spread of the weight of a tempo
TIGHTNESS = 100.0  # how much a gap may differ from the period
LEAST_SECONDS = 10.0  # a shorter piece has no tempo to find


def track_beats(strength: np.ndarray, frame_rate: float) -> np.ndarray:
    """Times of beats.

    Args:
        strength: (frames,) how much begins, see `likeness.onset_strength`.
        frame_rate: Hz.

    Returns:
        (beats,) seconds, rising; none for a piece of less than 10 s or one in which
        nothing begins.
    """
    if len(strength) < LEAST_SECONDS * frame_rate or strength.std() < 1e-9:
        return np.zeros(0)
    local = strength / strength.std()
    period = _period(local, frame_rate)
    window = np.exp(-0.5 * (np.arange(-period, period + 1) * 32 / period) ** 2)
    return _best_path(np.convolve(local, window, "same"), period) / frame_rate


def _period(strength: np.ndarray, frame_rate: float) -> int:
    """Frames from beat to beat."""
    shortest, longest = (round(60 / bpm * frame_rate) for bpm in reversed(RATE_HZ))
    centred = strength - strength.mean()
    spectrum = np.abs(np.fft.rfft(centred, 2 * len(centred))) ** 2
    lags = np.arange(shortest, longest + 1)
    likeness = np.fft.irfft(spectrum)[: 2 * longest + 2]
    # a beat comes again after two; a lag is whole, so its double may be off by one
    double = np.max([likeness[2 * lags + k] for k in (-1, 0, 1)], 0)
    octaves = np.log2(60 * frame_rate / lags / USUAL_BPM)
    weight = np.exp(-0.5 * (octaves / USUAL_OCTAVES) ** 2)
    return int(lags[np.argmax((likeness[lags] + 0.5 * double) * weight)])


def _best_path(strength: np.ndarray, period: int) -> np.ndarray:
    """Frames of the beats with the largest sum of strength less what uneven gaps cost."""
    gaps = np.arange(-2 * period, -period // 2)
    cost = -TIGHTNESS * np.log(-gaps / period) ** 2
    total, before = strength.copy(), np.full(len(strength), -1)
    for frame in range(len(strength)):
        candidates = frame + gaps
        usable = candidates >= 0
        if usable.any():
            values = cost[usable] + total[candidates[usable]]
            best = int(np.argmax(values))
            if values[best] > 0:
                total[frame] += values[best]
                before[frame] = candidates[usable][best]
    last = len(total) - period + int(np.argmax(total[-period:]))
    path = []
    while last >= 0:
        path.append(last)
        last = int(before[last])
    beats = np.array(path[::-1])
    # before the music begins, and after it ends, nobody taps
    loud = np.nonzero(strength[beats] > 0.5 * np.sqrt(np.mean(strength[beats] ** 2)))[0]
    return beats[loud[0] : loud[-1] + 1]


def beat_f1(reference: np.ndarray, estimate: np.ndarray) -> float:
    """F1 of beats within 70 ms, after the first 5 s; 1 if neither side has any."""
    from mir_eval.beat import f_measure, trim_beats

    first, second = trim_beats(reference), trim_beats(estimate)
    if len(first) == 0 or len(second) == 0:
        return float(len(first) == len(second))
    return float(f_measure(first, second))
