"""`timbrel train`: the commands with which the default model was made."""

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from timbrel.cli.assemble import assemble
from timbrel.cli.options import Trust
from timbrel.errors import InputError

app = typer.Typer(
    help="Train a codec, a listener, a model; then assemble them. Runs resume by themselves.",
    no_args_is_help=True,
)

Data = Annotated[
    list[Path], typer.Option("--data", help="Store, from `timbrel prepare`; may be repeated.")
]
Output = Annotated[
    Path, typer.Option("-o", "--output", help="Folder of the run; resumed if it exists.")
]
Steps = Annotated[int | None, typer.Option(help="Budget in steps.")]
Minutes = Annotated[float | None, typer.Option(help="Budget in minutes of wall time.")]
Seed = Annotated[int, typer.Option(min=0, help="Of all draws.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda.")]
Precision = Annotated[
    str, typer.Option(help="fp32, or bf16: faster on GPUs and on processors that have it.")
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Processes that draw ahead what a step is made of. Default: 0; beside a GPU all cores "
        "but two, at most 16.",
    ),
]
From = Annotated[Path | None, typer.Option("--from", help="Start from the weights in this folder.")]


PRECISIONS = ("fp32", "bf16")
RENDER = "render"  # in place of a store


def _choice(name: str, choices: Iterable[str], what: str = "preset") -> str:
    if name not in choices:
        raise InputError(f"there is no {what} '{name}'; choose one of {', '.join(choices)}")
    return name


def _say(sentence: str) -> None:
    """Once, however many processes `torchrun` started."""
    if os.environ.get("RANK", "0") == "0":
        print(sentence, flush=True)


@app.command()
def codec(
    data: Annotated[
        list[str],
        typer.Option(
            help="Store, from `timbrel prepare`, may be repeated; or render: sounds are rendered "
            "while training (a store in a folder of that name is ./render)."
        ),
    ],
    output: Output,
    design: Annotated[
        str | None,
        typer.Option(
            help="spectral: fixed latent, fast; rave: learned latent, the paper's. "
            "Default: as --from, or spectral."
        ),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="tiny, small or base. Default: as --from, or small.")
    ] = None,
    steps: Steps = None,
    minutes: Minutes = None,
    waveform_from: Annotated[
        float | None,
        typer.Option(
            help="Share of the budget after which waveforms are compared (spectral), and what was "
            "played is heard. Default 0.75; with --played 0."
        ),
    ] = None,
    adversarial_from: Annotated[
        float | None,
        typer.Option(help="Share of the budget after which discriminators join; 1: never."),
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Excerpts per step and process.")] = None,
    rate: Annotated[
        float | None, typer.Option(help="Learning rate. Default 1e-3; of rave 6e-4.")
    ] = None,
    precision: Precision = "fp32",
    workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Processes that draw ahead what a step is made of, or with --data render render "
            "it. Default: the one that trains; beside a GPU all cores but two draw, at most 16.",
        ),
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    start_from: From = None,
    played: Annotated[
        list[str] | None,
        typer.Option(
            help="Store with what a model plays of it, from `timbrel prepare played`, may be "
            "repeated: half of each batch is of it. The decoder learns to read a model's latents."
        ),
    ] = None,
    trust: Trust = False,
) -> None:
    """Train a codec, or, with --from, go on with one, on your own recordings for example."""
    from timbrel.codec import rave, spectral
    from timbrel.data.joined import open_all
    from timbrel.data.render.endless import with_fonts
    from timbrel.model import folder_of, pick_device
    from timbrel.serialize import CodecConfig, load_codec
    from timbrel.training.codec import train_codec
    from timbrel.training.codec_objective import CodecTraining, rave_training
    from timbrel.training.run import Budget

    rendered = RENDER in data
    if rendered and len(data) > 1:
        raise InputError("--data render stands alone: render a store to train on both")
    if start_from and (design or preset):
        raise InputError("--from says design and size already; leave out --design and --preset")
    if played and not start_from:
        raise InputError("--played needs --from: the codec in whose latent a model has played")
    _choice(design or "spectral", ("spectral", "rave"), "design")
    presets = rave.PRESETS if design == "rave" else spectral.PRESETS
    started = load_codec(folder_of(start_from), trust) if start_from else None
    if started is not None and started.config is None:
        raise InputError(f"{start_from} is a reference to another program's codec; train it there")
    config: CodecConfig = (
        started.config if started else presets[_choice(preset or "small", presets)]()
    )
    if isinstance(config, spectral.SpectralConfig):
        # how much is noise is learned from waveforms
        if started is None and waveform_from == 1:
            config = spectral.with_noise(config, 0)
        elif not config.decoder.noise_bands and waveform_from != 1:
            config = spectral.with_noise(config)
    training = rave_training() if isinstance(config, rave.RaveConfig) else CodecTraining()
    if played and waveform_from is None:
        waveform_from = 0.0  # until then nothing is learned of what was played
    given: dict[str, Any] = {
        "batch": batch,
        "peak_rate": rate,
        "waveform_from": waveform_from,
        "adversarial_from": adversarial_from,
        "precision": _choice(precision, PRECISIONS, "precision"),
        "seed": seed,
        "played": 0.5 if played else None,
        "frames": 48 if played else None,  # statistics need a second
    }
    train_codec(
        with_fonts() if rendered else open_all(data, "train", _say),
        output,
        config,
        replace(training, **{name: value for name, value in given.items() if value is not None}),
        Budget(steps, minutes),
        pick_device(device),
        started,
        workers=workers,
        played=open_all(played, "train", _say) if played else None,
    )
    print(f"{output / 'codec'}: codec saved")


