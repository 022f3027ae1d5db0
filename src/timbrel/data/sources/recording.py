"""What every source gives."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from timbrel.data.sources.files import fetched
from timbrel.data.variation import Variation
from timbrel.errors import DataError, InputError
from timbrel.notes import Notes

VELOCITY = 80  # of notes whose data set does not tell it
# Shares of recording families, where a set has no split of its own.
VALID_SHARE, TEST_SHARE = 0.1, 0.1


@dataclass(frozen=True)
class Recording:
    """One instrument (or one mixture) recorded in one go."""

    name: str  # unique within the source
    audio: tuple[Path, ...]  # one file, or several that are put in a row (see `slot_seconds`)
    identity: str  # who plays on what: other passages of it are timbre examples
    family: str  # recordings that must stay in one split
    instrument: str
    licence: str
    split: str | None = None  # the set's own; None: by `family`
    drums: bool = False
    notes: Callable[[], Notes] | None = None  # reads them; None: the set has none
    performance: str = ""  # equal for recordings of the same notes at the same times
    slot_seconds: float = 0.0  # time that each of several files takes
    variation: Variation | None = None  # readers leave it alone


@dataclass(frozen=True)
class Skipped:
    """Something that a source holds and that cannot be used."""

    name: str
    reason: str
    unread: bool = False  # the rest of a file could not be read: it is tried again


def digest(text: str) -> int:
    """48 bits that depend on the text alone; file names need not be valid Unicode."""
    raw = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=6).digest()
    return int.from_bytes(raw, "big")


def split_of(family: str) -> str:
    """The split of a recording family, the same on every machine and however many there are."""
    share = digest(family) / 2**48
    if share < VALID_SHARE:
        return "valid"
    return "test" if share < VALID_SHARE + TEST_SHARE else "train"


def read_midi(path: Path) -> Notes:
    """Notes of a MIDI file of a data set.

    Raises:
        DataError: it is none, or damaged.
    """
    with fetched(path) as file:
        try:
            return Notes.read(file)
        except InputError as error:  # reports travel with stores: no paths of this machine
            raise DataError(str(error).replace(str(file), path.name)) from error
