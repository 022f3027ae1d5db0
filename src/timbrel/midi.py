"""Standard MIDI files <-> notes.

symusic parses the bytes; what it accepts but reads wrongly is refused first.
"""

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np

from timbrel.data.files import appearing
from timbrel.errors import InputError
from timbrel.midi_events import DRUMS, Event, read_tracks, unended
from timbrel.notes import Notes, Track
from timbrel.pedal import Intervals, Pedals

TICKS_PER_QUARTER = 5_000  # when writing: 0.1 ms at 120 beats a minute
LONGEST_TICKS = 2**28 - 1  # largest time between two events of a MIDI file
LAST_TICK = 2**31 - 1  # symusic's times wrap around beyond it


def is_midi(path: str | Path) -> bool:
    """Whether a file's content (not its name) is MIDI.

    Raises:
        InputError: missing, a folder, or empty.
    """
    return _looks_like_midi(_bytes(path, 64))


def read_midi(path: str | Path) -> Notes:
    """Read a MIDI file (format 0 or 1).

    Raises:
        InputError: missing, a folder, empty, not MIDI, damaged, or without notes.
    """
    from symusic import Score

    data = _bytes(path)
    if not _looks_like_midi(data):
        raise InputError(f"{path} is not a MIDI file: it does not begin with 'MThd'")
    data = data[max(data.find(b"MThd"), 0) :]
    _check_chunks(path, data)
    try:
        score: Any = Score.from_midi(data)
    except Exception as error:  # symusic raises its own and standard types
        reason = str(error).split(": iostream")[0].removeprefix("MiniMidi: ")
        raise InputError(f"{path} is a damaged MIDI file ({reason}); export it again") from error
    if not all(0 < tempo.qpm < math.inf for tempo in score.tempos):
        raise InputError(f"{path} is a damaged MIDI file (a tempo of 0); export it again")
    tracks = read_tracks(data)
    if any(event[0] > LAST_TICK for track in tracks for event in track[-1:]):
        raise InputError(
            f"{path} is a damaged MIDI file (its times go beyond {LAST_TICK} ticks); "
            "export it again"
        )
    notes = _from_score(score, tracks)
    if len(notes) == 0:
        raise InputError(f"{path} holds no notes; choose a MIDI file with notes")
    return notes


def write_midi(notes: Notes, path: str | Path) -> None:
    """Write a MIDI file that reads back equal (to 0.1 ms).

    MIDI ends the first of two notes of one pitch first. A note that ends before an earlier
    one of its track and pitch therefore goes to a track of its own, after all others.
    Tracks without notes are not kept.

    Raises:
        InputError: a note begins before 0 or ends after 7 hours, or the file cannot be
            written.
    """
    from symusic import Note, Score, Tempo
    from symusic import Track as MidiTrack

    ticks_per_second = TICKS_PER_QUARTER * 2
    begin = np.round(notes.onset * ticks_per_second)
    end = np.maximum(np.round(notes.offset * ticks_per_second), begin + 1)
    if len(notes) and (begin.min() < 0 or end.max() > LONGEST_TICKS):
        raise InputError(f"{path} cannot hold notes before 0 or after 7 hours; shift or cut")
    score: Any = Score(TICKS_PER_QUARTER)
    score.tempos.append(Tempo(0, 120))
    layer = _layers(notes.track, notes.pitch, end)
    for depth in range(int(layer.max(initial=0)) + 1):
        for index, track in enumerate(notes.tracks):
            part: Any = MidiTrack(track.name, track.program, track.drums)
            for i in np.nonzero((notes.track == index) & (layer == depth))[0]:
                a, b = int(begin[i]), int(end[i])
                part.notes.append(Note(a, b - a, int(notes.pitch[i]), int(notes.velocity[i])))
            score.tracks.append(part)
    _write_whole(Path(path), score.dumps_midi())


def _bytes(path: str | Path, limit: int = -1) -> bytes:
    path = Path(path)
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder; give a file")
        if not path.exists():
            raise InputError(f"{path} does not exist; check its name")
        if not path.is_file():
            raise InputError(f"{path} is a pipe or a device; save it to a file, and give that")
        with open(path, "rb") as file:
            data = file.read(limit)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    if not data:
        raise InputError(f"{path} is empty; export or copy it again")
    return data


def _looks_like_midi(data: bytes) -> bool:
    """A standard MIDI file, or one wrapped in RIFF."""
    return data[:4] == b"MThd" or (data[:4] == b"RIFF" and data[8:12] == b"RMID")


