"""What does it cost one of several processes to move the weights, and what does it have to keep?

    python benchmarks/processes.py base
    python -m torch.distributed.run --nproc-per-node 2 benchmarks/processes.py base

Gradients are noise; the median of five steps. "State" is what training keeps of a preset beside
the activations: weights, gradients, their running mean, and what the optimiser remembers.
"""

import argparse
import statistics
import time

import torch
from torch import nn

from timbrel.network import PRESETS, Network
from timbrel.training.optimiser import Optimiser
from timbrel.training.ranks import Ranks

STEPS = 5


def seconds(module: nn.Module, optimiser: Optimiser) -> float:
    """Of one step."""
    for parameter in module.parameters():
        parameter.grad = 1e-3 * torch.randn_like(parameter)
    begun = time.perf_counter()
    optimiser.step(1e-4)
    return time.perf_counter() - begun


def remembered(optimiser: Optimiser) -> int:
    """Numbers in the optimiser's own state on this process."""
    states = [] if optimiser.adamw is None else list(optimiser.adamw.state.values())
    tensors = [t for state in states for t in state.values() if isinstance(t, torch.Tensor)]
    return sum(t.numel() for t in [*tensors, *optimiser.muon.momentum])


def main() -> None:
    """Print a row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("preset", choices=PRESETS)
    network, ranks = Network(PRESETS[parser.parse_args().preset]()), Ranks()
    optimiser = Optimiser(network, ranks=ranks)
    median = statistics.median(seconds(network, optimiser) for _ in range(STEPS))
    count = sum(parameter.numel() for parameter in network.parameters())
    state = 4 * (3 * count + remembered(optimiser)) / 2**20
    if ranks.first:
        print("| processes | parameters | seconds a step | optimiser's state | state in all |")
        print("|---|---|---|---|---|")
        own = 4 * remembered(optimiser) / 2**20
        size = f"{count / 1e6:.1f} M"
        print(f"| {ranks.world} | {size} | {median:.2f} | {own:.0f} MiB | {state:.0f} MiB |")


if __name__ == "__main__":
    main()
