"""Structure encoders E_S: notes, or audio -> one vector per latent frame."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from timbrel.codec.basis import SpectralBasis
from timbrel.codec.codec import CodecConfig
from timbrel.conditions.sketch import Sketch
from timbrel.nn.causal import CausalConv1d, ConvNeXtBlock


@dataclass(frozen=True)
class StructureConfig:
    """Size of a structure encoder, and what it reads."""

    source: str = "notes"  # "notes": a piano roll (written, or heard in audio); "cqt": the paper's
    dim: int = 160  # length of the learned part of the structure vector
    blocks: int = 2  # ConvNeXt blocks


# Mixtures of the sketches that reach the denoiser whole, channel by channel.
DETAILS = 2


class RollEncoder(nn.Module):
    """Piano roll -> structure; a roll carries no timbre, so the code may be wide.

    The structure has a learned part of `config.dim` channels and `DETAILS` weighted
    means of the sketches in latent coordinates: where exactly partials lie would not fit
    through the learned part.

    Args:
        codec: in whose coordinates the notes are sketched.
        config: sizes.
    """

    def __init__(self, codec: CodecConfig, config: StructureConfig) -> None:
        super().__init__()
        self.sketch = Sketch(codec)
        self.kinds = self.sketch.channels // codec.channels
        self.channels = config.dim + DETAILS * codec.channels
        weights = 0.05 * torch.randn(DETAILS, self.kinds, codec.channels) + 1 / self.kinds
        self.detail = nn.Parameter(weights)
        self.drums = nn.Parameter(0.02 * torch.randn(config.dim))
        self.enter = CausalConv1d(3 * 128, config.dim, 5)
        self.enter_sketch = nn.Conv1d(self.sketch.channels, config.dim, 1)
        self.blocks = nn.ModuleList(ConvNeXtBlock(config.dim) for _ in range(config.blocks))

    def adopt(self, basis: SpectralBasis) -> None:
        """Tie the sketch to a fitted basis."""
        self.sketch.adopt(basis)

    def forward(self, roll: Tensor, drums: Tensor) -> Tensor:
        """Encode notes.

        Args:
            roll: (batch, 3, 128, frames) of onset, sounding, velocity.
            drums: (batch,) bool; pitches of drum tracks name instruments.

        Returns:
            (batch, structure_dim, frames).
        """
        pitched = (~drums).float()[:, None, None]
        sketches = self.sketch(roll) * pitched
        kinds = sketches.unflatten(1, (self.kinds, -1))
        detail = torch.einsum("dkc,nkct->ndct", self.detail, kinds).flatten(1, 2)
        x = self.enter(roll.flatten(1, 2)) + self.enter_sketch(sketches)
        x = x + self.drums[:, None] * (1 - pitched)
        for block in self.blocks:
            x = block(x)
        return torch.cat([x, detail], 1)


class CqtEncoder(nn.Module):
    """Constant-Q spectrum -> structure, narrow and bounded (paper, section 3.3).

    The bottleneck and the adversary keep timbre out.

    Args:
        bins: of the constant-Q spectrum.
        config: sizes; the paper uses 16 channels.
    """

    def __init__(self, bins: int, config: StructureConfig) -> None:
        super().__init__()
        width = 192
        self.channels = config.dim
        self.enter = CausalConv1d(bins, width, 3)
        self.blocks = nn.ModuleList(ConvNeXtBlock(width) for _ in range(config.blocks))
        self.leave = nn.Conv1d(width, config.dim, 1)

    def forward(self, cqt: Tensor) -> Tensor:
        """(batch, bins, frames) -> (batch, structure_dim, frames) in (-1, 1)."""
        x = self.enter(cqt)
        for block in self.blocks:
            x = block(x)
        return torch.tanh(self.leave(x))
