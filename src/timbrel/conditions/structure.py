"""Structure encoders E_S: notes, or audio -> one vector per latent frame."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from timbrel.conditions.outline import Envelopes
from timbrel.errors import InputError
from timbrel.nn.causal import CausalConv1d, ConvNeXtBlock


@dataclass(frozen=True)
class StructureConfig:
    """Size of a structure encoder, and what it reads."""

    source: str = "notes"  # "notes": a piano roll (written, or heard in audio); "cqt": the paper's
    dim: int = 160  # length of the structure vector
    blocks: int = 2  # ConvNeXt blocks
    width: int = 192  # channels inside an encoder of "cqt"
    levels: int = 0  # values that each channel of a "cqt" code can take, 2 or more; 0: any

    def __post_init__(self) -> None:
        if self.source not in ("notes", "cqt"):
            raise InputError(f"structure.source is '{self.source}'; it can be notes or cqt")
        if self.levels == 1 or self.levels < 0:
            raise InputError(f"structure.levels is {self.levels}; give 2 or more, or 0 for any")


@dataclass(frozen=True)
class Structure:
    """What is to be played.

    Attributes:
        code: (batch, structure_dim, frames), learned.
        levels: (batch, ENVELOPES, 128, frames) of the notes, if there are notes.
        drums: (batch,) bool, if there are notes.
    """

    code: Tensor
    levels: Tensor | None = None
    drums: Tensor | None = None

    def after(self, frame: int) -> "Structure":
        """Without the first frames."""
        return self.between(frame, self.code.shape[2])

    def between(self, start: int, stop: int) -> "Structure":
        """The frames from `start` to before `stop`."""
        levels = None if self.levels is None else self.levels[..., start:stop]
        return Structure(self.code[..., start:stop], levels, self.drums)

    def part(self, items: slice) -> "Structure":
        """Some of the items."""
        levels = None if self.levels is None else self.levels[items]
        drums = None if self.drums is None else self.drums[items]
        return Structure(self.code[items], levels, drums)

    def expand(self, batch: int) -> "Structure":
        """One item, repeated."""
        levels = None if self.levels is None else self.levels.expand(batch, -1, -1, -1)
        drums = None if self.drums is None else self.drums.expand(batch)
        return Structure(self.code.expand(batch, -1, -1), levels, drums)


class RollEncoder(nn.Module):
    """Piano roll -> structure; a roll carries no timbre, so the code may be wide.

    Args:
        config: sizes.
        frames_per_second: of the roll.
    """

    def __init__(self, config: StructureConfig, frames_per_second: float) -> None:
        super().__init__()
        self.envelopes = Envelopes(frames_per_second)
        self.drums = nn.Parameter(0.02 * torch.randn(config.dim))
        self.enter = CausalConv1d(3 * 128, config.dim, 5)
        self.blocks = nn.ModuleList(ConvNeXtBlock(config.dim) for _ in range(config.blocks))

    def forward(self, roll: Tensor, drums: Tensor) -> Structure:
        """Encode notes.

        Args:
            roll: (batch, 3, 128, frames) of onset, sounding, velocity, with ages if known.
            drums: (batch,) bool; pitches of drum tracks name instruments.
        """
        # ages are for envelopes alone
        return Structure(self.code(roll.clamp_min(0), drums), self.envelopes(roll), drums)

    def code(self, roll: Tensor, drums: Tensor) -> Tensor:
        """The learned part alone: (batch, structure_dim, frames)."""
        x = self.enter(roll.flatten(1, 2)) + self.drums[:, None] * drums[:, None, None]
        for block in self.blocks:
            x = block(x)
        return x


class CqtEncoder(nn.Module):
    """Constant-Q spectrum -> structure, narrow and bounded (paper, section 3.3).

    The bottleneck and the adversary keep timbre out. With `levels` the bottleneck is made of
    numbers that can take only so many values (finite scalar quantisation: Mentzer et al.,
    2024), so that it has a capacity in bits.

    Args:
        bins: of the constant-Q spectrum.
        config: sizes; the paper uses 16 channels.
    """

    def __init__(self, bins: int, config: StructureConfig) -> None:
        super().__init__()
        width = config.width
        self.levels = config.levels
        self.enter = CausalConv1d(bins, width, 3)
        self.blocks = nn.ModuleList(ConvNeXtBlock(width) for _ in range(config.blocks))
        self.leave = nn.Conv1d(width, config.dim, 1)

    def forward(self, cqt: Tensor) -> Structure:
        """(batch, bins, frames) -> code in [-1, 1]."""
        x = self.enter(cqt)
        for block in self.blocks:
            x = block(x)
        code = torch.tanh(self.leave(x))
        return Structure(quantise(code, self.levels) if self.levels else code)


def quantise(code: Tensor, levels: int) -> Tensor:
    """Round numbers in (-1, 1) to `levels` evenly spaced ones, -1 and 1 among them.

    Gradients pass as if nothing had been rounded.
    """
    half = (levels - 1) / 2
    rounded = torch.round((code + 1) * half) / half - 1
    return code + (rounded - code).detach()
