"""Notes: what is to be played, as columns; read from and written to MIDI.

Conventions: times in seconds, `offset` is the end of the SOUND (a sustain pedal is folded
in when a file is read), pitches are MIDI numbers, velocities 1 to 127. Columns are sorted
by (onset, pitch, track).
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from timbrel.errors import InputError

MINIMUM_SECONDS = 0.01  # a shorter note is made this long
TICKS_PER_QUARTER = 5_000  # when writing: 0.1 ms at 120 beats a minute
PEDAL_DOWN = 64  # least value of CC64 that sustains
SUSTAIN = 64  # number of the sustain controller


@dataclass(frozen=True)
class Track:
    """What a track says of its sound."""

    name: str = ""
    program: int = 0  # General MIDI, 0 to 127
    drums: bool = False


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
            InputError: a time is not finite, or a pitch is outside 0 to 127.
        """
        onset, offset = np.asarray(onset, np.float64), np.asarray(offset, np.float64)
        if not (np.isfinite(onset).all() and np.isfinite(offset).all()):
            raise InputError("a note has a time that is not finite; every time must be a number")
        if len(pitch) and (np.min(pitch) < 0 or np.max(pitch) > 127):
            raise InputError("a note has a pitch outside 0 to 127")
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
        onset, offset, pitch, velocity, track = np.array(table, np.float64).reshape(-1, 5).T
        return cls.from_columns(onset, offset, pitch, velocity, track, tracks)

    @classmethod
    def empty(cls) -> "Notes":
        """No notes."""
        return cls.from_rows([])

    @classmethod
    def read(cls, path: str | Path) -> "Notes":
        """Read a MIDI file (format 0 or 1).

        Raises:
            InputError: missing, a folder, empty, not MIDI, truncated, or without notes.
        """
        from symusic import Score

        data = _bytes(path)
        if not _looks_like_midi(data):
            raise InputError(f"{path} is not a MIDI file: it does not begin with 'MThd'")
        start = data.index(b"MThd")
        try:
            score = Score.from_midi(data[start:])
        except Exception as error:  # symusic raises its own and standard types
            reason = str(error).split(": iostream")[0]
            raise InputError(
                f"{path} is a damaged MIDI file ({reason}); export it again"
            ) from error
        notes = _from_score(score)
        if len(notes) == 0:
            raise InputError(f"{path} holds no notes; choose a MIDI file with notes")
        return notes

    def write(self, path: str | Path) -> None:
        """Write a MIDI file that reads back equal (to 0.1 ms)."""
        from symusic import Note, Score, Tempo
        from symusic import Track as MidiTrack

        ticks_per_second = TICKS_PER_QUARTER * 2
        score: Any = Score(TICKS_PER_QUARTER)
        score.tempos.append(Tempo(0, 120))
        for index, track in enumerate(self.tracks):
            part: Any = MidiTrack(track.name, track.program, track.drums)
            for i in np.nonzero(self.track == index)[0]:
                begin = round(float(self.onset[i]) * ticks_per_second)
                end = max(round(float(self.offset[i]) * ticks_per_second), begin + 1)
                part.notes.append(
                    Note(begin, end - begin, int(self.pitch[i]), int(self.velocity[i]))
                )
            score.tracks.append(part)
        temporary = Path(f"{path}.part")
        temporary.write_bytes(score.dumps_midi())
        os.replace(temporary, path)

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
        return np.array([t.drums for t in self.tracks], bool)[self.track]

    # ---- changes -----------------------------------------------------------------------

    def shift(self, seconds: float) -> "Notes":
        """All notes later by `seconds`."""
        return replace(self, onset=self.onset + seconds, offset=self.offset + seconds)

    def transpose(self, semitones: int) -> "Notes":
        """All pitched notes moved; notes that leave 0 to 127 are dropped."""
        moved = self.pitch + np.where(self._on_drums(), 0, semitones)
        inside = (moved >= 0) & (moved <= 127)
        return replace(self, pitch=moved.astype(np.int16)).where(inside)

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


def is_midi(path: str | Path) -> bool:
    """Whether a file's content (not its name) is MIDI.

    Raises:
        InputError: missing, a folder, or empty.
    """
    return _looks_like_midi(_bytes(path, 64))


