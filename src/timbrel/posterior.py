"""Note probabilities over time (a posteriorgram) -> notes."""

from dataclasses import dataclass

import numpy as np

from timbrel.notes import Notes

LOWEST, KEYS = 21, 88  # a piano's range
NO_VELOCITY = 0.63  # where none is known


@dataclass(frozen=True)
class Reading:
    """How probabilities are read.

    Attributes:
        onset_level: least probability of an onset.
        sounding_level: least probability of sounding, for a note to be one.
        ending_level: a note lasts while it sounds with this probability.
        gap_frames: a note ends when it was below that level for so many frames.
        minimum_frames: shorter notes are left out.
    """

    onset_level: float = 0.5
    sounding_level: float = 0.4
    ending_level: float = 0.4
    gap_frames: int = 2
    minimum_frames: int = 2


def read_notes(
    onset: np.ndarray,
    sounding: np.ndarray,
    frame_rate: float,
    velocity: np.ndarray | None = None,
    reading: Reading | None = None,
) -> Notes:
    """Find notes: each begins at a local peak of onset and lasts while it sounds.

    Args:
        onset: (88, frames) probabilities.
        sounding: (88, frames) probabilities.
        frame_rate: Hz.
        velocity: (88, frames) in [0, 1], or None where it is not known.
        reading: levels; None: those of `Reading`.

    Returns:
        Notes, with onsets finer than a frame (centre of mass of the peak).
    """
    reading = reading or Reading()
    before = np.pad(onset, ((0, 0), (1, 0)))[:, :-1]
    after = np.pad(onset, ((0, 0), (0, 1)))[:, 1:]
    peaks = (onset >= reading.onset_level) & (onset >= before) & (onset > after)
    rows = []
    for key in np.nonzero(peaks.any(1))[0]:
        starts = np.nonzero(peaks[key])[0]
        limits = np.append(starts[1:], onset.shape[1])
        for start, limit in zip(starts, limits, strict=True):
            heard = sounding[key, start:limit]
            if _lasts(heard >= reading.sounding_level, reading.gap_frames) < reading.minimum_frames:
                continue
            length = _lasts(heard >= reading.ending_level, reading.gap_frames)
            first = max(int(start) - 1, 0)
            weight = onset[key, first : start + 2]
            centre = first + float(weight @ np.arange(len(weight)) / weight.sum())
            loud = NO_VELOCITY
            if velocity is not None:
                loud = float(velocity[key, start : start + min(max(length, 1), 4)].max())
            rows.append(
                (
                    (centre + 0.5) / frame_rate,
                    max(float(start) + length, centre + 1) / frame_rate,
                    LOWEST + int(key),
                    int(np.clip(round(127 * loud), 1, 127)),
                )
            )
    return Notes.from_rows(rows)


def _lasts(on: np.ndarray, gap: int) -> int:
    """Frames until the first run of `gap` frames that are off."""
    off = ~on
    run = np.lib.stride_tricks.sliding_window_view(np.append(off, [True] * gap), gap).all(1)
    return int(np.argmax(run))
