"""`timbrel train`: the commands with which the default model was made."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from timbrel.errors import InputError

app = typer.Typer(
    help="Train a codec, a listener, a model; then assemble them. Runs resume by themselves.",
    no_args_is_help=True,
)

Data = Annotated[Path, typer.Option("--data", help="Store, from `timbrel prepare`.")]
Output = Annotated[
    Path, typer.Option("-o", "--output", help="Folder of the run; resumed if it exists.")
]
Steps = Annotated[int | None, typer.Option(help="Budget in steps.")]
Minutes = Annotated[float | None, typer.Option(help="Budget in minutes of wall time.")]
Seed = Annotated[int, typer.Option(help="Of all draws.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda.")]
From = Annotated[Path | None, typer.Option("--from", help="Start from the weights in this folder.")]


def _choice(name: str, choices: Iterable[str], what: str = "preset") -> str:
    if name not in choices:
        raise InputError(f"there is no {what} '{name}'; choose one of {', '.join(choices)}")
    return name


@app.command()
def codec(
    data: Data,
    output: Output,
    preset: Annotated[str, typer.Option(help="tiny, small or base.")] = "small",
    steps: Steps = None,
    minutes: Minutes = None,
    adversarial_from: Annotated[
        float, typer.Option(help="Share of the budget after which discriminators join; 1: never.")
    ] = 1.0,
    batch: Annotated[int, typer.Option(help="Excerpts per step.")] = 16,
    seed: Seed = 0,
    device: Device = "auto",
    start_from: From = None,
) -> None:
    """Train a codec: the basis once, then the decoder."""
    from timbrel.codec.codec import PRESETS
    from timbrel.data.store import Store
    from timbrel.model import pick_device
    from timbrel.serialize import load_codec
    from timbrel.training.codec import CodecTraining, train_codec
    from timbrel.training.run import Budget

    train_codec(
        Store.open(data).part("train"),
        output,
        PRESETS[_choice(preset, PRESETS)](),
        CodecTraining(batch=batch, seed=seed, adversarial_from=adversarial_from),
        Budget(steps, minutes),
        pick_device(device),
        load_codec(start_from) if start_from else None,
    )
    print(f"{output / 'codec'}: codec saved")


@app.command()
def listener(
    data: Data,
    output: Output,
    steps: Steps = None,
    minutes: Minutes = None,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Train the network that hears notes in audio."""
    from timbrel.codec.codec import CodecConfig
    from timbrel.conditions.listener import ListenerConfig
    from timbrel.data.store import Store
    from timbrel.model import pick_device
    from timbrel.training.listener import ListenerTraining, train_listener
    from timbrel.training.run import Budget

    codec = CodecConfig()
    train_listener(
        Store.open(data).part("train").with_notes(),
        output,
        codec.rate,
        codec.hop,
        ListenerConfig(),
        ListenerTraining(seed=seed),
        Budget(steps, minutes),
        pick_device(device),
    )
    print(f"{output / 'listener'}: listener saved")


@app.command()
def model(
    data: Data,
    codec: Annotated[Path, typer.Option(help="Codec folder; its latents must be in the store.")],
    output: Output,
    preset: Annotated[str, typer.Option(help="tiny, small, base or paper.")] = "small",
    steps: Steps = None,
    minutes: Minutes = None,
    valid: Annotated[Path | None, typer.Option(help="Held-out store with latents.")] = None,
    stage_one: Annotated[
        float, typer.Option(help="Share of the budget in which structure is absent; 0: never.")
    ] = 0.15,
    freeze_timbre: Annotated[
        bool, typer.Option(help="Freeze the timbre encoder in stage 2, as the paper does.")
    ] = True,
    batch: Annotated[int, typer.Option(help="Items per step.")] = 16,
    midi_faults: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Share of the items whose notes have faults: late and early, missing, extra, "
            "wrong velocities.",
        ),
    ] = 0.25,
    precision: Annotated[
        str, typer.Option(help="fp32, or bf16: faster on GPUs and on processors that have it.")
    ] = "fp32",
    seed: Seed = 0,
    device: Device = "auto",
    start_from: From = None,
) -> None:
    """Train the encoders and the denoiser, in two stages."""
    from timbrel.data.pairs import Corruption
    from timbrel.data.store import Store
    from timbrel.model import pick_device
    from timbrel.network import PRESETS
    from timbrel.serialize import load_codec, load_network
    from timbrel.training.model import ModelTraining, train_model
    from timbrel.training.run import Budget

    trained = load_codec(codec)
    config = replace(PRESETS[_choice(preset, PRESETS)](), codec=trained.config)
    train_model(
        Store.open(data).part("train"),
        Store.open(valid).part("valid") if valid else None,
        trained,
        output,
        config,
        ModelTraining(
            batch=batch,
            seed=seed,
            stage_one=stage_one,
            freeze_timbre=freeze_timbre,
            corruption=Corruption(share=midi_faults),
            precision=_choice(precision, ("fp32", "bf16"), "precision"),
        ),
        Budget(steps, minutes),
        pick_device(device),
        load_network(start_from) if start_from else None,
    )
    print(f"{output / 'model'}: model saved")


@app.command()
def assemble(
    codec: Annotated[Path, typer.Option(help="Codec folder.")],
    network: Annotated[Path, typer.Option(help="Folder that `train model` saved.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Model folder to write.")],
    listener: Annotated[
        Path | None, typer.Option(help="Folder that `train listener` saved.")
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the model.")] = "model",
    licence: Annotated[str, typer.Option(help="Licence of the weights.")] = "unknown",
) -> None:
    """Put codec, network and listener together into one model folder for `--model`."""
    from timbrel.conditions.listener import ListenerConfig
    from timbrel.serialize import assemble as write
    from timbrel.serialize import from_dict, load_codec, load_listener, load_network, read_config

    trained = load_codec(codec)
    heard, size = None, None
    if listener is not None:
        heard = load_listener(listener, trained.rate, trained.hop)
        size = from_dict(ListenerConfig, read_config(listener)["listener"], str(listener))
    about = {"name": name, "licence": licence}
    write(output, trained, load_network(network), heard, size, about)
    print(f"{output}: model written")
