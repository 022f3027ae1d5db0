"""URMP (Li et al., 2018): chamber music, each player recorded alone; research use.

`NN_Piece_inst.../{AuSep_K_inst_NN_Piece.wav, Notes_K_inst_NN_Piece.txt}`. The test pieces
are those of MT3 (Gardner et al., 2022); the other pieces are for training.
"""

import math
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from timbrel.data.sources.files import folders, inside
from timbrel.data.sources.recording import VELOCITY, Recording, Skipped
from timbrel.errors import DataError
from timbrel.notes import Notes

LAYOUT = "NN_Piece_inst.../AuSep_K_inst_NN_Piece.wav with Notes_K_inst_NN_Piece.txt"
TEST = {"01", "02", "12", "13", "24", "25", "31", "38", "39"}
INSTRUMENTS = {
    "vn": "violin", "va": "viola", "vc": "cello", "db": "double bass", "fl": "flute",
    "ob": "oboe", "cl": "clarinet", "sax": "saxophone", "bn": "bassoon", "tpt": "trumpet",
    "hn": "horn", "tbn": "trombone", "tba": "tuba",
}  # fmt: skip


def read(root: Path) -> Iterator[Recording | Skipped]:
    """See `Source.read`."""
    for piece in folders(root, 2):
        if not re.match(r"\d\d_", piece.name):
            continue
        stems = sorted(piece.glob("AuSep_*.wav"))
        if not stems:
            yield Skipped(piece.name, "it holds no AuSep_*.wav")
        for audio in stems:
            name = f"{piece.name}/{audio.stem}"
            try:
                yield _recording(root, piece, audio)
            except DataError as error:
                yield Skipped(name, str(error))


def _recording(root: Path, piece: Path, audio: Path) -> Recording:
    found = re.match(r"AuSep_(\d+)_([a-z]+)_", audio.stem)
    if found is None:
        raise DataError("its name is not AuSep_K_inst_NN_Piece.wav")
    number, code = found.groups()
    relative = piece.relative_to(root).as_posix()
    notes = f"{relative}/Notes_{audio.stem.removeprefix('AuSep_')}.txt"
    return Recording(
        name=f"{piece.name}/{audio.stem}",
        audio=(inside(root, f"{relative}/{audio.name}"),),
        identity=f"urmp/{piece.name}/{number}_{code}",
        family=f"urmp/{piece.name}",
        instrument=INSTRUMENTS.get(code, code),
        licence="research use",
        split="test" if piece.name[:2] in TEST else "train",
        notes=partial(read_notes, inside(root, notes)),
    )


def read_notes(path: Path) -> Notes:
    """Notes of a text file with lines of onset (s), frequency (Hz) and duration (s).

    Raises:
        DataError: a line is something else, or there is none.
    """
    rows = []
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.strip():
                onset, hz, length = (float(value) for value in line.split()[:3])
                rows.append((onset, onset + length, round(69 + 12 * math.log2(hz / 440)), VELOCITY))
        notes = Notes.from_rows(rows)
    except (ValueError, OverflowError) as error:
        raise DataError(f"{path.name} is damaged") from error
    if not rows:
        raise DataError(f"{path.name} holds no notes")
    return notes
