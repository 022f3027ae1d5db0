"""NSynth (Engel et al., 2017): single notes of 4 s; CC-BY-4.0.

`nsynth-{train,valid,test}/audio/FAMILY_SOURCE_NUMBER-PITCH-VELOCITY.wav`: the name says all.
Notes of one instrument are put in a row, three to a passage, so that they are as long as
other items. The set's valid and test folders share instruments, unlike train: there the
instrument decides the split.
"""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from timbrel.data.sources.files import folders, inside
from timbrel.data.sources.recording import Recording, Skipped, digest
from timbrel.errors import DataError
from timbrel.notes import Notes

LAYOUT = "nsynth-train/audio/FAMILY_SOURCE_NUMBER-PITCH-VELOCITY.wav, likewise valid and test"
NOTE_SECONDS, HELD_SECONDS = 4.0, 3.0
IN_A_ROW = 3
NAME = re.compile(r"((.+)_(?:acoustic|electronic|synthetic)_\d+)-(\d+)-(\d+)")


def read(root: Path) -> Iterator[Recording | Skipped]:
    """See `Source.read`."""
    for folder in folders(root, 1):
        if folder.name not in ("nsynth-train", "nsynth-valid", "nsynth-test"):
            continue
        instruments: dict[str, list[str]] = {}
        for audio in sorted((folder / "audio").glob("*")):
            try:
                instruments.setdefault(_instrument(root, audio), []).append(audio.name)
            except DataError as error:
                yield Skipped(f"{folder.name}/{audio.name}", str(error))
        for instrument, names in sorted(instruments.items()):
            # a fixed shuffle: a passage spans registers and velocities
            names.sort(key=digest)
            for first in range(0, len(names), IN_A_ROW):
                yield _recording(folder, instrument, names[first : first + IN_A_ROW])


def _instrument(root: Path, audio: Path) -> str:
    found = NAME.fullmatch(audio.stem)
    if found is None or audio.suffix != ".wav" or int(found[3]) > 127:
        raise DataError("its name is not FAMILY_SOURCE_NUMBER-PITCH-VELOCITY.wav")
    if not inside(root, audio.relative_to(root).as_posix()).stat().st_size:
        raise DataError("it is empty")
    return found[1]


def _recording(folder: Path, instrument: str, names: list[str]) -> Recording:
    kind = instrument.rsplit("_", 2)[0]
    split = "train"
    if folder.name != "nsynth-train":
        split = "valid" if digest(instrument) % 2 else "test"
    return Recording(
        name=f"{folder.name}/{Path(names[0]).stem}",
        audio=tuple(folder / "audio" / name for name in names),
        identity=f"nsynth/{instrument}",
        family=f"nsynth/{instrument}",
        instrument=kind,
        licence="CC-BY-4.0",
        split=split,
        notes=partial(_notes, names),
        slot_seconds=NOTE_SECONDS,
    )


def _notes(names: list[str]) -> Notes:
    rows = []
    for number, name in enumerate(names):
        pitch, velocity = Path(name).stem.split("-")[-2:]
        onset = number * NOTE_SECONDS
        rows.append((onset, onset + HELD_SECONDS, int(pitch), int(velocity)))
    return Notes.from_rows(rows)
