"""What scores and pieces are made of: lines, chords, drum patterns, and how people play them."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np

LENGTHS = np.array([0.25, 0.5, 1, 1.5, 2, 3])  # beats
LENGTH_ODDS = (0.15, 0.38, 0.3, 0.07, 0.07, 0.03)
# General MIDI kit pieces: kick, snare, closed and open hat, crash, low tom; an alternative set
KITS = ((36, 38, 42, 46, 49, 45), (35, 40, 44, 46, 51, 50))

Row = tuple[float, float, int, float]  # onset, offset, pitch, velocity


@dataclass(frozen=True)
class Setting:
    """What a score, or one part of a piece, is drawn in."""

    rng: np.random.Generator
    seconds: float
    beat: float  # seconds
    degrees: list[int]  # pitches of the scale within the range
    low: int
    high: int
    voices: int
    loudness: float  # mean velocity
    spread: float  # standard deviation of velocity
    legato: float  # share of the time between notes that a note sounds
    swing: float = 0.0  # delay of off-beats, share of a step
    length_odds: tuple[float, ...] = LENGTH_ODDS  # of `LENGTHS`, in lines

    def velocity(self, accent: float = 0.0) -> float:
        """A drawn velocity."""
        return self.loudness + accent + self.spread * float(self.rng.standard_normal())

    def length(self) -> float:
        """A drawn duration in seconds."""
        return self.beat * float(self.rng.choice(LENGTHS, p=self.length_odds))


def line(
    s: Setting, double: bool = False, chord: Callable[[float], Collection[int]] | None = None
) -> list[Row]:
    """A random walk over the scale, with rests, leaps and repeated notes.

    Args:
        s: its range, tempo and manner.
        double: whether some notes are doubled a third to a sixth above.
        chord: seconds -> pitch classes that notes on a beat move to.
    """
    rows: list[Row] = []
    index, time = int(s.rng.integers(len(s.degrees))), 0.0
    while time < s.seconds:
        length = s.length()
        if s.rng.random() < 0.1:
            time += length
            continue
        index += 0 if s.rng.random() < 0.1 else int(np.clip(s.rng.normal(0, 2.2), -7, 7))
        if not 0 <= index < len(s.degrees):
            index = int(s.rng.integers(len(s.degrees)))
        if chord is not None and abs(time / s.beat - round(time / s.beat)) < 0.01:
            index = _nearest(s.degrees, index, chord(time))
        accent = 8.0 if (time / s.beat) % 2 < 0.1 else 0.0
        rows.append((time, time + length * s.legato, s.degrees[index], s.velocity(accent)))
        above = index + int(s.rng.choice([2, 3, 4, 5]))
        if double and s.rng.random() < 0.5 and above < len(s.degrees):
            rows.append((time, time + length * s.legato, s.degrees[above], s.velocity()))
        time += length
    return rows


def _nearest(degrees: list[int], index: int, classes: Collection[int]) -> int:
    """Place of the pitch nearest to `degrees[index]` that is of a pitch class."""
    fitting = [k for k, pitch in enumerate(degrees) if pitch % 12 in classes]
    return min(fitting, key=lambda k: abs(k - index), default=index)


def stack(degrees: list[int], root: int, size: int) -> list[int]:
    """A chord: `size` thirds on place `root` of a scale, as far as the scale goes."""
    picks = [min(root + 2 * k, len(degrees) - 1) for k in range(size)]
    return sorted({degrees[p] for p in picks})


def strikes(s: Setting, pattern: np.ndarray, kit: tuple[int, ...]) -> list[Row]:
    """A drum pattern, again and again, with a few hits more or less.

    Args:
        s: its tempo and manner.
        pattern: (pieces, steps) bool, a step is a sixteenth.
        kit: pitch of each piece.
    """
    step, rows = s.beat / 4, []
    for count in range(int(s.seconds / step)):
        at = count * step + (s.swing * step if count % 2 else 0)
        for piece, pitch in enumerate(kit):
            if pattern[piece, count % pattern.shape[1]] ^ (s.rng.random() < 0.02):
                accent = 10.0 if count % 4 == 0 else 0.0
                rows.append((at, at + 0.1, pitch, s.velocity(accent)))
    return rows


def played(
    rows: list[Row],
    rng: np.random.Generator,
    seconds: float,
    jitter: float = 0.0,
    pedal_seconds: float = 0.0,
    monophonic: bool = False,
) -> list[Row]:
    """Rows as somebody plays them.

    Args:
        rows: any.
        rng: source of timing errors.
        seconds: notes begin before this time.
        jitter: standard deviation of onsets, seconds.
        pedal_seconds: how often a held pedal is changed; 0 is no pedal.
        monophonic: whether every note ends when the next begins.

    Returns:
        No two notes overlap at one pitch.
    """
    rows = [_humanise(row, rng, jitter, pedal_seconds) for row in rows]
    rows = _separate([row for row in rows if row[0] < seconds - 0.05])
    return _monophonic(rows) if monophonic else rows


def _humanise(row: Row, rng: np.random.Generator, jitter: float, pedal_seconds: float) -> Row:
    """Timing errors; with a pedal, sound lasts until it is changed."""
    onset, offset, pitch, velocity = row
    at = max(0.0, onset + (jitter * float(rng.standard_normal()) if jitter else 0.0))
    end = max(offset + at - onset, at + 0.04)
    if pedal_seconds:
        end = max(end, (np.floor(at / pedal_seconds) + 1) * pedal_seconds)
    return at, end, pitch, float(np.clip(velocity, 8, 127))


def _separate(rows: list[Row]) -> list[Row]:
    """End every note before its pitch begins again; near-simultaneous doubles are dropped."""
    kept: list[Row] = []
    for row in sorted(rows, key=lambda r: (r[2], r[0])):
        if kept and kept[-1][2] == row[2] and kept[-1][1] > row[0] - 0.005:
            before = kept[-1]
            if row[0] - before[0] < 0.05:
                continue
            kept[-1] = (before[0], row[0] - 0.005, before[2], before[3])
        kept.append(row)
    return kept


def _monophonic(rows: list[Row]) -> list[Row]:
    """Every note ends when the next begins."""
    kept: list[Row] = []
    for row in sorted(rows):
        if kept and row[0] - kept[-1][0] < 0.05:
            continue
        if kept and kept[-1][1] > row[0]:
            kept[-1] = (kept[-1][0], row[0], *kept[-1][2:])
        kept.append(row)
    return kept
