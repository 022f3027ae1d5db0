"""How well does a model follow timbres that it never heard, and what is in the way?

    python benchmarks/timbres.py default --data runs/train --data runs/valid

For some timbres of each store, the error of the model's first guess of a passage, as a share
of the latent's variance, when the timbre vector is: that of another timbre; that of an
example that plays other notes; that of the passage itself; and the best that there is, found
by gradient descent. From the second to the last is what a better encoder could gain, what
remains is the instrument's.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from timbrel.conditions.timbre import Timbre
from timbrel.data.batch import WARMUP
from timbrel.data.store import Store
from timbrel.model import folder_of
from timbrel.network import Network
from timbrel.roll import roll
from timbrel.serialize import load_codec, load_network

FRAMES = 256
START = 2.0  # seconds
STEPS, RATE = 60, 0.02  # of the descent


def passages(store: Store, frame_rate: float, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Latents and rolls of targets, latents of examples, of `count` pitched timbres."""
    single = [
        items
        for _, items in sorted(store.by_identity.items())
        if len(items) >= 2 and not store.items[items[0]].instrument.endswith("ensemble")
    ]
    pitched = [items for items in single if not store.items[items[0]].drums]
    chosen = np.random.default_rng(0).permutation(len(pitched))[:count]
    first = round(START * frame_rate)

    def latent(index: int) -> np.ndarray:
        return store.array("latents", index)[first : first + FRAMES].T.astype(np.float32)

    def notes(index: int) -> np.ndarray:
        begin = (first - WARMUP) / frame_rate
        return roll(store.notes(index), frame_rate, WARMUP + FRAMES, begin)

    pairs = [pitched[k][:2] for k in chosen]
    parts = [(latent(a), notes(a), latent(b)) for a, b in pairs]
    targets, rolls, examples = (torch.from_numpy(np.stack(p)) for p in zip(*parts, strict=True))
    return targets, rolls, examples


def errors(network: Network, targets: Tensor, rolls: Tensor, examples: Tensor) -> list[float]:
    """The four errors (see above)."""
    network.eval().requires_grad_(False)
    all_of_them = torch.ones(len(targets), dtype=torch.bool)
    structure = network.structure_encoder(rolls, ~all_of_them).after(WARMUP)

    def error(vector: Tensor) -> Tensor:
        # without a memory of the example: what the vector alone says
        guess = network.condition(structure, Timbre(vector), all_of_them, all_of_them).guess
        weighted = network.channel_weight[:, None] * (guess - targets).square()
        return weighted.mean((1, 2))

    heard, own = network.timbre_encoder(examples), network.timbre_encoder(targets)
    best = own.clone().requires_grad_()
    optimiser = torch.optim.Adam([best], lr=RATE)
    for _ in range(STEPS):
        optimiser.zero_grad()
        error(F.normalize(best, dim=1)).sum().backward()
        optimiser.step()
    with torch.no_grad():
        vectors = (heard.roll(1, 0), heard, own, F.normalize(best, dim=1))
        return [float(error(vector).mean()) for vector in vectors]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, action="append", required=True)
    parser.add_argument("--count", type=int, default=32, help="Timbres of each store.")
    arguments = parser.parse_args()
    folder = folder_of(arguments.model)
    codec, network = load_codec(folder), load_network(folder)
    print("| store | another timbre | the example | the passage itself | the best vector |")
    print("|---|---|---|---|---|")
    for path in arguments.data:
        parts = passages(Store.open(path), codec.frame_rate, arguments.count)
        row = " | ".join(f"{value:.2f}" for value in errors(network, *parts))
        print(f"| {path.name} | {row} |", flush=True)


if __name__ == "__main__":
    main()