@app.command()
def listener(
    data: Data,
    output: Output,
    steps: Steps = None,
    minutes: Minutes = None,
    batch: Annotated[int, typer.Option(min=1, help="Excerpts per step and process.")] = 8,
    only: Annotated[str, typer.Option(help="notes or drums: that part alone learns.")] = "",
    rate: Annotated[float, typer.Option(help="Learning rate.")] = 2e-3,
    precision: Precision = "fp32",
    workers: Workers = None,
    seed: Seed = 0,
    device: Device = "auto",
    start_from: Annotated[
        str | None, typer.Option("--from", help="Start from this listener or model, or 'default'.")
    ] = None,
) -> None:
    """Train the network that hears notes and drums in audio."""
    from timbrel.conditions.listener import small
    from timbrel.data.joined import open_all
    from timbrel.model import folder_of, pick_device
    from timbrel.serialize import load_listener
    from timbrel.training.listener import ListenerTraining, train_listener
    from timbrel.training.run import Budget

    begun = load_listener(folder_of(start_from)) if start_from is not None else None
    store = open_all(data, "train", _say).with_notes()
    drums, known = any(i.drums for i in store.items), begun is not None and begun.drums is not None
    if known and not drums:
        print("the store holds no drums, so the part that hears them stays as it is")
        only = only or "notes"
    elif not known and (not drums or only == "notes"):
        why = "does not learn drums" if drums else "gets a store without drums"
        print(f"this listener {why}, so it will not hear them")
        drums = False
    train_listener(
        store,
        output,
        small(drums or known),
        ListenerTraining(batch, peak_rate=rate, seed=seed, precision=precision, only=only),
        Budget(steps, minutes),
        pick_device(device),
        start_from=begun,
        workers=workers,
    )
    print(f"{output / 'listener'}: listener saved")


