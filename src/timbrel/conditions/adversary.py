"""Adversary D_zeta: guesses timbre from structure; the encoder learns to defeat it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Adversary(nn.Module):
    """Structure -> estimate of the timbre vector (paper, section 3.4).

    Args:
        structure_dim: channels of the structure.
        timbre_dim: length of the timbre vector.
        width: hidden channels.
    """

    def __init__(self, structure_dim: int, timbre_dim: int, width: int = 128) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(structure_dim, width, 5, padding=2),
            nn.SiLU(),
            nn.Conv1d(width, width, 5, padding=2),
            nn.SiLU(),
        )
        self.leave = nn.Linear(width, timbre_dim)

    def forward(self, structure: Tensor) -> Tensor:
        """(batch, structure_dim, frames) -> (batch, timbre_dim)."""
        estimate: Tensor = self.leave(self.layers(structure).mean(2))
        return estimate


def guess_error(adversary: Adversary, structure: Tensor, timbre: Tensor) -> Tensor:
    """Mean squared error of the guess; the adversary minimises it, the encoder maximises it."""
    return F.mse_loss(adversary(structure), timbre.detach())


def chance_error(timbre: Tensor) -> Tensor:
    """Error of an adversary that always answers with the batch's mean: (batch, dim) -> scalar.

    An error near this value means that nothing leaks; far below, that structure carries
    timbre.
    """
    return torch.var(timbre.detach(), dim=0, correction=0).mean()
