"""`timbrel train`: the commands with which the default model was made."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

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
Trust = Annotated[bool, typer.Option("--trust", help="Run a TorchScript codec: it is code.")]
Precision = Annotated[
    str, typer.Option(help="fp32, or bf16: faster on GPUs and on processors that have it.")
]
From = Annotated[Path | None, typer.Option("--from", help="Start from the weights in this folder.")]


PRECISIONS = ("fp32", "bf16")


def _choice(name: str, choices: Iterable[str], what: str = "preset") -> str:
    if name not in choices:
        raise InputError(f"there is no {what} '{name}'; choose one of {', '.join(choices)}")
    return name


@app.command()
def codec(
    data: Data,
    output: Output,
    design: Annotated[
        str, typer.Option(help="spectral: fixed latent, fast; rave: learned latent, the paper's.")
    ] = "spectral",
    preset: Annotated[str, typer.Option(help="tiny, small or base.")] = "small",
    steps: Steps = None,
    minutes: Minutes = None,
    waveform_from: Annotated[
        float | None,
        typer.Option(help="Share of the budget after which waveforms are compared (spectral)."),
    ] = None,
    adversarial_from: Annotated[
        float | None,
        typer.Option(help="Share of the budget after which discriminators join; 1: never."),
    ] = None,
    batch: Annotated[int | None, typer.Option(help="Excerpts per step and process.")] = None,
    precision: Precision = "fp32",
    seed: Seed = 0,
    device: Device = "auto",
    start_from: From = None,
) -> None:
    """Train a codec, or, with --from, go on with one, on your own recordings for example."""
    from timbrel.codec import rave, spectral
    from timbrel.data.store import Store
    from timbrel.model import folder_of, pick_device
    from timbrel.serialize import CodecConfig, load_codec
    from timbrel.training.codec import train_codec
    from timbrel.training.codec_objective import CodecTraining, rave_training
    from timbrel.training.run import Budget

    _choice(design, ("spectral", "rave"), "design")
    presets = rave.PRESETS if design == "rave" else spectral.PRESETS
    started = load_codec(folder_of(start_from)) if start_from else None
    if started is not None and started.config is None:
        raise InputError(f"{start_from} is a reference to another program's codec; train it there")
    config: CodecConfig = started.config if started else presets[_choice(preset, presets)]()
    training = rave_training() if isinstance(config, rave.RaveConfig) else CodecTraining()
    given: dict[str, Any] = {
        "batch": batch,
        "waveform_from": waveform_from,
        "adversarial_from": adversarial_from,
        "precision": _choice(precision, PRECISIONS, "precision"),
        "seed": seed,
    }
    train_codec(
        Store.open(data).part("train"),
        output,
        config,
        replace(training, **{name: value for name, value in given.items() if value is not None}),
        Budget(steps, minutes),
        pick_device(device),
        started,
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
    from timbrel.codec.spectral import SpectralConfig
    from timbrel.conditions.listener import ListenerConfig
    from timbrel.data.store import Store
    from timbrel.model import pick_device
    from timbrel.training.listener import ListenerTraining, train_listener
    from timbrel.training.run import Budget

    codec = SpectralConfig()
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
    codec: Annotated[
        str, typer.Option(help="Codec that made the store's latents (see `prepare latents`).")
    ],
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
    precision: Precision = "fp32",
    trust: Trust = False,
    seed: Seed = 0,
    device: Device = "auto",
    start_from: From = None,
) -> None:
    """Train the encoders and the denoiser, in two stages."""
    from timbrel.data.store import Store
    from timbrel.model import folder_of, pick_device
    from timbrel.network import PRESETS, latent_config
    from timbrel.serialize import load_codec, load_network
    from timbrel.training.model import ModelTraining, train_model
    from timbrel.training.run import Budget

    trained = load_codec(folder_of(codec), trust)
    config = replace(PRESETS[_choice(preset, PRESETS)](), codec=latent_config(trained))
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
            precision=_choice(precision, PRECISIONS, "precision"),
        ),
        Budget(steps, minutes),
        pick_device(device),
        load_network(start_from) if start_from else None,
    )
    print(f"{output / 'model'}: model saved")


@app.command()
def assemble(
    codec: Annotated[str, typer.Option(help="The codec that it was trained with.")],
    network: Annotated[Path, typer.Option(help="Folder that `train model` saved.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Model folder to write.")],
    listener: Annotated[
        Path | None, typer.Option(help="Folder that `train listener` saved.")
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the model.")] = "model",
    licence: Annotated[str, typer.Option(help="Licence of the weights.")] = "unknown",
    trust: Trust = False,
) -> None:
    """Put codec, network and listener together into one model folder for `--model`."""
    from timbrel.conditions.listener import ListenerConfig
    from timbrel.model import folder_of
    from timbrel.serialize import assemble as write
    from timbrel.serialize import from_dict, load_codec, load_listener, load_network, read_config

    trained = load_codec(folder_of(codec), trust)
    heard, size = None, None
    if listener is not None:
        heard = load_listener(listener, trained.rate, trained.hop)
        size = from_dict(ListenerConfig, read_config(listener)["listener"], str(listener))
    about = {"name": name, "licence": licence}
    write(output, trained, load_network(network), heard, size, about)
    print(f"{output}: model written")
