"""Notes: what is to be played, as columns; read from and written to MIDI.

Conventions: times in seconds, `offset` is the end of the SOUND (a sustain pedal is folded
in when a file is read), pitches are MIDI numbers, velocities 1 to 127. Columns are sorted
by (onset, pitch, track).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from timbrel.errors import InputError

MINIMUM_SECONDS = 0.01  # a shorter note is made this long


@dataclass(frozen=True)
class Track:
    """What a track says of its sound."""

    name: str = ""
    program: int = 0  # General MIDI, 0 to 127
    drums: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.program <= 127:
            raise InputError(f"a track's program is {self.program}; MIDI has 0 to 127")


@dataclass(frozen=True, eq=False)
class Notes:
    """Notes of one or more tracks.

    Attributes:
        onset: (n,) float64, seconds.
        offset: (n,) float64, seconds, end of the sound.
        pitch: (n,) int16, 0 to 127.
        velocity: (n,) int16, 1 to 127.
        track: (n,) int16, index into `tracks`.
        tracks: names, programs, drum flags.
    """

    onset: np.ndarray
    offset: np.ndarray
    pitch: np.ndarray
    velocity: np.ndarray
    track: np.ndarray
    tracks: tuple[Track, ...] = (Track(),)

    # ---- making ------------------------------------------------------------------------

    @classmethod
    def from_columns(
        cls,
        onset: np.ndarray,
        offset: np.ndarray,
        pitch: np.ndarray,
        velocity: np.ndarray,
        track: np.ndarray,
        tracks: tuple[Track, ...] = (Track(),),
    ) -> "Notes":
        """Sort, check and clip columns.

        Raises:
            InputError: a value is not finite, a pitch is outside 0 to 127, or a track is
                not among `tracks`.
        """
        onset, offset = np.asarray(onset, np.float64), np.asarray(offset, np.float64)
        if not (np.isfinite(onset).all() and np.isfinite(offset).all()):
            raise InputError("a note has a time that is not finite; every time must be a number")
        if not (np.isfinite(pitch).all() and np.isfinite(velocity).all()):
            raise InputError("a note has a pitch or velocity that is not finite; give numbers")
        if len(pitch) and (np.min(pitch) < 0 or np.max(pitch) > 127):
            raise InputError("a note has a pitch outside 0 to 127")
        if len(track) and (np.min(track) < 0 or np.max(track) >= len(tracks)):
            raise InputError(f"a note names a track outside 0 to {len(tracks) - 1}")
        offset = np.maximum(offset, onset + MINIMUM_SECONDS)
        order = np.lexsort((track, pitch, onset))
        return cls(
            onset[order],
            offset[order],
            np.asarray(pitch, np.int16)[order],
            np.clip(np.asarray(velocity), 1, 127).astype(np.int16)[order],
            np.asarray(track, np.int16)[order],
            tuple(tracks),
        )

    @classmethod
    def from_rows(
        cls, rows: Iterable[Sequence[float]], tracks: tuple[Track, ...] = (Track(),)
    ) -> "Notes":
        """From rows (onset, offset, pitch, velocity) or (onset, offset, pitch, velocity, track)."""
        table = [tuple(row) if len(row) == 5 else (*row, 0) for row in rows]
        if any(len(row) != 5 for row in table):
            raise InputError("a row of notes must hold onset, offset, pitch, velocity[, track]")
        onset, offset, pitch, velocity, track = np.array(table, np.float64).reshape(-1, 5).T
        return cls.from_columns(onset, offset, pitch, velocity, track, tracks)

    @classmethod
    def empty(cls) -> "Notes":
        """No notes."""
        return cls.from_rows([])

    @classmethod
    def read(cls, path: str | Path) -> "Notes":
        """Read a MIDI file: tempo changes and pedals folded into times.

        Raises:
            InputError: not a MIDI file, a damaged one, or one without notes.
        """
        from timbrel.midi import read_midi

        return read_midi(path)

    def write(self, path: str | Path) -> None:
        """Write a MIDI file that reads back equal (to 0.1 ms).

        Raises:
            InputError: a note begins before 0 or ends after 7 hours, or the file cannot be
                written.
        """
        from timbrel.midi import write_midi

        write_midi(self, path)

    # ---- looking -----------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.onset)

    @cached_property
    def seconds(self) -> float:
        """When the last note ends; 0 without notes."""
        return float(self.offset.max()) if len(self) else 0.0

    # ---- parts -------------------------------------------------------------------------

    def where(self, mask: np.ndarray) -> "Notes":
        """The notes for which `mask` (n,) is true."""
        return replace(
            self,
            onset=self.onset[mask],
            offset=self.offset[mask],
            pitch=self.pitch[mask],
            velocity=self.velocity[mask],
            track=self.track[mask],
        )

    def pitched(self) -> "Notes":
        """Notes of tracks that are not drums."""
        return self.where(~self._on_drums())

    def drums(self) -> "Notes":
        """Notes of drum tracks."""
        return self.where(self._on_drums())

    def select_track(self, index: int) -> "Notes":
        """Notes of one track."""
        return self.where(self.track == index)

    def cut(self, start: float, end: float) -> "Notes":
        """Notes that sound in [start, end), with times relative to `start`.

        A note that began before keeps its (negative) onset, so no false onset appears.
        """
        return self.where((self.onset < end) & (self.offset > start)).shift(-start)

    def _on_drums(self) -> np.ndarray:
        drums: np.ndarray = np.array([t.drums for t in self.tracks], bool)[self.track]
        return drums

    # ---- changes -----------------------------------------------------------------------

    def shift(self, seconds: float) -> "Notes":
        """All notes later by `seconds`."""
        if not math.isfinite(seconds):
            raise InputError(f"notes cannot be shifted by {seconds} s; give a finite number")
        return replace(self, onset=self.onset + seconds, offset=self.offset + seconds)

    def transpose(self, semitones: int) -> "Notes":
        """All pitched notes moved; notes that leave 0 to 127 are dropped."""
        moved = self.pitch + np.where(self._on_drums(), 0, semitones)
        inside = (moved >= 0) & (moved <= 127)
        kept = self.where(inside)
        # sorted anew: pitched notes may pass drums that begin with them
        return Notes.from_columns(
            kept.onset, kept.offset, moved[inside], kept.velocity, kept.track, self.tracks
        )

    def corrupt(
        self,
        rng: np.random.Generator,
        jitter_seconds: float = 0.0,
        drop: float = 0.0,
        extra: float = 0.0,
        octave: float = 0.0,
        velocity: str = "keep",
        stretch: float = 0.0,
    ) -> "Notes":
        """Faults of hasty MIDI.

        Args:
            rng: source of the faults.
            jitter_seconds: standard deviation added to each onset (lengths are kept).
            drop: share of notes left out.
            extra: notes added, as a share of those there are.
            octave: share of notes moved by an octave.
            velocity: "keep", "flat" (all 80) or "random" (20 to 127).
            stretch: standard deviation of log2 of a factor on each duration.
        """
        if velocity not in ("keep", "flat", "random"):
            raise InputError(f"velocity must be keep, flat or random, not '{velocity}'")
        count = len(self)
        kept = self.where(rng.random(count) >= drop)
        added = rng.integers(0, max(count, 1), rng.binomial(count, min(extra, 1.0)))
        copy = self.where(added)
        onset = np.concatenate([kept.onset, copy.onset + rng.uniform(-0.5, 0.5, len(copy))])
        length = np.concatenate([kept.offset - kept.onset, copy.offset - copy.onset])
        pitch = np.concatenate([kept.pitch, copy.pitch + rng.integers(-7, 8, len(copy))])
        level = np.concatenate([kept.velocity, copy.velocity])
        track = np.concatenate([kept.track, copy.track])
        onset = onset + jitter_seconds * rng.standard_normal(len(onset))
        length = length * 2 ** (stretch * rng.standard_normal(len(onset)))
        wrong = rng.random(len(onset)) < octave
        pitch = pitch + np.where(wrong, 12 * rng.choice([-1, 1], len(onset)), 0)
        if velocity == "flat":
            level = np.full(len(onset), 80)
        elif velocity == "random":
            level = rng.integers(20, 128, len(onset))
        pitch = np.clip(pitch, 0, 127)
        return Notes.from_columns(onset, onset + length, pitch, level, track, self.tracks)
