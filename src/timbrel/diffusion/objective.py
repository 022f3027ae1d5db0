"""What the denoiser is trained on: rectified flow, or EDM; one network serves both.

Conventions: latent x_0, noise eps ~ N(0, 1), x_t = (1 - t) x_0 + t eps, velocity
v = eps - x_0. EDM's x_0 + sigma eps is the same point on another scale:
sigma = t / (1 - t) and x_t = x_sigma / (1 + sigma). So the objectives differ in three
things only: at which times they train, how much a time weighs, and where a sampler stops.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from timbrel.errors import ModelError


class Objective(Protocol):
    """Times, weights and the sampler's schedule."""

    def draw_times(self, batch: int, source: torch.Generator, device: torch.device) -> Tensor:
        """Flow times (batch,) in (0, 1) to train at."""

    def weight(self, time: Tensor) -> Tensor:
        """Weight (batch,) of the squared error of the velocity at those times."""

    def schedule(self, intervals: int) -> Tensor:
        """(intervals + 1,) falling times: from noise (near 1) to the latent (0)."""


@dataclass(frozen=True)
class RectifiedFlow:
    """Rectified flow (Liu et al., 2023) with logit-normal times (Esser et al., 2024)."""

    def draw_times(self, batch: int, source: torch.Generator, device: torch.device) -> Tensor:
        """The middle of the path is hardest and drawn most."""
        return torch.sigmoid(torch.randn(batch, generator=source, device=device))

    def weight(self, time: Tensor) -> Tensor:
        """All times alike."""
        return torch.ones_like(time)

    def schedule(self, intervals: int) -> Tensor:
        """Even steps."""
        return torch.linspace(1, 0, intervals + 1)


@dataclass(frozen=True)
class Edm:
    """EDM (Karras et al., 2022, table 1), as the paper uses it, in the flow's coordinates.

    Attributes:
        sigma_data: standard deviation of the latents, measured (`latent_deviation`).
        mean: of log sigma in training.
        deviation: of log sigma in training.
        sigma_min: where the sampler's last interval begins.
        sigma_max: where it starts.
        rho: how far steps crowd at low noise.
    """

    sigma_data: float
    mean: float = -1.2
    deviation: float = 1.2
    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0

    def draw_times(self, batch: int, source: torch.Generator, device: torch.device) -> Tensor:
        """Sigma is log-normal; t = sigma / (1 + sigma) is the sigmoid of its logarithm."""
        normal = torch.randn(batch, generator=source, device=device)
        return torch.sigmoid(self.mean + self.deviation * normal)

    def weight(self, time: Tensor) -> Tensor:
        """EDM's weight of the denoised latent, as a weight of the velocity.

        The denoised latent is x_t - t v, so its error is t times the velocity's, and
        (sigma^2 + s^2) / (sigma s)^2 * t^2 = (t^2 + s^2 (1 - t)^2) / s^2 with s = sigma_data.
        """
        return (time.square() + (self.sigma_data * (1 - time)).square()) / self.sigma_data**2

    def schedule(self, intervals: int) -> Tensor:
        """Karras' sigmas (equation 5) and a last step to 0, as flow times."""
        ramp = torch.linspace(0, 1, intervals, dtype=torch.float64)
        high, low = self.sigma_max ** (1 / self.rho), self.sigma_min ** (1 / self.rho)
        sigma = (high + ramp * (low - high)) ** self.rho
        return torch.cat([sigma / (1 + sigma), sigma.new_zeros(1)]).float()


def objective(name: str, sigma_data: float) -> Objective:
    """An objective by its name, "flow" or "edm".

    Raises:
        ModelError: there is no such objective.
    """
    objectives: dict[str, Objective] = {"flow": RectifiedFlow(), "edm": Edm(sigma_data)}
    if name not in objectives:
        raise ModelError(f"the objective is '{name}'; it can be {' or '.join(objectives)}")
    return objectives[name]


def interpolate(latent: Tensor, noise: Tensor, time: Tensor) -> Tensor:
    """x_t = (1 - t) x + t eps; latent and noise (batch, channels, frames), time (batch,)."""
    t = time[:, None, None]
    return (1 - t) * latent + t * noise


def velocity(latent: Tensor, noise: Tensor) -> Tensor:
    """Target of the denoiser, dx_t / dt = eps - x."""
    return noise - latent


def gaussian_velocity(
    x: Tensor, time: Tensor, guess: Tensor, deviation: Tensor
) -> tuple[Tensor, Tensor]:
    """What the velocity is if the latent is the guess plus Gaussian noise.

    With latent x_0 ~ N(g, s^2) and eps ~ N(0, 1), x_t = (1 - t) x_0 + t eps gives
    E[eps - x_0 | x_t] = (t - (1 - t) s^2) / D (x_t - (1 - t) g) - g and the deviation
    s / sqrt(D), where D = (1 - t)^2 s^2 + t^2. (With g = 0 it is the preconditioning of
    Karras et al., 2022, in the flow's terms.)

    Args:
        x: (batch, channels, frames) noisy latent.
        time: (batch,).
        guess: (batch, channels, frames).
        deviation: (batch, channels, 1 or frames) of the latent from the guess.

    Returns:
        Mean (batch, channels, frames) and standard deviation, shaped as `deviation`.
    """
    t = time[:, None, None]
    variance = deviation.square()
    total = ((1 - t) * deviation).square() + t.square()
    mean = (t - (1 - t) * variance) / total * (x - (1 - t) * guess) - guess
    return mean, deviation / total.sqrt()


def standardised(
    x: Tensor, time: Tensor, context: Tensor, guess: Tensor, deviation: Tensor
) -> Tensor:
    """How many standard deviations x lies off where the guess expects it.

    With the D of `gaussian_velocity`, (x - (1 - t) g) / sqrt(D); given frames are clean, t = 0.

    Args:
        x: (batch, channels, frames) noisy latent, clean where `context` is 1.
        time: (batch,).
        context: (batch, 1, frames) mask of given frames.
        guess: (batch, channels, frames).
        deviation: (batch, channels, 1 or frames) of the latent from the guess.

    Returns:
        (batch, channels, frames); of unit variance if guess and deviation are right.
    """
    t = time[:, None, None] * (1 - context)
    total = ((1 - t) * deviation).square() + t.square()
    return (x - (1 - t) * guess) / total.sqrt()


def velocity_loss(estimate: Tensor, target: Tensor, weight: Tensor, given: Tensor) -> Tensor:
    """Weighted squared error over the frames that are not given.

    Args:
        estimate: (batch, channels, frames).
        target: (batch, channels, frames).
        weight: (channels,), mean 1: how much a channel matters to the spectrum.
        given: (batch, 1, frames), 1 where frames were context.

    Returns:
        (batch,) loss per item.
    """
    error = ((estimate - target).square() * weight[:, None]).mean(1, keepdim=True)
    free = 1 - given
    return (error * free).sum((1, 2)) / free.sum((1, 2)).clamp_min(1)
