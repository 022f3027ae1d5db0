"""MAESTRO (Hawthorne et al., 2019): piano competitions on Disklaviers; CC-BY-NC-SA-4.0.

`maestro-v*.csv` names audio and MIDI of every performance. Each year is one piano in one
hall, so the year is the identity. The set's splits keep compositions apart.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from timbrel.data.sources.files import folders, inside
from timbrel.data.sources.metadata import read_rows
from timbrel.data.sources.recording import Recording, Skipped, read_midi
from timbrel.errors import DataError

LAYOUT = "maestro-v3.0.0.csv (or v2) with YEAR/NAME.wav and YEAR/NAME.midi"
SPLITS = {"train": "train", "validation": "valid", "test": "test"}


def read(root: Path) -> Iterator[Recording | Skipped]:
    """See `Source.read`."""
    for folder in folders(root, 1):
        for table in sorted(folder.glob("maestro-v*.csv")):
            try:
                for number, row in enumerate(read_rows(inside(folder, table.name)), 2):
                    name = row.get("audio_filename") or f"{table.name}, line {number}"
                    try:
                        yield _recording(folder, row)
                    except DataError as error:
                        yield Skipped(name, str(error))
            except DataError as error:
                yield Skipped(table.name, str(error))


def _recording(home: Path, row: dict[str, str]) -> Recording:
    missing = [
        column
        for column in ("audio_filename", "midi_filename", "split", "year", "canonical_title")
        if not row.get(column)
    ]
    if missing:
        raise DataError(f"the table says no {missing[0]}")
    if row["split"] not in SPLITS:
        raise DataError(f"the table has an unknown split, {row['split']!r}")
    return Recording(
        name=row["audio_filename"],
        audio=(inside(home, row["audio_filename"]),),
        identity=f"maestro/{row['year']}",
        family=f"maestro/{row.get('canonical_composer', '')}/{row['canonical_title']}",
        instrument="piano",
        licence="CC-BY-NC-SA-4.0",
        split=SPLITS[row["split"]],
        notes=partial(read_midi, inside(home, row["midi_filename"])),
    )
