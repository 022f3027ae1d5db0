"""Rectified flow (Liu et al., 2023): straight paths between latents and noise."""

import torch
from torch import Tensor


def sample_times(batch: int, source: torch.Generator, device: torch.device) -> Tensor:
    """Flow times (batch,) in (0, 1), logit-normal: the middle of the path is hardest."""
    return torch.sigmoid(torch.randn(batch, generator=source, device=device))


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
        deviation: (batch, channels, 1) of the latent from the guess.

    Returns:
        Mean (batch, channels, frames) and standard deviation (batch, channels, 1).
    """
    t = time[:, None, None]
    variance = deviation.square()
    total = ((1 - t) * deviation).square() + t.square()
    mean = (t - (1 - t) * variance) / total * (x - (1 - t) * guess) - guess
    return mean, deviation / total.sqrt()


def flow_loss(estimate: Tensor, target: Tensor, weight: Tensor, given: Tensor) -> Tensor:
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
