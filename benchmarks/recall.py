"""What is the memory of an example worth?

    python benchmarks/recall.py default --data runs/valid

Held-out loss of the denoiser (`valid/both` of a training) with all that the model has of the
example, and without its memory. A model came to rely on what is taken away, so the difference
is an upper bound.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from timbrel.conditions.timbre import Timbre
from timbrel.data.batch import Batch
from timbrel.data.store import Store
from timbrel.model import folder_of
from timbrel.serialize import load_codec, load_network
from timbrel.training.model import pairs_of
from timbrel.training.objective import Objective
from timbrel.training.settings import ModelTraining
from timbrel.training.validation import validate

BATCHES = 4


class WithoutMemory(Objective):
    """An objective that knows the vector of an example and no more."""

    def encode_timbre(self, batch: Batch, learns: bool = True) -> Timbre:
        """See `Objective`."""
        return replace(super().encode_timbre(batch, learns), memory=None)


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
    for name, kind in (("all", Objective), ("no memory", WithoutMemory)):
        objective = kind(network, training, torch.device("cpu"))
        print(f"{validate(objective, pairs, BATCHES)['valid/both']:.4f}  {name}", flush=True)


if __name__ == "__main__":
    main()
