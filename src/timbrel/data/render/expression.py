"""Expressive playing: vibrato, scoops, falls and swells, as curves over a performance.

How a player plays is part of the sound, like the instrument and the room; which notes are
bent depends on the notes. None of it is in the notes: in the middle of a note the pitch is
within 50 cents of what is written, so labels stay true. Timing and pedals are in the notes
(`phrases.played`).
"""

from dataclasses import dataclass

import numpy as np

from timbrel.notes import Notes

CONTROL_HZ = 1_000  # points of a curve per second
ONSET_SHARE = 0.3  # of a note, at most, that a scoop lasts; and a fall
SHORTEST = 0.15  # seconds: shorter notes are not bent
SETTLE = 0.2  # seconds in which a vibrato sets in


@dataclass(frozen=True)
class Manner:
    """How a player plays; by default straight."""

    vibrato_cents: float = 0.0  # amplitude
    vibrato_hz: float = 5.5
    vibrato_delay: float = 0.2  # seconds after an onset in which a note is straight
    scoops: float = 0.0  # share of the notes that begin below their pitch
    scoop_cents: float = 0.0  # how far below
    falls: float = 0.0  # share of the notes that end falling
    fall_cents: float = 0.0  # how far
    bend_seconds: float = 0.1  # longest time of a scoop or a fall
    swell_db: float = 0.0  # how much quieter than the loudest a performance gets
    swell_seconds: float = 4.0  # from one loudest moment to the next
    seed: int = 0

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Manner":
        """Somebody who does some of these things."""
        vibrato, scoops, falls, swells = rng.random(4) < (0.7, 0.35, 0.2, 0.5)
        return cls(
            vibrato_cents=float(rng.uniform(8, 40)) if vibrato else 0.0,
            vibrato_hz=float(rng.uniform(4, 7)),
            vibrato_delay=float(rng.uniform(0, 0.4)),
            scoops=float(rng.uniform(0.2, 0.7)) if scoops else 0.0,
            scoop_cents=float(rng.uniform(40, 180)),
            falls=float(rng.uniform(0.1, 0.5)) if falls else 0.0,
            fall_cents=float(rng.uniform(60, 200)),
            bend_seconds=float(rng.uniform(0.05, 0.15)),
            swell_db=float(rng.uniform(3, 10)) if swells else 0.0,
            swell_seconds=float(rng.uniform(2, 7)),
            seed=int(rng.integers(2**31)),
        )

    @property
    def bends(self) -> bool:
        """Whether pitches are not always as written."""
        return bool(self.vibrato_cents or self.scoops or self.falls)

    def cents(self, notes: Notes, seconds: float) -> np.ndarray:
        """Deviation from the written pitches, (seconds * CONTROL_HZ + 1,).

        One curve for all notes, as of a pitch wheel: only notes that sound alone are scooped
        or fall.
        """
        rng, time = self._rng(notes), _points(seconds)
        last = np.searchsorted(notes.onset, time, side="right") - 1
        if len(notes) == 0:
            return np.zeros(len(time))
        since = np.where(last >= 0, time - notes.onset[np.maximum(last, 0)], 0)
        depth = np.clip((since - self.vibrato_delay) / SETTLE, 0, 1) * self.vibrato_cents
        cents = depth * np.sin(2 * np.pi * self.vibrato_hz * since + rng.uniform(0, 2 * np.pi))
        scooped, fallen = rng.random((2, len(notes)))
        following = np.append(notes.onset[1:], np.inf)
        for k in np.flatnonzero(_alone(notes) & (notes.offset - notes.onset >= SHORTEST)):
            onset, offset = float(notes.onset[k]), float(min(notes.offset[k], following[k]))
            length = min(self.bend_seconds, ONSET_SHARE * (offset - onset))
            if scooped[k] < self.scoops:
                inside = (time >= onset) & (time < onset + length)
                cents[inside] -= self.scoop_cents * (1 - (time[inside] - onset) / length)
            if fallen[k] < self.falls:
                # what rings after the fall stays down
                inside = (time >= offset - length) & (time < following[k])
                fallen_by = np.minimum((time[inside] - offset + length) / length, 1)
                cents[inside] -= self.fall_cents * fallen_by
        return cents

    def gain(self, notes: Notes, seconds: float, rate: int) -> np.ndarray:
        """Factor of the amplitude, (samples,) float32, at most 1."""
        phase = self._rng(notes).uniform(0, 2 * np.pi)
        time = np.arange(round(seconds * rate)) / rate
        swell = 0.5 - 0.5 * np.cos(2 * np.pi * time / self.swell_seconds + phase)
        factor: np.ndarray = 10 ** (-self.swell_db * swell / 20)
        return factor.astype(np.float32)

    def _rng(self, notes: Notes) -> np.random.Generator:
        """Equal for equal notes."""
        return np.random.default_rng([self.seed, len(notes), int(notes.pitch.sum())])


def advanced(cents: np.ndarray) -> np.ndarray:
    """What a clock that runs faster and slower with the pitch shows at each point, seconds."""
    ratio = 2 ** (cents / 1200)
    steps = (ratio[1:] + ratio[:-1]) / (2 * CONTROL_HZ)
    return np.concatenate([[0.0], np.cumsum(steps)])


def _points(seconds: float) -> np.ndarray:
    """Times of a curve's points."""
    return np.arange(round(seconds * CONTROL_HZ) + 1) / CONTROL_HZ


def _alone(notes: Notes) -> np.ndarray:
    """(notes,) whether no other note sounds during each."""
    before = np.concatenate([[-np.inf], np.maximum.accumulate(notes.offset)[:-1]])
    after = np.concatenate([notes.onset[1:], [np.inf]])
    tolerance = 0.02  # seconds: legato notes touch
    return (before <= notes.onset + tolerance) & (after >= notes.offset - tolerance)
