"""From noise to latent along the flow."""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

Velocity = Callable[[Tensor, Tensor], Tensor]


def euler(velocity: Velocity, noise: Tensor, given: Tensor, context: Tensor, steps: int) -> Tensor:
    """Integrate from t = 1 to 0 with `steps` evaluations.

    Few-step Heun fails on this problem (docs/decisions/0004); Euler does not.

    Args:
        velocity: (x (batch, channels, frames), time (batch,)) -> velocity.
        noise: (batch, channels, frames), where the path starts.
        given: (batch, channels, frames); used where `context` is 1.
        context: (batch, 1, frames) mask.
        steps: evaluations, at least 1.

    Returns:
        (batch, channels, frames).
    """
    times = torch.linspace(1, 0, steps + 1, device=noise.device)
    x = noise
    for now, then in itertools.pairwise(times):
        x = torch.where(context > 0, given, x)
        x = x + (then - now) * velocity(x, now.expand(len(x)))
    return torch.where(context > 0, given, x)
