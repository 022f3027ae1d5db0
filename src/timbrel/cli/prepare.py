"""`timbrel prepare`: training data."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from timbrel.data.sources import SOURCES

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
        float, typer.Option(help="Share of timbres from the own synthesiser; 1 needs no font.")
    ] = 0.4,
    recorded: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of timbres heard through a recording chain."),
    ] = 0.3,
    font: Annotated[
        list[Path] | None, typer.Option(help="Sound font; may be repeated. Default: all found.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes.")] = 1,
) -> None:
    """Render scores through sound fonts and the own synthesiser into a store."""
    from timbrel.data.render.renditions import render_store
    from timbrel.data.render.soundfont import SoundFont, find_fonts

    fonts = [SoundFont(path) for path in font or find_fonts()] if synth_share < 1 else []
    if not fonts and synth_share < 1:
        print("no sound font found (see `timbrel fonts`): all timbres come from the synthesiser")
    with Progress(transient=True) as bar:
        task = bar.add_task("rendering", total=1.0)
        render_store(
            output,
            seed,
            count,
            split,
            fonts,
            synth_share if fonts else 1.0,
            workers=workers,
            progress=lambda share: bar.update(task, completed=share),
            recorded=recorded,
        )
    print(f"{output}: {count} renditions")


@app.command()
def latents(
    store: Annotated[Path, typer.Argument(help="Store to add latents to.")],
    codec: Annotated[
        str, typer.Option(help="'default', a codec or model folder, TorchScript, EnCodec or DAC.")
    ],
    trust: Annotated[
        bool, typer.Option("--trust", help="Run a TorchScript codec: it is code.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda.")] = "auto",
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
            pick_device(device),
            lambda share: bar.update(task, completed=share),
        )
    print(f"{store}: latents attached")


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
    ) -> None:
        from timbrel.data.ingest import REPORT, prepare
        from timbrel.evaluation.transcriber import transcribe as hear

        transcriber = hear if transcribe else None
        with Progress(transient=True) as bar:
            task = bar.add_task("reading", total=1.0)
            left_out = prepare(
                name,
                path,
                output,
                transcriber,
                variants,
                lambda share: bar.update(task, completed=share),
            )
        print(f"{output}: prepared")
        if left_out:
            things = "1 thing was" if left_out == 1 else f"{left_out} things were"
            print(f"{things} left out; {output / REPORT} says why")

    return read


for _name, _what in SOURCES.items():
    app.command(_name, help=f"Read {_what} into a store.")(_reader(_name))
