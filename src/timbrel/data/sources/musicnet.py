"""MusicNet (Thickstun et al., 2017): chamber music as mixtures; Creative Commons and public domain.

`train_data/ID.wav` with `train_labels/ID.csv`, likewise test; `musicnet_metadata.csv`. Label
times are samples at 44.1 kHz, instruments General MIDI from 1. About 4 % of labels are wrong.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from timbrel.data.sources.files import home_of, inside
from timbrel.data.sources.metadata import read_rows
from timbrel.data.sources.recording import VELOCITY, Recording, Skipped
from timbrel.errors import DataError, InputError
from timbrel.notes import Notes, Track

LAYOUT = "train_data/ID.wav with train_labels/ID.csv, likewise test_data"
LABEL_RATE = 44_100  # of the label times, whatever the audio's rate
METADATA = "musicnet_metadata.csv"


def read(root: Path) -> Iterator[Recording | Skipped]:
    """See `Source.read`."""
    home = _home(root)
    about: dict[str, dict[str, str]] = {}
    try:
        about = {row.get("id", ""): row for row in read_rows(inside(home, METADATA))}
    except DataError as error:
        yield Skipped(METADATA, f"{error}; recordings are named by number")
    for split in ("train", "test"):
        for audio in sorted((home / f"{split}_data").glob("*.wav")):
            try:
                yield _recording(home, split, audio, about.get(audio.stem, {}))
            except DataError as error:
                yield Skipped(f"{split}/{audio.stem}", str(error))


def _home(root: Path) -> Path:
    try:
        return home_of(root, "train_data")
    except DataError:
        return home_of(root, "test_data")


def _recording(home: Path, split: str, audio: Path, about: dict[str, str]) -> Recording:
    # movements of one piece from one source: the same players in the same room
    session = [about.get(column, "") for column in ("source", "composition", "ensemble")]
    return Recording(
        name=f"{split}/{audio.stem}",
        audio=(inside(home, f"{split}_data/{audio.name}"),),
        identity=f"musicnet/{'/'.join(session) if any(session) else audio.stem}",
        family=f"musicnet/{audio.stem}",
        instrument=about.get("ensemble") or "unknown",
        licence="CC or public domain",
        split=split,
        notes=partial(read_labels, inside(home, f"{split}_labels/{audio.stem}.csv")),
    )


def read_labels(path: Path) -> Notes:
    """Notes of a table of labels, a track per instrument.

    Raises:
        DataError: a row is damaged, or there is none.
    """
    table = []
    try:
        for row in read_rows(path):
            onset, offset = (int(row[c]) / LABEL_RATE for c in ("start_time", "end_time"))
            table.append((onset, offset, int(row["note"]), VELOCITY, int(row["instrument"]) - 1))
        programs = sorted({int(row[4]) for row in table})
        tracks = tuple(Track("", program) for program in programs)
        notes = Notes.from_rows([(*row[:4], programs.index(int(row[4]))) for row in table], tracks)
    except (KeyError, ValueError, InputError) as error:
        raise DataError(f"{path.name} is damaged") from error
    if not table:
        raise DataError(f"{path.name} holds no notes")
    return notes