def _check_chunks(path: str | Path, data: bytes) -> None:
    """Refuse what symusic reads without complaint but wrongly, and files cut short."""
    if len(data) < 14 or data[:4] != b"MThd":
        raise InputError(f"{path} is a damaged MIDI file (its header is cut short)")
    length, kind, count, division = struct.unpack(">IHHH", data[4:14])
    if kind == 2:
        raise InputError(f"{path} holds separate patterns (MIDI format 2); export format 0 or 1")
    if division == 0 or division & 0x8000:
        raise InputError(f"{path} does not count time in beats; export ticks per quarter note")
    position, found = 8 + length, 0
    while found < count:
        size = int.from_bytes(data[position + 4 : position + 8], "big")
        found += data[position : position + 4] == b"MTrk"
        if position + 8 + size > len(data):
            raise InputError(
                f"{path} is a damaged MIDI file (cut short within its {count} tracks); "
                "export it again"
            )
        position += 8 + size


def _layers(track: np.ndarray, pitch: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Spread notes (n,) sorted by onset so that in each layer those of one pitch end in order."""
    layer = np.zeros(len(end), np.int64)
    last: dict[tuple[int, int], list[float]] = {}
    for i, (key, value) in enumerate(
        zip(zip(track.tolist(), pitch.tolist(), strict=True), end.tolist(), strict=True)
    ):
        ends = last.setdefault(key, [])
        depth = next((d for d, e in enumerate(ends) if e <= value), len(ends))
        ends[depth : depth + 1] = [value]
        layer[i] = depth
    return layer


def _write_whole(path: Path, data: bytes) -> None:
    """Write a file that appears only when complete."""
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder; give a file name")
        with appearing(path) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error


def _from_score(score: Any, events: list[list[Event]]) -> Notes:
    """A symusic score in ticks -> notes in seconds, pedal folded in.

    Notes that nothing ends, which symusic leaves out, are a track of their own for each channel
    and program.
    """
    clock, pedals = _Clock(score), Pedals(events)
    tracks, columns = [], []
    for index, track in enumerate(score.tracks):
        tracks.append(Track(track.name, int(track.program), bool(track.is_drum)))
        if not len(track.notes):
            continue
        table = track.notes.numpy()
        begin, end = table["time"], table["time"] + table["duration"]
        pitch = table["pitch"].astype(np.int64)
        if not track.is_drum:
            end = _sustain(begin, end, pitch, pedals.take(begin, pitch, table["velocity"]))
        columns.append(
            (
                clock.seconds(begin),
                clock.seconds(end),
                pitch,
                table["velocity"],
                np.full(len(begin), index),
            )
        )
    left_out = np.array([note for track in events for note in unended(track)], int).reshape(-1, 6)
    for channel, program in np.unique(left_out[:, 2:4], axis=0):
        own = (left_out[:, 2:4] == (channel, program)).all(1)
        begin, end, _, _, pitch, velocity = left_out[own].T
        number = np.full(len(begin), len(tracks))
        columns.append((clock.seconds(begin), clock.seconds(end), pitch, velocity, number))
        tracks.append(Track(program=int(program), drums=bool(channel == DRUMS)))
    if not columns:
        return Notes.empty()
    onset, offset, pitch, velocity, number = (
        np.concatenate(column) for column in zip(*columns, strict=True)
    )
    return Notes.from_columns(onset, offset, pitch, velocity, number, tuple(tracks))


class _Clock:
    """Ticks -> seconds under tempo changes."""

    def __init__(self, score: Any) -> None:
        # of several at one tick the last holds: programs write a default before the real one
        tempos = sorted(((int(t.time), float(t.qpm)) for t in score.tempos), key=lambda t: t[0])
        if not tempos or tempos[0][0] > 0:
            tempos.insert(0, (0, 120.0))
        per_quarter = int(score.ticks_per_quarter)
        self.ticks = np.array([t for t, _ in tempos], np.float64)
        self.rates = np.array([60 / qpm / per_quarter for _, qpm in tempos])
        self.starts = np.concatenate([[0.0], np.cumsum(np.diff(self.ticks) * self.rates[:-1])])

    def seconds(self, ticks: np.ndarray) -> np.ndarray:
        """(n,) ticks -> (n,) seconds."""
        piece = np.searchsorted(self.ticks, ticks, side="right") - 1
        seconds: np.ndarray = self.starts[piece] + (ticks - self.ticks[piece]) * self.rates[piece]
        return seconds


def _sustain(
    begin: np.ndarray, end: np.ndarray, pitch: np.ndarray, pedals: Intervals
) -> np.ndarray:
    """Ends of the sound: keys released under the pedal ring until it is lifted or re-struck."""
    if not pedals:
        return end
    downs, ups = np.array(pedals).T
    # pressed again where a key is let go, as on a beat, it is for what follows
    piece = np.searchsorted(downs, end, side="left") - 1
    under = (piece >= 0) & (end < ups[np.maximum(piece, 0)])
    sounding = np.where(under, ups[np.maximum(piece, 0)], end)
    for value in np.unique(pitch[under]):
        same = np.nonzero(pitch == value)[0]
        same = same[np.argsort(begin[same], kind="stable")]
        following = np.append(begin[same][1:], np.iinfo(np.int64).max)
        struck_again = np.maximum(np.minimum(sounding[same], following), end[same])
        sounding[same] = np.where(under[same], struck_again, end[same])
    return sounding
