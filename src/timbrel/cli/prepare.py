"""`timbrel prepare`: training data."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from timbrel.cli.options import Trust
from timbrel.data.engine import pick_engine
from timbrel.data.sources import SOURCES
from timbrel.errors import InputError

EngineName = Annotated[
    str, typer.Option("--engine", help="local, or ray: the cluster of $RAY_ADDRESS, else here.")
]
Workers = Annotated[int, typer.Option(min=1, help="Processes of the local engine.")]

app = typer.Typer(
    help="Make training data: render them, read recordings, or add latents.",
    no_args_is_help=True,
)


@app.command()
def render(
    output: Annotated[Path, typer.Option("-o", "--output", help="Store to make or continue.")],
    count: Annotated[int, typer.Option(help="Renditions of 12 s each.")] = 3000,
    split: Annotated[
        str, typer.Option(help="train, valid or test: sounds are disjoint.")
    ] = "train",
    seed: Annotated[int, typer.Option(help="Of all draws.")] = 0,
    synth_share: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of timbres from the own synthesiser; 1: no font."),
    ] = 0.4,
    recorded: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of timbres heard through a recording chain."),
    ] = 0.3,
    font: Annotated[
        list[Path] | None, typer.Option(help="Sound font; may be repeated. Default: all found.")
    ] = None,
    mixes: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share that are whole pieces, played by ensembles."),
    ] = 0.0,
    expressive: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Share of the strings, winds, guitars and synths with vibrato, bends, swells.",
        ),
    ] = 0.3,
    hybrids: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Share of timbres that are made instruments that nobody built: smaller, "
            "larger, or two in unison.",
        ),
    ] = 0.5,
    modelled: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Share of the pitched timbres that are modelled instruments: strings, tubes, "
            "bars, voices and others with bodies, no two notes alike.",
        ),
    ] = 0.0,
    held: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Share of the scores for pitched instruments whose notes are held for up to 14 s, "
            "so that a model hears how sounds die away.",
        ),
    ] = 0.0,
    workers: Workers = 1,
    engine: EngineName = "local",
) -> None:
    """Render scores through sound fonts and the own synthesiser into a store."""
    from timbrel.data.render.renditions import render_store
    from timbrel.data.render.shares import Shares
    from timbrel.data.render.soundfont import SoundFont, find_fonts
    from timbrel.data.render.timbres import in_split

    fonts = [SoundFont(path) for path in font or find_fonts()] if synth_share < 1 else []
    useless = [f for f in fonts if not any(in_split(f, p, split) for p in f.presets())]
    if font and useless:
        raise InputError(
            f"{useless[0].path} has nothing for --split {split}: fonts that are not known to be "
            "free serve tests only (docs/data.md)"
        )
    if len(useless) == len(fonts) and synth_share < 1:
        print(f"no sound font for {split} (see `timbrel fonts`): all timbres are synthesised")
    shares = Shares(
        synthesised=synth_share if fonts else 1.0,
        recorded=recorded,
        expressive=expressive,
        hybrids=hybrids,
        modelled=modelled,
        held=held,
        mixes=mixes,
    )
    with Progress(transient=True) as bar:
        task = bar.add_task("rendering", total=1.0)
        render_store(
            output,
            seed,
            count,
            split,
            fonts,
            shares,
            engine=pick_engine(engine, workers),
            progress=lambda share: bar.update(task, completed=share),
        )
    print(f"{output}: {count} renditions")


@app.command()
def latents(
    store: Annotated[Path, typer.Argument(help="Store to add latents to.")],
    codec: Annotated[
        str, typer.Option(help="'default', a codec or model folder, TorchScript, EnCodec or DAC.")
    ],
    trust: Trust = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda.")] = "auto",
    workers: Workers = 1,
    engine: EngineName = "local",
) -> None:
    """Encode every item of STORE, so that a model can be trained on it."""
    from timbrel.data.store import Store
    from timbrel.model import folder_of, pick_device
    from timbrel.serialize import load_codec
    from timbrel.training.latents import attach_latents

    with Progress(transient=True) as bar:
        task = bar.add_task("encoding", total=1.0)
        attach_latents(
            Store.open(store),
            load_codec(folder_of(codec), trust),
            None if device == "auto" else pick_device(device),
            lambda share: bar.update(task, completed=share),
            pick_engine(engine, workers),
        )
    print(f"{store}: latents attached")


@app.command()
def spectra(
    store: Annotated[Path, typer.Argument(help="Store to add spectra to.")],
    codec: Annotated[
        str, typer.Option(help="As of `prepare latents`: spectra have its frames.")
    ] = "default",
    trust: Trust = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda.")] = "auto",
) -> None:
    """Compute constant-Q spectra once: models that read audio then train three times faster."""
    from timbrel.data.store import Store
    from timbrel.model import folder_of, pick_device
    from timbrel.serialize import load_codec
    from timbrel.training.derived import attach_spectra

    with Progress(transient=True) as bar:
        task = bar.add_task("computing", total=1.0)
        attach_spectra(
            Store.open(store),
            load_codec(folder_of(codec), trust),
            pick_device(device),
            lambda share: bar.update(task, completed=share),
        )
    print(f"{store}: spectra attached")


@app.command()
def heard(
    store: Annotated[Path, typer.Argument(help="Store to add heard notes to.")],
    model: Annotated[str, typer.Option(help="Model or listener folder, or 'default'.")],
    device: Annotated[str, typer.Option(help="auto, cpu, cuda.")] = "auto",
) -> None:
    """Hear the notes of every item of STORE, to train a model on what will be heard (`heard`)."""
    from timbrel.data.store import Store
    from timbrel.evaluation.identity import weights_id
    from timbrel.model import folder_of, pick_device
    from timbrel.serialize import load_listener
    from timbrel.training.derived import attach_heard

    folder = folder_of(model)
    with Progress(transient=True) as bar:
        task = bar.add_task("hearing", total=1.0)
        attach_heard(
            Store.open(store),
            load_listener(folder),
            weights_id(model),
            pick_device(device),
            lambda share: bar.update(task, completed=share),
        )
    print(f"{store}: heard notes attached")


@app.command()
def played(
    store: Annotated[Path, typer.Argument(help="Store to add played latents to.")],
    model: Annotated[str, typer.Option(help="Model that plays, or 'default'.")],
    count: Annotated[
        int | None,
        typer.Option(min=1, help="Items at most, spread over the store. Default: all that can be."),
    ] = None,
    trust: Trust = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda.")] = "auto",
    workers: Annotated[
        int, typer.Option(min=1, help="Processes; more than one play on the processor.")
    ] = 1,
) -> None:
    """Let a model play every item of STORE, to train its decoder on (`train codec --played`)."""
    from timbrel.data.store import Store
    from timbrel.evaluation.identity import weights_id
    from timbrel.model import load
    from timbrel.training.played import attach_played

    if workers > 1 and device not in ("auto", "cpu"):
        raise InputError(f"--workers above 1 plays on the processor, not on '{device}'")
    opened = Store.open(store)
    with Progress(transient=True) as bar:
        task = bar.add_task("playing", total=1.0)
        count = attach_played(
            opened,
            load(model, device if workers == 1 else "cpu", trust),
            weights_id(model),
            count,
            lambda share: bar.update(task, completed=share),
            pick_engine("local", workers),
        )
    print(f"{store}: {count} of {len(opened)} items played")


def _reader(name: str) -> Callable[..., None]:
    """The command that reads one source."""

    def read(
        path: Annotated[str, typer.Argument(help="Folder of the data set, or its URL.")],
        output: Annotated[Path, typer.Option("-o", "--output", help="Store to make or continue.")],
        transcribe: Annotated[
            bool, typer.Option("--transcribe", help="Hear notes where the source has none.")
        ] = False,
        variants: Annotated[
            int,
            typer.Option(
                min=0,
                help="More versions of each training recording, transposed and equalised.",
            ),
        ] = 0,
        transpose: Annotated[
            int, typer.Option(help="Largest transposition of a version, semitones; 0: none.")
        ] = 3,
        equalise: Annotated[
            float, typer.Option(help="Largest gain of a version's equaliser, dB; 0: none.")
        ] = 7.0,
        level: Annotated[
            float, typer.Option(help="Standard deviation of the level of passages, dB; 0: none.")
        ] = 2.0,
        split: Annotated[
            str | None,
            typer.Option(
                help="train, valid or test, for all of it. Default: the set's own; where it has "
                "none, a tenth of the recording families each for valid and test."
            ),
        ] = None,
        instrument: Annotated[
            str | None,
            typer.Option(
                help="That plays all of it: its files are takes of one timbre. Default: the "
                "set's own; where it names none, every file is a timbre of its own."
            ),
        ] = None,
        workers: Workers = 1,
        engine: EngineName = "local",
    ) -> None:
        from timbrel.data.ingest import REPORT, prepare
        from timbrel.data.variation import Augmentation
        from timbrel.evaluation.transcriber import transcribe as hear

        transcriber = hear if transcribe else None
        with Progress(transient=True) as bar:
            task = bar.add_task("reading", total=1.0)
            left_out = prepare(
                name,
                path,
                output,
                transcriber,
                Augmentation(variants, transpose, equalise, level),
                split,
                lambda share: bar.update(task, completed=share),
                pick_engine(engine, workers),
                instrument,
            )
        print(f"{output}: prepared")
        if left_out:
            things = "1 thing was" if left_out == 1 else f"{left_out} things were"
            print(f"{things} left out; {output / REPORT} says why")

    return read


for _name, _what in SOURCES.items():
    app.command(_name, help=f"Read {_what} into a store.")(_reader(_name))
