"""The field's data sets, and folders of recordings, as one kind of record.

A module a source, each with `LAYOUT` (what its folder holds) and `read(root)`.
"""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:  # the command line lists the sources: it must not wait for scipy
    from timbrel.data.sources.recording import Recording, Skipped

# Name of the module -> what people call the source.
SOURCES = {
    "folder": "audio files, each alone or with a MIDI file of the same name",
    "slakh": "Slakh2100: original, redux or BabySlakh",
    "maestro": "MAESTRO v2 or v3",
    "guitarset": "GuitarSet 1.1",
    "urmp": "URMP",
    "musicnet": "MusicNet",
    "nsynth": "NSynth",
    "medleydb": "MedleyDB 1 or 2",
}


class Source(Protocol):
    """What a module of this package offers."""

    LAYOUT: str  # what its folder must hold, for people

    def read(self, root: Path) -> "Iterator[Recording | Skipped]":
        """Everything in a folder, usable or not, in the same order each time.

        Only metadata are read; notes when a recording's `notes` is called.
        """


def source(name: str) -> Source:
    """The source of a name in `SOURCES`, imported when asked for."""
    return cast(Source, import_module(f"timbrel.data.sources.{name}"))
