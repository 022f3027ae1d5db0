"""What is the memory of an example worth, and what the notes that the timbre encoder is told?

    python benchmarks/recall.py default --data runs/valid

Held-out loss of the denoiser (`valid/both` of a training) with all that the model has of the
example; with a timbre vector that was not told its notes; and without the memory. A model
came to rely on what is taken away, so the differences are upper bounds.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from timbrel.conditions.timbre import Timbre
from timbrel.data.pairs import Batch
from timbrel.data.store import Store
from timbrel.model import folder_of
from timbrel.serialize import load_codec, load_network
from timbrel.training.model import pairs_of, validate
from timbrel.training.objective import Objective
from timbrel.training.settings import ModelTraining

BATCHES = 4
Change = Callable[[Objective, Batch, Timbre], Timbre]


def untold(objective: Objective, batch: Batch, timbre: Timbre) -> Timbre:
    """The vector as it is when no notes are known."""
    example = torch.from_numpy(batch.example)
    return replace(timbre, vector=objective.network.timbre_encoder(example))


CHANGES: dict[str, Change] = {
    "all": lambda _objective, _batch, timbre: timbre,
    "vector not told the notes": untold,
    "no memory": lambda _objective, _batch, timbre: replace(timbre, memory=None),
}


class Changed(Objective):
    """An objective that takes a part of the timbre away."""

    name = "all"

    def encode_timbre(self, batch: Batch, learns: bool = True) -> Timbre:
        """See `Objective`."""
        return CHANGES[self.name](self, batch, super().encode_timbre(batch, learns))


def main() -> None:
    """Print the losses."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, required=True)
    arguments = parser.parse_args()
    folder = folder_of(arguments.model)
    codec, network = load_codec(folder), load_network(folder)
    training = ModelTraining(example_frames=256)
    pairs = pairs_of(Store.open(arguments.data), codec, network.config, training)
    for name in CHANGES:
        objective = Changed(network, training, torch.device("cpu"))
        objective.name = name
        print(f"{validate(objective, pairs, BATCHES)['valid/both']:.4f}  {name}", flush=True)


if __name__ == "__main__":
    main()
