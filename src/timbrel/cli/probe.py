"""`timbrel probe`: how well does a model keep timbre and structure apart?"""

import json
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from timbrel.cli.options import Trust

# What each number says, in the order in which they are printed.
MEANING = {
    "structure/instrument": "instrument found in structure codes of audio",
    "timbre/instrument": "instrument found in timbre codes",
    "sound/instrument": "  in the sound itself: what leaks if everything does",
    "notes/instrument": "  in the written notes alone (register tells much)",
    "noise/instrument": "  in noise, at most (19 of 20 draws)",
    "chance/instrument": "  by chance",
    "structure/error_over_chance": "error of a fresh adversary: timbre from structure; 1: chance",
    "sound/error_over_chance": "  from the sound itself",
    "notes/error_over_chance": "  from the written notes alone",
    "noise/error_over_chance": "  from noise",
    "structure/error_over_chance_unheard": "its error at timbres that it never met; 1: by chance",
    "sound/error_over_chance_unheard": "  from the sound itself",
    "notes/error_over_chance_unheard": "  from the written notes alone",
    "noise/error_over_chance_unheard": "  from noise",
    "timbre/pitch": "share of pitch, within an instrument, found in timbre codes",
    "sound/pitch": "  in the sound itself: what leaks if everything does",
    "noise/pitch": "  in noise, at most (19 of 20 draws)",
    "structure/audio_from_notes": "structure of audio from that of its notes; 1: other passages",
    "structure/between_renditions": "structure of two renditions apart; 1: as of other passages",
    "timbre/spread": "variance of timbre codes; 1: everywhere on the sphere",
    "timbre/effective_rank": "directions in which timbre codes vary",
    "output/spread_over_seeds": "spread of outputs over noise, against that over items",
    "valid/guess": "loss of what the sampler begins with",
    "valid/both": "loss of the denoiser, told notes and example",
    "valid/structure": "  notes alone",
    "valid/timbre": "  the example alone",
    "valid/neither": "  neither",
}


def probe(
    model: Annotated[str, typer.Argument(help="'default' (packaged) or a model folder.")],
    data: Annotated[Path, typer.Option(help="Store with latents of the model's codec.")],
    frames: Annotated[int, typer.Option(min=16, help="Latent frames of a passage.")] = 128,
    losses: Annotated[
        bool,
        typer.Option("--losses", help="Also those that training lowers, on 256 items held out."),
    ] = False,
    trust: Trust = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Print how well MODEL keeps timbre and structure apart, measured on a store."""
    from timbrel.data.joined import judged_part
    from timbrel.data.store import Store
    from timbrel.errors import DataError
    from timbrel.model import load
    from timbrel.training.disentanglement import warnings_of
    from timbrel.training.held_out import held_out_losses
    from timbrel.training.probe import ProbeSet
    from timbrel.training.probe import probe as measure
    from timbrel.training.settings import ModelTraining

    player = load(model, device, trust)
    store = Store.open(data)
    store.check("latents", player.codec.latent_id)
    passages = ProbeSet(store, player.codec.frame_rate, frames)
    lacking = (
        f"{data} has no timbre with 4 pitched items of known notes and {frames} frames; "
        "give a larger store, or fewer --frames"
    )
    if not passages.passages and not losses:
        raise DataError(lacking)
    network, codec, found = player.network, player.codec, {}
    if losses:  # first, as they can be refused
        kept = judged_part(store, partial(print, file=sys.stderr))  # programs read the output
        found = held_out_losses(network, codec, kept, ModelTraining(), player.device)
    found |= measure(network, passages, player.device, player.listener, afresh=True)
    if as_json:
        print(json.dumps(found, indent=1))
        return
    if passages.passages:
        print(f"{len(passages.passages)} passages of {passages.labels} timbres")
    else:
        print(f"codes were not probed: {lacking}")
    for name, meaning in MEANING.items():
        if name in found:
            print(f"{found[name]:7.3f}  {meaning}")
    if passages.labels == 1:
        print("one timbre only: there is nothing to tell apart, so leaks were not measured")
    for sentence in warnings_of(found):
        print(f"warning: {sentence}")
