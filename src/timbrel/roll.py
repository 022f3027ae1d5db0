"""Notes -> piano roll at the latent rate. The only rasteriser.

Frame `t` covers the seconds [t, t + 1) / frame_rate. Three rows per pitch, each in [0, 1]
(but for ages, which `roll` may be asked for):

* onset: 1 minus the position of the onset within its frame, so that a frame of 23 ms
  still says when in it a note began;
* sounding: share of the frame during which the pitch sounds;
* velocity: velocity / 127 of the note that started last among those that sound.
"""

import numpy as np

from timbrel.notes import Notes

ONSET, SOUNDING, VELOCITY = range(3)


def roll(
    notes: Notes, frame_rate: float, frames: int, start_seconds: float = 0.0, ages: bool = False
) -> np.ndarray:
    """Rasterise notes.

    Args:
        notes: any number, of any tracks.
        frame_rate: frames per second.
        frames: length of the roll.
        start_seconds: time of the first frame.
        ages: whether the first frame says of notes that began before it how long ago: in the
            row of onsets, in frames, negated.

    Returns:
        (3, 128, frames) float32 of onset, sounding and velocity. Notes that began before
        the first frame sound but have no onset.
    """
    out = np.zeros((3, 128, frames), np.float32)
    if frames == 0 or len(notes) == 0:
        return out
    begin = _snap((notes.onset - start_seconds) * frame_rate)
    end = _snap((notes.offset - start_seconds) * frame_rate)
    inside = (begin < frames) & (end > 0)
    begin, end = begin[inside], end[inside]
    pitch, velocity = notes.pitch[inside], notes.velocity[inside].astype(np.float32) / 127
    covered_until = np.full(128, -np.inf)  # union of overlapping notes, pitch by pitch
    for a, b, p, v in zip(begin, end, pitch, velocity, strict=True):
        if a >= 0:
            frame = int(a)
            out[ONSET, p, frame] = max(out[ONSET, p, frame], 1 - (a - frame))
        elif ages:  # of several the last, whose velocity it has too
            out[ONSET, p, 0] = a
        low, high = max(a, 0.0), min(b, float(frames))
        out[VELOCITY, p, int(low) : int(np.ceil(high))] = v
        low = max(low, covered_until[p])
        covered_until[p] = max(covered_until[p], high)
        if low < high:
            _cover(out[SOUNDING, p], low, high)
    return np.minimum(out, 1.0)


def _cover(row: np.ndarray, low: float, high: float) -> None:
    """Add to every frame the share of it that lies in [low, high)."""
    first, last = int(low), int(np.ceil(high)) - 1
    if first == last:
        row[first] += high - low
        return
    row[first] += first + 1 - low
    row[first + 1 : last] += 1
    row[last] += high - last


def _snap(position: np.ndarray) -> np.ndarray:
    """Remove rounding errors, so that a time on a frame's edge falls on its right side."""
    nearest = np.round(position)
    return np.where(np.abs(position - nearest) < 1e-6, nearest, position)
