"""`timbrel train assemble`: what was trained, put together."""

from pathlib import Path
from typing import Annotated, Any

import typer

from timbrel.cli.options import Trust
from timbrel.errors import InputError, ModelError

AS_CODEC = "That it will use. Default: as the model that --codec names, if it is one."


def assemble(
    codec: Annotated[
        str, typer.Option(help="The codec that it was trained with; a folder, or 'default'.")
    ],
    network: Annotated[
        list[Path],
        typer.Option(help="Folder that `train model` saved; repeated: the mean of their weights."),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Model folder to write.")],
    listener: Annotated[
        str | None, typer.Option(help="Folder that `train listener` saved, or 'default'.")
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the model.")] = "model",
    licence: Annotated[str, typer.Option(help="Licence of the weights.")] = "unknown",
    steps: Annotated[int | None, typer.Option(min=1, help=AS_CODEC)] = None,
    sampler: Annotated[
        str | None, typer.Option(help=f"euler, heun or multistep. {AS_CODEC}")
    ] = None,
    guidance_structure: Annotated[float | None, typer.Option(help=AS_CODEC)] = None,
    guidance_timbre: Annotated[float | None, typer.Option(help=AS_CODEC)] = None,
    temperature: Annotated[float | None, typer.Option(help=AS_CODEC)] = None,
    card: Annotated[
        Path | None, typer.Option(help="Model card (Markdown) to put beside it.")
    ] = None,
    trust: Trust = False,
) -> None:
    """Put codec, network and listener together into one model folder for `--model`."""
    from timbrel.data.files import write_text
    from timbrel.generate.windows import sampling_of
    from timbrel.model import folder_of
    from timbrel.network import mean_of
    from timbrel.serialize import assemble as write
    from timbrel.serialize import load_codec, load_listener, load_network

    trained = load_codec(folder_of(codec), trust)
    heard = None
    if listener is not None:
        heard = load_listener(folder_of(listener), trained.rate, trained.hop)
    sampling = {
        "steps": steps,
        "sampler": sampler,
        "structure": guidance_structure,
        "timbre": guidance_timbre,
        "temperature": temperature,
    }
    mean = mean_of([load_network(folder_of(folder)) for folder in network])
    few_step = mean.config.denoiser.few_step
    chosen = sampling_beside(folder_of(codec), few_step)
    chosen |= {name: value for name, value in sampling.items() if value is not None}
    about = {"name": name, "licence": licence, "sampling": chosen}
    text = None if card is None else text_of(card)
    sampling_of(chosen, few_step)  # refuses what no render could do
    write(output, trained, mean, heard, about)
    if text is not None:
        write_text(output / "card.md", text)
    print(f"{output}: model written")


def sampling_beside(codec: Path, few_step: bool) -> dict[str, Any]:
    """How the model of a folder is sampled, for one that was tuned from it; empty if it is none.

    Args:
        codec: folder of a model, or of a codec alone.
        few_step: whether the new model answers for whole steps: what does not is sampled otherwise.
    """
    from timbrel.serialize import read_config

    try:
        config = read_config(codec)
    except ModelError:  # somebody else's codec
        return {}
    if config.get("model", {}).get("denoiser", {}).get("few_step", False) != few_step:
        return {}
    return dict(config.get("about", {}).get("sampling", {}))


def text_of(path: Path) -> str:
    """What is in a file of text.

    Raises:
        InputError: it cannot be read, or is no text.
    """
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as text: {error}") from error
