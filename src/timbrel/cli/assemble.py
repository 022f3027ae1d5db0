"""`timbrel train assemble`: what was trained, put together."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from timbrel.cli.options import Trust
from timbrel.errors import InputError, ModelError, TrainingError

if TYPE_CHECKING:
    from timbrel.network import ModelConfig, Network

AS_MODEL = (
    "That it will use. Default: as the model that --codec, else --network, names, if its objective "
    "is the same."
)


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
    steps: Annotated[int | None, typer.Option(min=1, help=AS_MODEL)] = None,
    sampler: Annotated[
        str | None, typer.Option(help=f"euler, heun or multistep. {AS_MODEL}")
    ] = None,
    guidance_structure: Annotated[float | None, typer.Option(help=AS_MODEL)] = None,
    guidance_timbre: Annotated[float | None, typer.Option(help=AS_MODEL)] = None,
    temperature: Annotated[float | None, typer.Option(help=AS_MODEL)] = None,
    texture: Annotated[float | None, typer.Option(help=AS_MODEL)] = None,
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
        heard = load_listener(folder_of(listener))
    sampling = {
        "steps": steps,
        "sampler": sampler,
        "structure": guidance_structure,
        "timbre": guidance_timbre,
        "temperature": temperature,
        "texture": texture,
    }
    mean = mean_of(alike([load_network(folder_of(folder)) for folder in network]))
    parts = [folder_of(codec), *map(folder_of, network)]
    chosen = sampling_of_parts(parts, mean.config)
    chosen |= {name: value for name, value in sampling.items() if value is not None}
    about = {"name": name, "licence": licence, "sampling": chosen}
    text = None if card is None else text_of(card)
    sampling_of(chosen, mean.config.denoiser.most_steps)  # refuses what no render could do
    write(output, trained, mean, heard, about)
    if text is not None:
        write_text(output / "card.md", text)
    print(f"{output}: model written")


def alike(networks: Sequence["Network"]) -> list["Network"]:
    """All with the parts of the last, which add nothing to those that were trained without."""
    from timbrel.network import Network
    from timbrel.training.checks import check_start

    found = []
    for network in networks:
        newer = network
        if network.config != networks[-1].config:
            with suppress(TrainingError):  # they differ in more: they have no mean, which says so
                check_start(networks[-1], network)
                newer = Network(replace(networks[-1].config, latent=network.config.latent))
                newer.begin_from(network)
        found.append(newer)
    return found


def sampling_of_parts(parts: Iterable[Path], config: "ModelConfig") -> dict[str, Any]:
    """How a new model is sampled if nothing else is said: as the first model that a part is of.

    A model of another objective, or one that answers for whole steps beside one that does not, is
    sampled by itself.

    Args:
        parts: folders of models, or of a codec or a network alone.
        config: of the new model's network.
    """
    from timbrel.diffusion.samplers import THOROUGH
    from timbrel.serialize import read_config

    few_step, objective = config.denoiser.few_step, config.objective
    for part in parts:
        try:
            found = read_config(part)
        except ModelError:  # somebody else's codec
            continue
        model = found.get("model", {})
        like = (model.get("denoiser", {}).get("few_step", False), model.get("objective", "flow"))
        if "about" in found and "model" in found and like == (few_step, objective):
            return dict(found["about"].get("sampling", {}))
    return {} if few_step or objective == "flow" else dict(THOROUGH[objective])


def text_of(path: Path) -> str:
    """What is in a file of text.

    Raises:
        InputError: it cannot be read, or is no text.
    """
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as text: {error}") from error
