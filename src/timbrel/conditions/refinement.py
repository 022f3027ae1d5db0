"""Refinement: a second, closer look at the example, by who knows the first guess.

What a sampler begins with decides how near the timbre comes (docs/decisions/0021), and the
guess of outline and recall is made by small networks. This one is larger, sees their guess,
and corrects it: it is added to a model that was trained without, and learns alone. As recall,
it runs once per window, so its size costs less than the denoiser's, which runs at every step
(docs/decisions/0022).
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from timbrel.conditions.outline import ENVELOPES, PITCH_KNOTS, hats
from timbrel.conditions.recall import RecallLayer
from timbrel.nn.causal import ConvNeXtBlock, Norm

FAINTEST = 1e-3  # amplitude of a note that has died away: 60 dB below the loudest


@dataclass(frozen=True)
class RefinementConfig:
    """Size of refinement."""

    layers: int = 0  # of attention; 0: the first guess is the last
    width: int = 256  # channels
    blocks: int = 4  # ConvNeXt blocks that read the example
    heads: int = 8  # of attention
    fading: bool = False  # whether it is told how far notes have died away


class Fading(nn.Module):
    """How far notes have died away, by every envelope and in every register.

    The learned code of notes is of what sounds, not of since when: without this, a note that
    was struck ten seconds ago was corrected as if it had been half a second
    (docs/decisions/0039).

    Args:
        width: channels; a new one tells nothing.
    """

    registers: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("registers", hats(128, PITCH_KNOTS), persistent=False)
        self.told = nn.Conv1d(ENVELOPES * PITCH_KNOTS, width, 1, bias=False)
        nn.init.zeros_(self.told.weight)

    def forward(self, levels: Tensor) -> Tensor:
        """(batch, ENVELOPES, 128, frames) of `Envelopes` -> (batch, width, frames)."""
        by_register = torch.einsum("nept,pk->nekt", levels, self.registers)
        # as loudness is heard: what dies away evenly falls on a line
        decades = torch.log10(by_register + FAINTEST) - math.log10(FAINTEST)
        out: Tensor = self.told(decades.flatten(1, 2))
        return out


class Refinement(nn.Module):
    """Example, notes and first guess -> a correction of the guess, and of how far off it is.

    Args:
        channels: latent channels.
        structure_dim: channels of the structure code.
        timbre_dim: length of the timbre vector.
        config: sizes.
    """

    def __init__(
        self, channels: int, structure_dim: int, timbre_dim: int, config: RefinementConfig
    ) -> None:
        super().__init__()
        width = config.width
        self.enter, self.guess = nn.Conv1d(channels, width, 1), nn.Conv1d(channels, width, 1)
        self.notes = nn.Conv1d(structure_dim, width, 1)
        self.timbre = nn.Linear(timbre_dim, width)
        self.fading = Fading(width) if config.fading else None
        # entries of a unit vector are small; bring them to unit size
        self.scale = math.sqrt(timbre_dim)
        self.blocks = nn.ModuleList(ConvNeXtBlock(width) for _ in range(config.blocks))
        self.layers = nn.ModuleList(RecallLayer(width, config.heads) for _ in range(config.layers))
        self.norm = Norm(width)
        self.leave = nn.Linear(width, 2 * channels)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def remember(self, latent: Tensor, code: Tensor, vector: Tensor) -> Tensor:
        """Read an example.

        Args:
            latent: (batch, channels, frames).
            code: (batch, structure_dim, frames) of the notes heard in it; 0 if none are known.
            vector: (batch, timbre_dim), its timbre.

        Returns:
            (batch, width, remembered).
        """
        x = self.enter(latent) + self.notes(code) + self._whole(vector)
        for number, block in enumerate(self.blocks):
            if number == 1 and x.shape[2] > 1:
                x = F.avg_pool1d(x, 2, ceil_mode=True)
            x = block(x)
        return x

    def forward(
        self, code: Tensor, guess: Tensor, vector: Tensor, memory: Tensor, levels: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Look closer.

        Args:
            code: (batch, structure_dim, frames) of what is to be played.
            guess: (batch, channels, frames), the first one.
            vector: (batch, timbre_dim).
            memory: (batch, width, remembered) of the example.
            levels: (batch, ENVELOPES, 128, frames) of the notes.

        Returns:
            Twice (batch, channels, frames): what to add to the guess, and to the logarithm of
            its deviation; an untrained one adds nothing.
        """
        x = self.notes(code) + self.guess(guess) + self._whole(vector)
        if self.fading is not None:
            x = x + self.fading(levels)
        for layer in self.layers:
            x = layer(x, memory)
        correction, log_deviation = self.leave(self.norm(x.transpose(1, 2))).chunk(2, 2)
        return correction.transpose(1, 2), log_deviation.transpose(1, 2)

    def _whole(self, vector: Tensor) -> Tensor:
        """(batch, width, 1): the same for all frames."""
        told: Tensor = self.timbre(vector * self.scale)[:, :, None]
        return told
