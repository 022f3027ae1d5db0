"""Recall: what the example did when it played such notes.

One vector says what all notes of a timbre have in common. How its low notes differ from its
high ones, or a struck one from one that has rung for a second, is in the example itself: so
every frame that is to be played looks up the frames of the example in which like notes
sounded (attention from content to reference, as in Attentron, Choi et al., 2020, and
FragmentVC, Lin et al., 2021). It is done once per window, not once per step of the sampler
(docs/decisions/0015). What was found also tells how far the first guess can be trusted: of a
note that the example has, far; of one that it never plays, less (docs/decisions/0018).
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from timbrel.nn.attention import attend
from timbrel.nn.causal import ConvNeXtBlock, Norm


@dataclass(frozen=True)
class RecallConfig:
    """Size of recall."""

    layers: int = 0  # of attention; 0: the timbre is a vector and nothing else
    width: int = 192  # channels
    blocks: int = 2  # ConvNeXt blocks that read the example
    heads: int = 6  # of attention
    uncertainty: bool = False  # whether it says, frame by frame, how far off the guess is


@dataclass(frozen=True)
class Recalled:
    """What was found, to be added where notes and example are known.

    Attributes:
        code: (batch, structure_dim, frames), to the structure code.
        guess: (batch, channels, frames), to the first guess of the latent.
        log_deviation: (batch, channels, frames), to the logarithm of the guess's deviation;
            None: the same deviation everywhere.
    """

    code: Tensor
    guess: Tensor
    log_deviation: Tensor | None


class RecallLayer(nn.Module):
    """Attention from the notes to the memory, then a ConvNeXt block, on residual paths.

    Queries and keys begin equal, so that equal notes find each other from the first step on.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.memory_norm = Norm(width), Norm(width)
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        nn.init.normal_(self.query.weight, std=width**-0.5)
        self.key.load_state_dict(self.query.state_dict())
        self.value, self.leave = nn.Linear(width, width), nn.Linear(width, width)
        self.block = ConvNeXtBlock(width)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """(batch, width, frames), (batch, width, remembered) -> (batch, width, frames)."""
        h, known = self.norm(x.transpose(1, 2)), self.memory_norm(memory.transpose(1, 2))
        query, key, value = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part in (self.query(h), self.key(known), self.value(known))
        )
        h = attend(query, key, value).transpose(1, 2).flatten(2)
        out: Tensor = self.block(x + self.leave(h).transpose(1, 2))
        return out


class Recall(nn.Module):
    """Example and notes -> what to add to the structure code and to the first guess.

    Args:
        channels: latent channels.
        structure_dim: channels of the structure code.
        config: sizes.
    """

    def __init__(self, channels: int, structure_dim: int, config: RecallConfig) -> None:
        super().__init__()
        width = config.width
        self.enter = nn.Conv1d(channels, width, 1)
        self.notes = nn.Conv1d(structure_dim, width, 1)
        self.blocks = nn.ModuleList(ConvNeXtBlock(width) for _ in range(config.blocks))
        self.layers = nn.ModuleList(RecallLayer(width, config.heads) for _ in range(config.layers))
        self.norm = Norm(width)
        self.leave = nn.Linear(width, structure_dim + channels)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)
        self.sizes = [structure_dim, channels]
        self.uncertainty: nn.Linear | None = None
        if config.uncertainty:
            self.uncertainty = nn.Linear(width, channels)
            nn.init.zeros_(self.uncertainty.weight)
            nn.init.zeros_(self.uncertainty.bias)

    def remember(self, latent: Tensor, code: Tensor) -> Tensor:
        """Read an example.

        Args:
            latent: (batch, channels, frames).
            code: (batch, structure_dim, frames) of the notes heard in it; 0 if none are known.

        Returns:
            (batch, width, remembered).
        """
        x = self.enter(latent) + self.notes(code)
        for number, block in enumerate(self.blocks):
            if number == 1 and x.shape[2] > 1:
                x = F.avg_pool1d(x, 2, ceil_mode=True)
            x = block(x)
        return x

    def forward(self, code: Tensor, memory: Tensor) -> Recalled:
        """Look up notes.

        Args:
            code: (batch, structure_dim, frames) of what is to be played.
            memory: (batch, width, remembered) of the example.

        Returns:
            What to add; an untrained one adds nothing.
        """
        x = self.notes(code)
        for layer in self.layers:
            x = layer(x, memory)
        found = self.norm(x.transpose(1, 2))
        to_code, to_guess = self.leave(found).transpose(1, 2).split(self.sizes, 1)
        if self.uncertainty is None:
            return Recalled(to_code, to_guess, None)
        return Recalled(to_code, to_guess, self.uncertainty(found).transpose(1, 2))
