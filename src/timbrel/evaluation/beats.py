"""Beats: where a listener would tap, by dynamic programming (Ellis, 2007).

Conventions: times in seconds. The first 5 s of a piece do not count (mir_eval's usage): a
tracker must first find the tempo.

The tempo is the lag after which, and after twice and four times which, what begins is most
like what began, weighed by how usual it is; beats are the times, about a period apart, at
which the most begins.

Metrics:
    beat_f1: F1 of beats within 70 ms.
    beats_any_level: share of beats that are followed (within 17.5 % of a period), if tapping
        every second beat, twice a beat, or between the beats is as good: AMLt (Hainsworth,
        2004). The level is what trackers, and listeners, disagree about.
"""

import numpy as np

RATE_HZ = (40.0, 240.0)  # beats per minute that are looked for
USUAL_BPM, USUAL_OCTAVES = 110.0, 0.9  # centre and spread of the weight of a tempo
TIGHTNESS = 100.0  # how much a gap may differ from the period
LEAST_SECONDS = 10.0  # a shorter piece has no tempo to find


def beat_strength(mel: np.ndarray) -> np.ndarray:
    """(frames, 128) of `likeness.log_mel_db` -> (frames,): how much louder bands become.

    By the cube root of power, near to how loud it seems, so that faint bands count little.
    """
    loudness = 10 ** (mel / 30)
    return np.maximum(np.diff(loudness, axis=0, prepend=loudness[:1]), 0).mean(1)


def track_beats(strength: np.ndarray, frame_rate: float) -> np.ndarray:
    """Times of beats.

    Args:
        strength: (frames,) how much begins, see `beat_strength`.
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
    likeness = np.fft.irfft(spectrum)
    # per sample that overlaps, so that long lags are not at a disadvantage
    likeness = likeness / np.maximum(len(centred) - np.arange(len(likeness)), 1)
    # beats come in pairs and fours; a lag is whole, so multiples may be off by some
    score = likeness[lags].copy()
    for times, share, near in ((2, 0.5, 1), (4, 1.0, 2)):
        score += share * np.max([likeness[times * lags + k] for k in range(-near, near + 1)], 0)
    octaves = np.log2(60 * frame_rate / lags / USUAL_BPM)
    return int(lags[np.argmax(score * np.exp(-0.5 * (octaves / USUAL_OCTAVES) ** 2))])


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


def beats_any_level(reference: np.ndarray, estimate: np.ndarray) -> float:
    """See the module's list; 1 if neither side has any beats after the first 5 s."""
    from mir_eval.beat import continuity, trim_beats

    first, second = trim_beats(reference), trim_beats(estimate)
    if len(first) < 2 or len(second) < 2:
        return float(len(first) == len(second))
    return float(continuity(first, second)[3])
