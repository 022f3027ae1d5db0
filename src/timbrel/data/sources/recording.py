"""What every source gives, and how it reads metadata that it must not trust."""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from timbrel.errors import DataError
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


@dataclass(frozen=True)
class Skipped:
    """Something that a source holds and that cannot be used."""

    name: str
    reason: str


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


def inside(root: Path, relative: str) -> Path:
    """A file of a data set, by a path that may come from its metadata.

    Raises:
        DataError: the path is absolute, climbs, or leads (by a link) out of `root`, or there
            is no such file.
    """
    if not relative or ".." in Path(relative).parts or Path(relative).is_absolute():
        raise DataError(f"the path {relative!r} does not stay inside the data set")
    path = root / relative
    try:
        if not path.resolve(strict=True).is_relative_to(root.resolve()):
            raise DataError(f"{relative} is a link that leads out of the data set")
        regular = path.is_file()
    except FileNotFoundError:
        raise DataError(f"{relative} does not exist") from None
    except (OSError, RuntimeError, ValueError) as error:  # a circle, too long a name, a NUL
        raise DataError(f"{relative} cannot be reached ({error.__class__.__name__})") from error
    if not regular:
        raise DataError(f"{relative} is not a file")
    return path


def folders(root: Path, depth: int) -> Iterator[Path]:
    """`root` and the folders below it, sorted, to a depth; links are not followed."""
    yield root
    if depth > 0:
        with os.scandir(root) as entries:
            below = sorted(e.name for e in entries if e.is_dir(follow_symlinks=False))
        for name in below:
            yield from folders(root / name, depth - 1)


def home_of(root: Path, marker: str) -> Path:
    """The folder that holds `marker`: `root` or one just below it (an unpacked archive).

    Raises:
        DataError: there is none.
    """
    for folder in folders(root, 1):
        if (folder / marker).exists():
            return folder
    raise DataError(f"{root} holds no {marker}")
