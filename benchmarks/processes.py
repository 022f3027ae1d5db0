"""What does a step cost one of several processes, and what does it have to keep?

    python benchmarks/processes.py base
    python -m torch.distributed.run --nproc-per-node 2 benchmarks/processes.py base
    python -m torch.distributed.run --nproc-per-node 2 benchmarks/processes.py base --shard

"Passes" are the denoiser's, of two items of 128 frames, forwards and backwards, with what processes
send each other; "moves" are the optimiser's, by gradients of noise. Medians of five. "State" is
what training keeps of a preset beside the activations: weights, gradients, their running mean, and
what the optimiser remembers.
"""

import argparse
import statistics
import time

import torch
from torch import nn

from timbrel.diffusion.unet import Conditions
from timbrel.network import PRESETS, Network
from timbrel.training.optimiser import Optimiser
from timbrel.training.ranks import Ranks
from timbrel.training.sharding import check_several, cut, own

STEPS = 5
ITEMS, FRAMES = 2, 128  # of a process's batch


def seconds(module: nn.Module, optimiser: Optimiser) -> float:
    """Of one step."""
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
        own(parameter.grad).normal_(std=1e-3)
    begun = time.perf_counter()
    optimiser.step(1e-4)
    return time.perf_counter() - begun


def passes(network: Network, ranks: Ranks) -> float:
    """Seconds of the denoiser, forwards and backwards, and of the average of its gradients."""
    config, channels = network.config, network.config.codec.channels
    conditions = Conditions(
        torch.randn(ITEMS, config.structure.dim, FRAMES),
        torch.randn(ITEMS, config.timbre.dim),
        torch.randn(ITEMS, channels, FRAMES),
        torch.ones(ITEMS, channels, 1),
    )
    noisy, context = torch.randn(ITEMS, channels, FRAMES), torch.zeros(ITEMS, 1, FRAMES)
    begun = time.perf_counter()
    network.denoiser(noisy, torch.rand(ITEMS), conditions, context).square().mean().backward()
    ranks.average_gradients(network.denoiser)
    network.zero_grad()
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
    parser.add_argument("--shard", action="store_true", help="cut the denoiser's weights")
    given = parser.parse_args()
    network, ranks = Network(PRESETS[given.preset]()), Ranks()
    count = sum(parameter.numel() for parameter in network.parameters())
    if given.shard:
        check_several(ranks)
        cut(network.denoiser, ranks)
    optimiser = Optimiser(network, ranks=ranks)
    passing = statistics.median(passes(network, ranks) for _ in range(STEPS))
    moving = statistics.median(seconds(network, optimiser) for _ in range(STEPS))
    kept = sum(own(parameter).numel() for parameter in network.parameters())
    state = 4 * (3 * kept + remembered(optimiser)) / 2**20
    if ranks.first:
        print("| processes | parameters | passes | moves | optimiser's state | state in all |")
        print("|---|---|---|---|---|---|")
        optimisers = 4 * remembered(optimiser) / 2**20
        size = f"{count / 1e6:.1f} M"
        times = f"{passing:.2f} s | {moving:.2f} s"
        print(f"| {ranks.world} | {size} | {times} | {optimisers:.0f} MiB | {state:.0f} MiB |")


if __name__ == "__main__":
    main()
