"""How near to the latent does one evaluation of the denoiser come, from how much noise?

    python benchmarks/times.py default --data runs/valid

At flow time 1 there is nothing but noise, so the conditions decide; a denoiser that knows no
more than the first guess (`conditions/outline.py`, recall) has its error there. Errors are
weighted as in training, over held-out passages, with notes and example, with notes alone,
and with neither.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from timbrel.data.batch import Batch
from timbrel.data.store import Store
from timbrel.diffusion.objective import interpolate
from timbrel.model import folder_of
from timbrel.serialize import load_codec, load_network
from timbrel.training.model import pairs_of
from timbrel.training.objective import BRANCHES, Objective
from timbrel.training.run import generator, torch_generator
from timbrel.training.settings import ModelTraining

TIMES = (1.0, 0.95, 0.9, 0.75, 0.5, 0.25)
BATCHES = 4


@torch.no_grad()
def errors(objective: Objective, batch: Batch, source: torch.Generator) -> dict[str, list[float]]:
    """Of the first guess and from every time, for each pattern of conditions."""
    network, latent = objective.network, batch.latent
    noise = torch.randn(latent.shape, generator=source)
    structure, timbre = objective.encode_structure(batch), objective.encode_timbre(batch)
    context = torch.zeros(len(latent), 1, latent.shape[2])

    def error(estimate: Tensor) -> float:
        weighted = network.channel_weight[:, None] * (estimate - latent).square()
        return float(weighted.mean())

    found = {}
    for name, with_structure, with_timbre in BRANCHES:
        kept = [torch.full((len(latent),), k) for k in (with_structure, with_timbre)]
        conditions = network.condition(structure, timbre, *kept)
        found[name] = [error(conditions.guess)]
        for time in TIMES:
            moment = torch.full((len(latent),), time)
            x = interpolate(latent, noise, moment)
            answer = network.denoiser(x, moment, conditions, context)
            found[name].append(error(x - time * answer))
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, required=True)
    arguments = parser.parse_args()
    folder, device = folder_of(arguments.model), torch.device("cpu")
    codec, network = load_codec(folder), load_network(folder)
    training = ModelTraining(batch=32, example_frames=256)
    pairs = pairs_of(Store.open(arguments.data), codec, network.config, training)
    objective, found = Objective(network, training, device), []
    for step in range(BATCHES):
        rng = generator(0, step, 0, purpose=9)
        batch = pairs.batch(training.batch, rng)
        found.append(errors(objective, batch, torch_generator(rng, device)))
    print("| conditions | first guess | " + " | ".join(f"t = {t:g}" for t in TIMES) + " |")
    print("|---" * (len(TIMES) + 2) + "|")
    for name, *_ in BRANCHES:
        columns = zip(*(batch[name] for batch in found), strict=True)
        row = [f"{sum(column) / BATCHES:.3f}" for column in columns]
        print(f"| {name} | " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
