"""`timbrel info`: what a file, a store or a model is."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from timbrel.cli.options import Trust
from timbrel.errors import InputError

MOST = 40  # entries shown of a count, such as recording families; --json gives all


def info(
    what: Annotated[
        str, typer.Argument(help="A MIDI or audio file, a store, a model, or 'default'.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Of a store, read all audio to find damage.")
    ] = False,
    trust: Trust = False,
) -> None:
    """Say what WHAT is: notes, tracks and range; rate and length; or a model's numbers."""
    facts = describe(what, verify, trust)
    if as_json:
        print(json.dumps(facts, indent=1, default=str))
        return
    for name, value in facts.items():
        if isinstance(value, dict):
            entries = [f"{k} {v}" for k, v in value.items()]
            more = [f"and {len(entries) - MOST} more"] if len(entries) > MOST else []
            value = ", ".join(entries[:MOST] + more)
        if isinstance(value, list):
            value = "; ".join(str(v) for v in value)
        print(f"{name:16s} {value}")


def describe(what: str, verify: bool = False, trust: bool = False) -> dict[str, Any]:
    """Facts about a file or folder.

    Args:
        what: its path, or "default".
        verify: read all audio of a store.
        trust: a model's codec may be TorchScript.

    Raises:
        InputError: it does not exist or is of no known kind.
    """
    path = Path(what)
    if what == "default" or (path / "config.json").is_file():
        from timbrel.model import load

        return {"model": what, **load(what, "cpu", trust).info()}
    if path.is_dir():
        if (path / "manifest.jsonl").is_file():
            from timbrel.data.damage import damage
            from timbrel.data.store import Store

            store = Store.open(path)
            found = damage(store, verify) or ["none"]
            return {"store": what, **store.summary(), "damage": found}
        raise InputError(f"{path} is a folder, but neither a model nor a store")
    from timbrel.midi import is_midi

    if is_midi(path):
        return _describe_midi(path)
    from timbrel.audio import Audio

    audio = Audio.read(path)
    return {
        "audio": what,
        "seconds": round(audio.seconds, 3),
        "rate": audio.rate,
        "channels": audio.samples.shape[0],
        "loudness": f"{audio.loudness():.1f} LUFS",
        "peak": round(float(abs(audio.samples).max()), 4),
    }


def _describe_midi(path: Path) -> dict[str, Any]:
    from timbrel.notes import Notes

    notes = Notes.read(path)
    tracks = []
    for index, track in enumerate(notes.tracks):
        part = notes.select_track(index)
        if len(part):
            kind = "drums" if track.drums else f"program {track.program}"
            span = f"{int(part.pitch.min())} to {int(part.pitch.max())}"
            tracks.append(f"{track.name or 'track'} ({kind}): {len(part)} notes, pitch {span}")
    return {
        "midi": str(path),
        "seconds": round(notes.seconds, 3),
        "notes": len(notes),
        "range": f"{int(notes.pitch.min())} to {int(notes.pitch.max())}",
        "tracks": tracks,
    }
