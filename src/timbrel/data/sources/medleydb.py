"""MedleyDB 1 and 2 (Bittner et al., 2014): stems without notes; CC-BY-NC-SA-4.0.

`Audio/TITLE/{TITLE_METADATA.yaml, TITLE_STEMS/TITLE_STEM_NN.wav}`, version 2 with its metadata
in `Metadata/`. Songs with bleed are left out. The artist is the family.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from timbrel.data.sources.files import folders, home_of, inside
from timbrel.data.sources.metadata import read_yaml, text
from timbrel.data.sources.recording import Recording, Skipped
from timbrel.errors import DataError

LAYOUT = "Audio/ARTIST_TITLE/ARTIST_TITLE_STEMS/*.wav with ARTIST_TITLE_METADATA.yaml"
# words of instruments whose notes are no pitches
UNPITCHED = ("drum", "percussion", "cymbal", "snare", "tambourine", "shaker", "clap", "conga")


def read(root: Path) -> Iterator[Recording | Skipped]:
    """See `Source.read`."""
    home = home_of(root, "Audio")
    for song in folders(home / "Audio", 1):
        if song == home / "Audio":
            continue
        try:
            stems = _stems(home, song.name)
        except DataError as error:
            yield Skipped(song.name, str(error))
            continue
        for stem, about in sorted(stems.items(), key=lambda pair: str(pair[0])):
            try:
                yield _recording(home, song.name, str(stem), about)
            except DataError as error:
                yield Skipped(f"{song.name}/{stem}", str(error))


def _stems(home: Path, title: str) -> dict[Any, Any]:
    """What the metadata say of a song's stems, not yet trusted."""
    name = f"{title}_METADATA.yaml"
    own = f"Audio/{title}/{name}"
    about = read_yaml(inside(home, own if (home / own).exists() else f"Metadata/{name}"))
    if about.get("has_bleed") in ("yes", True):
        raise DataError("its stems have bleed: other instruments are heard in them")
    stems = about.get("stems")
    if not isinstance(stems, dict) or not stems:
        raise DataError(f"{name} names no stems")
    return stems


def _recording(home: Path, title: str, stem: str, about: Any) -> Recording:
    if not isinstance(about, dict) or not isinstance(about.get("filename"), str):
        raise DataError("the metadata do not describe it")
    named = about.get("instrument")
    names = named if isinstance(named, list) else [named]  # version 2 may name several
    instrument = " and ".join(text(name, "unknown") for name in names)
    folder = f"Audio/{title}/{title}_STEMS"
    # the name alone is joined to the folder only once it is known to stay there
    inside(home / folder, about["filename"])
    return Recording(
        name=f"{title}/{stem}",
        audio=(inside(home, f"{folder}/{about['filename']}"),),
        identity=f"medleydb/{title}/{stem}",
        family=f"medleydb/{title.split('_')[0]}",
        instrument=instrument,
        licence="CC-BY-NC-SA-4.0",
        drums=any(word in instrument.lower() for word in UNPITCHED),
    )
