"""`timbrel transcribe`: the notes that a model hears in a recording."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from timbrel.cli.options import Trust
from timbrel.errors import InputError


def transcribe(
    recording: Annotated[Path, typer.Argument(help="Audio of any instrument.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="MIDI file to write.")],
    model: Annotated[str, typer.Option(help="'default' (packaged) or a model folder.")] = "default",
    trust: Trust = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps.")] = "auto",
) -> None:
    """Write what `render` hears in RECORDING as MIDI, to be edited and rendered."""
    from timbrel.audio import Audio, check_writable
    from timbrel.midi import is_midi

    check_writable(output, (recording,), (".mid", ".midi"))
    if not recording.exists():
        raise InputError(f"{recording} does not exist; give an audio file")
    if is_midi(recording):
        raise InputError(f"{recording} holds notes already; give a recording")
    audio = Audio.read(recording, minimum_seconds=0.1, reject_silence=True)
    from timbrel.model import load

    player = load(model, device, trust)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("listening", total=1.0)
        notes = player.listen(audio, lambda share: bar.update(task, completed=share))
    if len(notes) == 0:
        raise InputError(f"no note was found in {recording}; is it silent or noise?")
    notes.write(output)
    what = "notes" if len(notes.pitched()) else "strokes of drums"
    print(f"{output}: {len(notes)} {what} in {notes.seconds:.1f} s")
