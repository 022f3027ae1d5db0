"""GuitarSet 1.1 (Xi et al., 2018): six players, one guitar, two microphones; MIT.

`annotation/ID.jams` with `audio_mono-mic/ID_mic.wav` and `audio_mono-pickup_mix/ID_mix.wav`,
two recordings of the same notes. The set has no split; a player is a family: player 04
validates, player 05 tests.
"""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from timbrel.data.sources.files import home_of, inside
from timbrel.data.sources.recording import VELOCITY, Recording, Skipped
from timbrel.errors import DataError
from timbrel.notes import Notes

LAYOUT = "annotation/ID.jams, audio_mono-mic/ID_mic.wav or audio_mono-pickup_mix/ID_mix.wav"
MICROPHONES = {"mic": "audio_mono-mic", "mix": "audio_mono-pickup_mix"}
SPLITS = {"04": "valid", "05": "test"}


def read(root: Path) -> Iterator[Recording | Skipped]:
    """See `Source.read`."""
    home = home_of(root, "annotation")
    for annotation in sorted((home / "annotation").glob("*.jams")):
        take, found = annotation.stem, 0
        for microphone, folder in MICROPHONES.items():
            relative = f"{folder}/{take}_{microphone}.wav"
            if not (home / folder).is_dir():  # the archives come one by one
                continue
            found += 1
            try:
                yield _recording(home, take, microphone, inside(home, relative))
            except DataError as error:
                yield Skipped(f"{take}_{microphone}", str(error))
        if not found:
            yield Skipped(take, "there is neither audio_mono-mic nor audio_mono-pickup_mix")


def _recording(home: Path, take: str, microphone: str, audio: Path) -> Recording:
    player = take.split("_")[0]
    return Recording(
        name=f"{take}_{microphone}",
        audio=(audio,),
        identity=f"guitarset/{player}/{microphone}",
        family=f"guitarset/{player}",
        instrument="guitar",
        licence="MIT",
        split=SPLITS.get(player, "train"),
        notes=partial(read_jams, inside(home, f"annotation/{take}.jams")),
        performance=f"guitarset/{take}",
    )


def read_jams(path: Path) -> Notes:
    """Notes of the `note_midi` annotations of a JAMS file, one a string of the guitar.

    Raises:
        DataError: it is not JSON, or holds no such notes.
    """
    try:
        annotations = json.loads(path.read_bytes())["annotations"]
        played = [_rows(a["data"]) for a in annotations if a["namespace"] == "note_midi"]
        table = [row for string in played for row in string]
        notes = Notes.from_rows(table)
    except (ValueError, KeyError, TypeError, ArithmeticError, RecursionError) as error:
        raise DataError(f"{path.name} is damaged") from error
    if not len(notes):
        raise DataError(f"{path.name} holds no notes")
    return notes


def _rows(data: Any) -> list[tuple[float, float, float, float]]:
    """Rows of notes; JAMS before 0.3 stores columns."""
    if isinstance(data, dict):
        events = list(zip(data["time"], data["duration"], data["value"], strict=True))
    else:
        events = [(e["time"], e["duration"], e["value"]) for e in data]
    # a pitch is fractional: what the string really did
    return [(on, on + length, round(pitch), VELOCITY) for on, length, pitch in events]
