"""Latent -> log-magnitudes and where noise is: causal ConvNeXt blocks on the basis's guess."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from timbrel.codec.noise import BEGIN, FALL, PACE
from timbrel.nn.causal import CausalConv1d, ConvNeXtBlock, Stream


@dataclass(frozen=True)
class DecoderConfig:
    """Size of the decoder."""

    width: int = 384  # channels at the latent rate
    blocks: int = 5  # blocks at the latent rate
    fine_width: int = 256  # channels at the STFT rate
    fine_blocks: int = 3  # blocks at the STFT rate
    kernel: int = 7  # frames that a block sees
    noise_bands: int = 0  # bands in which it says how much is noise; 0: nothing is


class Decoder(nn.Module):
    """Learned correction of the smooth log-spectrum that the basis gives.

    Args:
        channels: latent channels.
        bins: STFT bins.
        stack: STFT frames per latent frame.
        config: sizes.
    """

    def __init__(self, channels: int, bins: int, stack: int, config: DecoderConfig) -> None:
        super().__init__()
        self.stack, self.fine_width = stack, config.fine_width
        self.enter = CausalConv1d(channels, config.width, config.kernel)
        self.coarse = nn.ModuleList(
            ConvNeXtBlock(config.width, config.kernel) for _ in range(config.blocks)
        )
        self.refine = nn.Conv1d(config.width, stack * config.fine_width, 1)
        self.fine = nn.ModuleList(
            ConvNeXtBlock(config.fine_width, config.kernel) for _ in range(config.fine_blocks)
        )
        self.norm = nn.LayerNorm(config.fine_width)
        self.leave = nn.Linear(config.fine_width, bins)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)
        self.noise: nn.Linear | None = None
        if config.noise_bands:
            sides = config.fine_width, 2 * config.noise_bands
            # which draws nothing, so a seed gives all other weights as without noise
            self.noise = nn.utils.skip_init(nn.Linear, *sides)
            nn.init.zeros_(self.noise.weight)
            logit, fall = self.noise.bias.detach().chunk(2)
            logit.fill_(BEGIN / PACE)
            fall.fill_(FALL / PACE)

    def forward(self, latent: Tensor, stream: Stream | None = None) -> tuple[Tensor, Tensor | None]:
        """Correct the basis's guess.

        Args:
            latent: (batch, channels, frames).
            stream: the past.

        Returns:
            What to add to log-magnitudes, (batch, bins, frames * stack), and what `Noise.angle`
            reads, (batch, 2 * noise_bands, frames * stack), if this decoder knows of noise.
        """
        x = self.enter(latent, stream)
        for block in self.coarse:
            x = block(x, stream)
        batch, _, frames = x.shape
        x = self.refine(x).reshape(batch, self.stack, self.fine_width, frames)
        x = x.permute(0, 2, 3, 1).reshape(batch, self.fine_width, frames * self.stack)
        for block in self.fine:
            x = block(x, stream)
        x = self.norm(x.transpose(1, 2))
        correction = torch.tanh(self.leave(x) / 6).mul(6).transpose(1, 2)
        return correction, None if self.noise is None else self.noise(x).transpose(1, 2)