def _bytes(path: str | Path, limit: int = -1) -> bytes:
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder; give a file")
    if not path.exists():
        raise InputError(f"{path} does not exist")
    try:
        with open(path, "rb") as file:
            data = file.read(limit)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    if not data:
        raise InputError(f"{path} is empty")
    return data


def _looks_like_midi(data: bytes) -> bool:
    """A standard MIDI file, or one wrapped in RIFF."""
    return data[:4] == b"MThd" or (data[:4] == b"RIFF" and data[8:12] == b"RMID")


def _from_score(score: Any) -> Notes:
    """A symusic score in ticks -> notes in seconds, pedal folded in."""
    clock = _Clock(score)
    tracks, columns = [], []
    for index, track in enumerate(score.tracks):
        tracks.append(Track(track.name, int(track.program), bool(track.is_drum)))
        if not len(track.notes):
            continue
        table = track.notes.numpy()
        begin, end = table["time"], table["time"] + table["duration"]
        pitch = table["pitch"].astype(np.int64)
        if not track.is_drum:
            end = _sustain(begin, end, pitch, _pedals(track))
        columns.append(
            (
                clock.seconds(begin),
                clock.seconds(end),
                pitch,
                table["velocity"],
                np.full(len(begin), index),
            )
        )
    if not columns:
        return Notes.empty()
    onset, offset, pitch, velocity, number = (
        np.concatenate(column) for column in zip(*columns, strict=True)
    )
    return Notes.from_columns(onset, offset, pitch, velocity, number, tuple(tracks))


class _Clock:
    """Ticks -> seconds under tempo changes."""

    def __init__(self, score: Any) -> None:
        tempos = sorted((int(t.time), float(t.qpm)) for t in score.tempos)
        if not tempos or tempos[0][0] > 0:
            tempos.insert(0, (0, 120.0))
        per_quarter = int(score.ticks_per_quarter)
        self.ticks = np.array([t for t, _ in tempos], np.float64)
        self.rates = np.array([60 / max(qpm, 1e-3) / per_quarter for _, qpm in tempos])
        self.starts = np.concatenate([[0.0], np.cumsum(np.diff(self.ticks) * self.rates[:-1])])

    def seconds(self, ticks: np.ndarray) -> np.ndarray:
        """(n,) ticks -> (n,) seconds."""
        piece = np.searchsorted(self.ticks, ticks, side="right") - 1
        return self.starts[piece] + (ticks - self.ticks[piece]) * self.rates[piece]


def _pedals(track: Any) -> list[tuple[int, int]]:
    """Intervals (down, up) of the sustain pedal in ticks; one never released has no end."""
    changes = sorted(
        ((int(c.time), int(c.value)) for c in track.controls if c.number == SUSTAIN),
        key=lambda change: change[0],
    )
    intervals, down = [], None
    for time, value in changes:
        if value >= PEDAL_DOWN and down is None:
            down = time
        elif value < PEDAL_DOWN and down is not None:
            intervals.append((down, time))
            down = None
    if down is not None:
        last = max(int(n.time + n.duration) for n in track.notes)
        intervals.append((down, max(last, down)))
    return intervals


def _sustain(
    begin: np.ndarray, end: np.ndarray, pitch: np.ndarray, pedals: list[tuple[int, int]]
) -> np.ndarray:
    """Ends of the sound: keys released under the pedal ring until it is lifted or re-struck."""
    if not pedals:
        return end
    downs, ups = np.array(pedals).T
    piece = np.searchsorted(downs, end, side="right") - 1
    under = (piece >= 0) & (end < ups[np.maximum(piece, 0)])
    sounding = np.where(under, ups[np.maximum(piece, 0)], end)
    for value in np.unique(pitch[under]):
        same = np.nonzero(pitch == value)[0]
        same = same[np.argsort(begin[same], kind="stable")]
        following = np.append(begin[same][1:], np.iinfo(np.int64).max)
        struck_again = np.maximum(np.minimum(sounding[same], following), end[same])
        sounding[same] = np.where(under[same], struck_again, end[same])
    return sounding