@app.command()
def model(
    data: Data,
    output: Output,
    codec: Annotated[
        str | None,
        typer.Option(
            help="Codec or model folder, or 'default'; its latents must be in the store. "
            "Default: that of --from."
        ),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="tiny, small, base or paper. Default: as --from, or small.")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="Changes of the preset: a name (see docs/ablation.md), or a .toml file."),
    ] = None,
    steps: Steps = None,
    minutes: Minutes = None,
    valid: Annotated[Path | None, typer.Option(help="Held-out store with latents.")] = None,
    stage_one: Annotated[
        float | None, typer.Option(help="Share of the budget in which structure is absent.")
    ] = None,
    freeze_timbre: Annotated[
        bool | None, typer.Option(help="Freeze the timbre encoder in stage 2.")
    ] = None,
    batch: Annotated[int | None, typer.Option(help="Items per draw. Default 16.")] = None,
    accumulate: Annotated[int | None, typer.Option(help="Draws per step. Default 1.")] = None,
    rate: Annotated[float | None, typer.Option(help="Learning rate. Default 1e-3.")] = None,
    midi_faults: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Share of the items whose notes have faults: late and early, missing, extra, "
            "wrong velocities. Default 0.25.",
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(help="fp32, or bf16: faster on GPUs and on processors that have it."),
    ] = None,
    workers: Workers = None,
    shard: Annotated[
        bool,
        typer.Option(
            "--shard",
            help="Cut the denoiser's weights between the processes of torchrun, for a model that "
            "one GPU cannot hold.",
        ),
    ] = False,
    trust: Trust = False,
    seed: Annotated[int | None, typer.Option(min=0, help="Of all draws.")] = None,
    device: Device = "auto",
    start_from: Annotated[
        str | None,
        typer.Option("--from", help="Start from this model ('default' or a folder): fine-tuning."),
    ] = None,
) -> None:
    """Train the encoders and the denoiser."""
    from timbrel.data.joined import held_out, open_all
    from timbrel.data.select import select
    from timbrel.model import folder_of, pick_device
    from timbrel.network import latent_config
    from timbrel.serialize import load_codec, load_network
    from timbrel.training.model import train_model
    from timbrel.training.recipe import preset as read_preset
    from timbrel.training.recipe import read_recipe
    from timbrel.training.run import Budget

    if codec is None and start_from is None:
        raise InputError("say whose latents to train on: --codec, or --from a model")
    trained = load_codec(folder_of(codec or start_from or ""), trust)
    start = load_network(folder_of(start_from)) if start_from else None
    chosen = read_preset(preset or "small")
    if preset is None and start is not None:
        chosen = replace(chosen, model=start.config)
    if recipe is not None:
        chosen = read_recipe(recipe, chosen.model, chosen.training)
    given: dict[str, object] = {
        "stage_one": stage_one,
        "freeze_timbre": freeze_timbre,
        "batch": batch,
        "accumulate": accumulate,
        "peak_rate": rate,
        "precision": precision,
        "seed": seed,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    if midi_faults is not None:
        changes["corruption"] = replace(chosen.training.corruption, share=midi_faults)
    train_model(
        select(open_all(data, "train", _say), chosen.data),
        held_out(valid, data, _say) if valid else None,
        trained,
        output,
        replace(chosen.model, codec=latent_config(trained)),
        replace(chosen.training, **changes),  # type: ignore[arg-type]
        Budget(steps, minutes),
        pick_device(device),
        start,
        workers=workers,
        shard=shard,
    )
    print(f"{output / 'model'}: model saved")


@app.command()
def distil(
    data: Data,
    output: Output,
    start_from: Annotated[
        str, typer.Option("--from", help="Model to distil: 'default', or a folder with its codec.")
    ],
    codec: Annotated[
        str | None, typer.Option(help="Codec or model folder. Default: that of --from.")
    ] = None,
    steps: Steps = None,
    minutes: Minutes = None,
    batch: Annotated[int, typer.Option(min=2, help="Items per step.")] = 16,
    rate: Annotated[float, typer.Option(help="Learning rate.")] = 3e-4,
    precision: Precision = "fp32",
    trust: Trust = False,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Make a few-step model of a trained one, with guidance folded in."""
    from timbrel.data.joined import open_all
    from timbrel.model import folder_of, pick_device
    from timbrel.serialize import load_codec, load_network
    from timbrel.training.distil import Distillation
    from timbrel.training.distil import distil as train
    from timbrel.training.run import Budget
    from timbrel.training.settings import ModelTraining

    train(
        open_all(data, "train", _say),
        load_codec(folder_of(codec or start_from), trust),
        output,
        load_network(folder_of(start_from)),
        ModelTraining(batch=batch, peak_rate=rate, precision=precision, seed=seed),
        Distillation(),
        Budget(steps, minutes),
        pick_device(device),
    )
    print(f"{output / 'model'}: few-step model saved")


app.command()(assemble)
