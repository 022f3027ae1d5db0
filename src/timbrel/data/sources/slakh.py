"""Slakh2100 (Manilow et al., 2019): stems of sampled instruments with their MIDI; CC-BY-4.0.

`TrackNNNNN/{metadata.yaml, stems/SNN.flac, MIDI/SNN.mid}`. Paths in the metadata are not
read. The splits are the set's: folders (redux), or track numbers (original). They share
sampled instruments, so they tell nothing of unheard timbres. BabySlakh has no splits;
there the sampled instrument is the family.
"""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from timbrel.data.sources.files import folders, inside
from timbrel.data.sources.metadata import read_yaml, text
from timbrel.data.sources.recording import Recording, Skipped, read_midi
from timbrel.errors import DataError

LAYOUT = "TrackNNNNN/metadata.yaml with stems/SNN.flac or .wav, at most two folders down"
SPLITS = {"train": "train", "validation": "valid", "test": "test"}
LAST_TRAIN, LAST_VALID = 1_500, 1_875  # tracks of the original


def read(root: Path) -> Iterator[Recording | Skipped]:
    """See `Source.read`."""
    for folder in folders(root, 3):
        if not re.fullmatch(r"Track\d{5}", folder.name):
            continue
        if folder.parent.name == "omitted":
            yield Skipped(folder.name, "redux omits it: a duplicate of another track")
            continue
        try:
            stems = _stems(root, folder)
        except DataError as error:
            yield Skipped(folder.name, str(error))
            continue
        for stem, about in sorted(stems.items(), key=lambda pair: str(pair[0])):
            name = f"{folder.name}/{stem}"
            try:
                yield _recording(root, folder, str(stem), about)
            except DataError as error:
                yield Skipped(name, str(error))


def _stems(root: Path, folder: Path) -> dict[Any, Any]:
    """What metadata.yaml says of the stems, not yet trusted."""
    about = read_yaml(inside(root, (folder / "metadata.yaml").relative_to(root).as_posix()))
    stems = about.get("stems")
    if not isinstance(stems, dict) or not stems:
        raise DataError("metadata.yaml names no stems")
    return stems


def _recording(root: Path, folder: Path, stem: str, about: Any) -> Recording:
    """One stem.

    Raises:
        DataError: it was not rendered, is not described, or its file is missing.
    """
    if not re.fullmatch(r"S\d+", stem) or not isinstance(about, dict):
        raise DataError("metadata.yaml does not describe it")
    if not about.get("audio_rendered", True):
        raise DataError("audio_rendered is false")
    relative = folder.relative_to(root).as_posix()
    suffix = "wav" if (folder / "stems" / f"{stem}.wav").exists() else "flac"
    audio = inside(root, f"{relative}/stems/{stem}.{suffix}")
    notes = None
    if about.get("midi_saved", True):
        notes = partial(read_midi, inside(root, f"{relative}/MIDI/{stem}.mid"))
    plugin = text(about.get("plugin_name"), f"{folder.name}/{stem}")
    split = _split(folder, suffix)
    return Recording(
        name=f"{folder.name}/{stem}",
        audio=(audio,),
        identity=f"slakh/{plugin}",
        family=f"slakh/{folder.name if split else plugin}",
        instrument=text(about.get("inst_class"), "unknown"),
        licence="CC-BY-4.0",
        split=split,
        drums=bool(about.get("is_drum", False)),
        notes=notes,
    )


def _split(folder: Path, suffix: str) -> str | None:
    """Of redux by folder, of the original by number; BabySlakh (wav) has none."""
    if folder.parent.name in SPLITS:
        return SPLITS[folder.parent.name]
    if suffix == "wav":
        return None
    number = int(folder.name.removeprefix("Track"))
    if number <= LAST_TRAIN:
        return "train"
    return "valid" if number <= LAST_VALID else "test"
