"""`timbrel render`: these notes with that sound."""

import math
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from timbrel.cli.options import Trust
from timbrel.errors import InputError


def render(
    structure: Annotated[Path, typer.Argument(help="Notes to play: a MIDI or an audio file.")],
    timbre: Annotated[Path, typer.Option(help="Sound to play them with: 1 to 20 s of audio.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Audio to write: .wav or .flac.")],
    model: Annotated[str, typer.Option(help="'default' (packaged) or a model folder.")] = "default",
    steps: Annotated[int | None, typer.Option(help="Denoiser evaluations; more is slower.")] = None,
    guidance_structure: Annotated[
        float | None, typer.Option(help="How strongly the notes steer; 1 as trained.")
    ] = None,
    guidance_timbre: Annotated[
        float | None, typer.Option(help="How strongly the sound steers; 1 as trained.")
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(help="How much chance in what lasts, 0 to 2; less is nearer to the sound."),
    ] = None,
    texture: Annotated[
        float | None,
        typer.Option(
            help="How much chance in quick changes, 0 to 2; less is duller, more rougher."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same file.")] = 0,
    sampler: Annotated[
        str | None, typer.Option(help="euler, heun or multistep; default: the model's own.")
    ] = None,
    octave: Annotated[
        str, typer.Option(help="keep: as written; fit: by octaves to the sound's register.")
    ] = "keep",
    keep_noise: Annotated[
        bool, typer.Option("--keep-noise", help="Steady noise in TIMBRE is of its sound: play it.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps.")] = "auto",
    length: Annotated[
        float | None, typer.Option(help="Seconds to render; default: to the last note's tail.")
    ] = None,
    trust: Trust = False,
) -> None:
    """Play the notes of STRUCTURE with the sound of TIMBRE."""
    for name, value in (
        ("--guidance-structure", guidance_structure),
        ("--guidance-timbre", guidance_timbre),
        ("--temperature", temperature),
        ("--texture", texture),
        ("--length", length),
    ):
        if value is not None and not math.isfinite(value):
            raise InputError(f"{name} is {value}; give an ordinary number")
    from timbrel.audio import Audio, check_writable

    check_writable(output, (structure, timbre))
    if not structure.exists():
        raise InputError(f"{structure} does not exist; give a MIDI or an audio file")
    example = Audio.read(timbre, minimum_seconds=1.0, reject_silence=True)  # before the model
    from timbrel.midi import is_midi
    from timbrel.model import drums_left_out, load
    from timbrel.notes import Notes

    player = load(model, device, trust)
    console = Console(stderr=True)
    began = time.monotonic()
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("rendering", total=1.0)
        audio = player.render(
            structure,
            example,
            steps=steps,
            guidance_structure=guidance_structure,
            guidance_timbre=guidance_timbre,
            seed=seed,
            sampler=sampler,
            temperature=temperature,
            texture=texture,
            octave=octave,
            keep_noise=keep_noise,
            length=length,
            progress=lambda share: bar.update(task, completed=share),
        )
    audio.write(output)
    if not keep_noise and player.is_noisy(example):
        said = f"steady noise was taken out of {timbre}; --keep-noise plays it, too"
        console.print(said, markup=False, emoji=False, soft_wrap=True)
    if is_midi(structure) and (unheard := drums_left_out(Notes.read(structure))):
        console.print(
            f"{unheard} drum notes were left out, as one sound plays pitched notes or drums; "
            "to hear them, render them from a MIDI file of their own with a kit as the example",
            soft_wrap=True,
        )
    took = time.monotonic() - began
    said = f"{output}: {audio.seconds:.1f} s of audio in {took:.1f} s"
    console.print(said, highlight=False, markup=False, emoji=False, soft_wrap=True)
