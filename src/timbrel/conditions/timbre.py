"""Timbre encoder E_T: a few seconds of latents -> one vector, constant in time."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from timbrel.nn.causal import ConvNeXtBlock


@dataclass(frozen=True)
class TimbreConfig:
    """Size of the timbre encoder."""

    width: int = 192  # channels
    blocks: int = 4  # ConvNeXt blocks; the frame rate halves after every second one
    dim: int = 48  # length of the timbre vector


@dataclass(frozen=True)
class Timbre:
    """The sound of an example.

    Attributes:
        vector: (batch, timbre_dim), of unit length: what all its notes have in common.
        memory: (batch, width, frames) of its single notes, for `Recall`; None: unknown.
        closer: the same for `Refinement`.
    """

    vector: Tensor
    memory: Tensor | None = None
    closer: Tensor | None = None

    def __len__(self) -> int:
        return len(self.vector)

    def part(self, items: slice) -> "Timbre":
        """Some of the items."""
        memory = None if self.memory is None else self.memory[items]
        return Timbre(
            self.vector[items], memory, None if self.closer is None else self.closer[items]
        )

    def expand(self, batch: int) -> "Timbre":
        """One item, repeated."""
        memory = None if self.memory is None else self.memory.expand(batch, -1, -1)
        closer = None if self.closer is None else self.closer.expand(batch, -1, -1)
        return Timbre(self.vector.expand(batch, -1), memory, closer)


class TimbreEncoder(nn.Module):
    """Attentive statistics over time (Okabe et al., 2018), then a point on the unit sphere.

    Mean and deviation over frames drop the order of the notes; the sphere bounds the
    code, so that no single example can push the denoiser out of what it has seen.

    Args:
        channels: latent channels.
        config: sizes.
    """

    def __init__(self, channels: int, config: TimbreConfig) -> None:
        super().__init__()
        self.enter = nn.Conv1d(channels, config.width, 1)
        self.blocks = nn.ModuleList(ConvNeXtBlock(config.width) for _ in range(config.blocks))
        self.attention = nn.Sequential(
            nn.Conv1d(config.width, config.width // 2, 1),
            nn.Tanh(),
            nn.Conv1d(config.width // 2, config.width, 1),
        )
        self.leave = nn.Sequential(
            nn.LayerNorm(2 * config.width), nn.Linear(2 * config.width, config.dim)
        )

    def forward(self, latent: Tensor) -> Tensor:
        """Encode an example: (batch, channels, frames) -> (batch, timbre_dim), of unit length."""
        x = self.enter(latent)
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index % 2 == 1 and x.shape[-1] > 1:
                x = F.avg_pool1d(x, 2, ceil_mode=True)
        weight = torch.softmax(self.attention(x), 2)
        mean = (weight * x).sum(2)
        deviation = ((weight * x.square()).sum(2) - mean.square()).clamp_min(1e-6).sqrt()
        return F.normalize(self.leave(torch.cat([mean, deviation], 1)), dim=1)


def contrastive_loss(
    first: Tensor, second: Tensor, identity: Tensor, temperature: float = 0.1
) -> Tensor:
    """InfoNCE: two passages of one instrument attract, passages of others repel.

    Args:
        first: (batch, dim) unit vectors.
        second: (batch, dim) unit vectors of other passages by the same instruments.
        identity: (batch,) instrument numbers; equal ones in a batch are no negatives.
        temperature: of the softmax.

    Returns:
        Scalar; log(batch) when nothing is told apart.
    """
    logits = first @ second.T / temperature
    same = identity[:, None] == identity[None, :]
    diagonal = torch.eye(len(first), dtype=torch.bool, device=first.device)
    logits = logits.masked_fill(same & ~diagonal, float("-inf"))
    target = torch.arange(len(first), device=first.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
