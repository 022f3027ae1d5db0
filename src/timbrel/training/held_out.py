"""A network's losses on sounds that it was not trained on, whatever it was trained for."""

import torch

from timbrel.codec.codec import Codec
from timbrel.data.pairs import Corruption
from timbrel.data.store import Store
from timbrel.errors import TrainingError
from timbrel.network import Network
from timbrel.training.model import pairs_of
from timbrel.training.objective import Objective
from timbrel.training.settings import ModelTraining
from timbrel.training.validation import validate

MEASURE = 2  # of what these losses are: raised when they become others
ITEMS = 256  # that losses are measured on
BATCH = 16


def held_out_losses(
    network: Network, codec: Codec, store: Store, training: ModelTraining, device: torch.device
) -> dict[str, float]:
    """Mean losses over `ITEMS` draws from a store, always the same ones.

    Whatever the network was trained for, it gets notes as written, or audio of another rendition,
    and an example that plays something else.

    Args:
        network: to be measured.
        codec: of its latents.
        store: with such latents.
        training: its lengths and its seed are those of the items; all else is the same for all
            networks.
        device: where to compute.

    Returns:
        "valid/both", "valid/structure", "valid/timbre", "valid/neither": the denoiser's, told of
        these; "valid/guess": what it begins with, where notes are drawn.

    Raises:
        DataError: the store lacks what the network needs.
        TrainingError: a few-step network, which learned from a teacher and not from data.
    """
    if network.config.denoiser.few_step:
        raise TrainingError(
            "a model of few steps learned from its teacher, so these losses say nothing of it; "
            "measure the model that it was distilled from"
        )
    task = ModelTraining(
        batch=BATCH,
        frames=training.frames,
        example_frames=training.example_frames,
        seed=training.seed,
        corruption=Corruption(share=0.0),
    )
    pairs = pairs_of(store, codec, network.config, task)
    return validate(Objective(network, task, device), pairs, ITEMS // BATCH)
