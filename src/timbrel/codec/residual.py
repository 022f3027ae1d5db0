"""A learned residual: what the fixed basis drops of a log-spectrum, put into its latent.

It begins at zero, so a codec starts as the basis alone, and it is bounded and pulled
towards zero, so latents stay near those of the basis (docs/decisions/0001).
"""

import torch
from torch import Tensor, nn

from timbrel.nn.causal import ConvNeXtBlock, Stream

LARGEST = 1.0  # deviations of the latent by which it can move a channel
BLOCKS = 3


class Residual(nn.Module):
    """Dropped log-magnitudes -> what is added to the latent.

    Args:
        bins: STFT bins.
        stack: STFT frames per latent frame.
        channels: of the latent.
        width: channels inside.
    """

    fixed: Tensor

    def __init__(self, bins: int, stack: int, channels: int, width: int) -> None:
        super().__init__()
        self.stack = stack
        self.enter = nn.Conv1d(stack * bins, width, 1)
        self.blocks = nn.ModuleList(ConvNeXtBlock(width) for _ in range(BLOCKS))
        self.leave = nn.Conv1d(width, channels, 1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]
        # whether it has learned: from then on the latent does not change
        self.register_buffer("fixed", torch.tensor(False))

    def forward(self, dropped: Tensor, stream: Stream | None = None) -> Tensor:
        """What to add.

        Args:
            dropped: (batch, bins, frames * stack), log-magnitudes less the basis's guess of them.
            stream: the past.

        Returns:
            (batch, channels, frames), at most `LARGEST`.
        """
        batch, bins, frames = dropped.shape
        x = dropped.reshape(batch, bins, frames // self.stack, self.stack)
        x = self.enter(x.permute(0, 3, 1, 2).reshape(batch, self.stack * bins, -1))
        for block in self.blocks:
            x = block(x, stream)
        return LARGEST * torch.tanh(self.leave(x) / LARGEST)
