"""Adversary D_zeta: guesses timbre from structure; the encoder learns to defeat it."""

from collections.abc import Callable

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
    """Mean squared error of the guess, which the adversary minimises."""
    return F.mse_loss(adversary(structure), timbre.detach())


def chance_error(timbre: Tensor) -> Tensor:
    """Error of an adversary that always answers with the batch's mean: (batch, dim) -> scalar.

    An error far below this value means that structure carries timbre; near it, that this adversary
    finds none, which may be its own weakness: one trained on codes that stand still finds more.
    """
    return torch.var(timbre.detach(), dim=0, correction=0).mean()


def maximise_error(guess: Tensor, timbre: Tensor) -> Tensor:
    """What the structure encoder minimises in the paper (section 3.4): the error, negated.

    In units of chance, and no further than chance: beyond it there is nothing left to hide,
    and an encoder that drives the guess to be wrong tells as much as one that lets it be right.

    Args:
        guess: (batch, timbre_dim) of the adversary.
        timbre: (batch, timbre_dim).
    """
    ceiling = chance_error(timbre).clamp_min(1e-8)
    return -torch.minimum(F.mse_loss(guess, timbre.detach()), ceiling) / ceiling


def match_mean(guess: Tensor, timbre: Tensor) -> Tensor:
    """The encoder makes the guess the same for every item: the mean timbre, as by chance.

    In units of chance; zero when nothing is told apart. Arguments as of `maximise_error`.
    """
    target = timbre.detach()
    mean = target.mean(0, keepdim=True).expand_as(target)
    return F.mse_loss(guess, mean) / chance_error(timbre).clamp_min(1e-8)


# What the structure encoder minimises against the adversary, by name in `ModelTraining`.
CONFUSIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "error": maximise_error,
    "mean": match_mean,
}
