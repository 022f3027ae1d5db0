"""From noise to latent along the flow: dx / dt = v(x, t), from t = 1 to 0.

All samplers take `steps`, the number of evaluations of the denoiser that they may spend,
and stop where the objective's schedule says. Frames that are given stay as they are.
"""

import itertools
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

Velocity = Callable[[Tensor, Tensor, Tensor], Tensor]
Schedule = Callable[[int], Tensor]


class Sampler(Protocol):
    """Integrates a velocity."""

    def __call__(
        self,
        velocity: Velocity,
        noise: Tensor,
        given: Tensor,
        context: Tensor,
        schedule: Schedule,
        steps: int,
    ) -> Tensor:
        """Sample.

        Args:
            velocity: (x (batch, channels, frames), time (batch,), size (batch,)) -> velocity,
                where `size` is the time until the next stop.
            noise: (batch, channels, frames), where the path starts.
            given: (batch, channels, frames); used where `context` is 1.
            context: (batch, 1, frames) mask.
            schedule: number of intervals -> falling times.
            steps: evaluations, at least 1.

        Returns:
            (batch, channels, frames).
        """


def euler(
    velocity: Velocity,
    noise: Tensor,
    given: Tensor,
    context: Tensor,
    schedule: Schedule,
    steps: int,
) -> Tensor:
    """First order; blunt, so its outputs are clear and dull (docs/decisions/0004)."""
    times = schedule(steps).to(noise)
    x = times[0] * noise
    for now, then in itertools.pairwise(times):
        x = torch.where(context > 0, given, x)
        x = x + (then - now) * _at(velocity, x, now, now - then)
    return torch.where(context > 0, given, x)


def heun(
    velocity: Velocity,
    noise: Tensor,
    given: Tensor,
    context: Tensor,
    schedule: Schedule,
    steps: int,
) -> Tensor:
    """Second order (Karras et al., 2022, algorithm 1): two evaluations an interval but the last."""
    times = schedule((steps + 1) // 2).to(noise)
    x = times[0] * noise
    for now, then in itertools.pairwise(times):
        x = torch.where(context > 0, given, x)
        first = _at(velocity, x, now, now - then)
        ahead = x + (then - now) * first
        if then > 0:
            ahead = torch.where(context > 0, given, ahead)
            second = _at(velocity, ahead, then, now - then)
            ahead = x + (then - now) * (first + second) / 2
        x = ahead
    return torch.where(context > 0, given, x)


def multistep(
    velocity: Velocity,
    noise: Tensor,
    given: Tensor,
    context: Tensor,
    schedule: Schedule,
    steps: int,
) -> Tensor:
    """Second order at one evaluation an interval (Adams and Bashforth); Euler's first step."""
    times = schedule(steps).to(noise)
    x, before, last = times[0] * noise, None, None
    for now, then in itertools.pairwise(times):
        x = torch.where(context > 0, given, x)
        slope = _at(velocity, x, now, now - then)
        drift = slope
        if before is not None and last is not None:
            drift = slope + (slope - before) * (now - then) / (2 * (last - now))
        x = x + (then - now) * drift
        before, last = slope, now
    return torch.where(context > 0, given, x)


def _at(velocity: Velocity, x: Tensor, now: Tensor, size: Tensor) -> Tensor:
    """The velocity, at the same time for all items."""
    return velocity(x, now.expand(len(x)), size.expand(len(x)))


SAMPLERS: dict[str, Sampler] = {"euler": euler, "heun": heun, "multistep": multistep}
# How models of each objective are sampled where only quality counts: well past the steps after
# which little changes.
THOROUGH: dict[str, dict[str, int | str]] = {
    "flow": {"steps": 8, "sampler": "euler"},
    "edm": {"steps": 24, "sampler": "heun"},
}
