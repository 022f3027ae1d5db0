"""Denoiser D_theta: a 1-D UNet over latent frames."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from timbrel.diffusion.guidance import FEW_STEP_GUIDANCE
from timbrel.diffusion.objective import gaussian_velocity, standardised
from timbrel.errors import InputError
from timbrel.nn.attention import attend
from timbrel.nn.causal import ChannelNorm, Norm


@dataclass(frozen=True)
class UNetConfig:
    """Size of the denoiser."""

    widths: tuple[int, ...] = (128, 192, 256)  # channels per level; the rate halves between
    blocks: int = 1  # residual blocks per level and side
    embedding: int = 256  # of noise level and timbre
    heads: int = 4  # attention heads at the lowest level
    structure: int = 160  # channels of structure and guess that join every level
    standardised: bool = False  # whether it also sees how far the noisy latent is off the guess
    detail: int = 0  # channels of the blocks that refine every frame; 0: none
    detail_blocks: int = 6
    few_step: bool = False  # whether it is told step size and guidance (`Shortcut`)
    halvings: int = 3  # of a few-step one: it learned steps of 1, 1/2, ... 1 / 2 ** halvings

    def __post_init__(self) -> None:
        whole = all(isinstance(width, int) and width > 0 for width in self.widths)
        if not self.widths or not whole or self.heads < 1 or self.widths[-1] % self.heads:
            raise InputError(
                f"denoiser.widths is {list(self.widths)}; give channels of one level or more, of "
                f"the last a multiple of its {self.heads} heads"
            )
        if self.embedding % 2:
            raise InputError(
                f"denoiser.embedding is {self.embedding}; give an even number (half are sines)"
            )

    @property
    def most_steps(self) -> int | None:
        """That a few-step denoiser learned to take; None: it is none, and takes any number."""
        return 2**self.halvings if self.few_step else None


@dataclass(frozen=True)
class Conditions:
    """All that steers the denoiser, with absent conditions already replaced.

    Attributes:
        code: (batch, structure_dim, frames) of the structure.
        timbre: (batch, timbre_dim).
        guess: (batch, channels, frames), what the latent is near to.
        deviation: (batch, channels, 1 or frames), how near.
    """

    code: Tensor
    timbre: Tensor
    guess: Tensor
    deviation: Tensor

    def part(self, items: slice) -> "Conditions":
        """Of some of the items."""
        return Conditions(
            self.code[items], self.timbre[items], self.guess[items], self.deviation[items]
        )

    def float(self) -> "Conditions":
        """In single precision."""
        return Conditions(
            self.code.float(), self.timbre.float(), self.guess.float(), self.deviation.float()
        )


@dataclass(frozen=True)
class Shortcut:
    """What a few-step denoiser is told besides (Frans et al., 2025), each (batch,).

    Attributes:
        size: flow time that the step will cover, in [0, 1]; 0 asks for the velocity itself.
        structure: guidance scale that the answer has folded in.
        timbre: guidance scale that the answer has folded in.
    """

    size: Tensor
    structure: Tensor
    timbre: Tensor

    def part(self, items: slice) -> "Shortcut":
        """Of some of the items."""
        return Shortcut(self.size[items], self.structure[items], self.timbre[items])


# Deviations off the guess that are told: what was given clean may lie far off a sure one.
LARGEST_OFF = 8.0


class FilmBlock(nn.Module):
    """Two convolutions on a residual path, modulated by an embedding (Perez et al., 2018).

    Norms are over channels of each frame, never over time, so a window's content does
    not depend on its length.
    """

    def __init__(
        self, channels_in: int, channels_out: int, embedding: int, kernel: int = 5
    ) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels_in)
        self.first = nn.Conv1d(channels_in, channels_out, kernel, padding=kernel // 2)
        self.film = nn.Linear(embedding, 2 * channels_out)
        self.second_norm = ChannelNorm(channels_out, elementwise_affine=False)
        self.second = nn.Conv1d(channels_out, channels_out, kernel, padding=kernel // 2)
        self.skip = (
            nn.Conv1d(channels_in, channels_out, 1)
            if channels_in != channels_out
            else nn.Identity()
        )
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """(batch, channels_in, frames), (batch, embedding) -> (batch, channels_out, frames)."""
        scale, shift = self.film(embedding)[:, :, None].chunk(2, 1)
        h = self.first(F.silu(self.norm(x)))
        h = self.second_norm(h) * (1 + scale) + shift
        out: Tensor = self.skip(x) + self.second(F.silu(h))
        return out


class Attention(nn.Module):
    """Self-attention over frames, residual."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = Norm(channels)
        self.enter = nn.Linear(channels, 3 * channels)
        self.leave = nn.Linear(channels, channels)
        nn.init.zeros_(self.leave.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, frames) -> same shape."""
        batch, channels, frames = x.shape
        h = self.enter(self.norm(x.transpose(1, 2)))
        h = h.reshape(batch, frames, 3, self.heads, channels // self.heads)
        query, key, value = h.permute(2, 0, 3, 1, 4)
        h = attend(query, key, value)
        h = h.transpose(1, 2).reshape(batch, frames, channels)
        return x + self.leave(h).transpose(1, 2)


class DetailBlock(nn.Module):
    """Depthwise convolution, then a pointwise network (Liu et al., 2022), residual and modulated.

    Args:
        channels: width.
        embedding: length of what modulates it.
    """

    def __init__(self, channels: int, embedding: int, kernel: int = 5, expansion: int = 3) -> None:
        super().__init__()
        self.mix = nn.Conv1d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        self.norm = ChannelNorm(channels, elementwise_affine=False)
        self.film = nn.Linear(embedding, 2 * channels)
        self.widen = nn.Linear(channels, expansion * channels)
        self.narrow = nn.Linear(expansion * channels, channels)
        self.scale = nn.Parameter(torch.full((channels,), 0.1))
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """(batch, channels, frames), (batch, embedding) -> (batch, channels, frames)."""
        scale, shift = self.film(embedding)[:, :, None].chunk(2, 1)
        h = self.norm(self.mix(x)) * (1 + scale) + shift
        h = self.narrow(F.gelu(self.widen(h.transpose(1, 2)))) * self.scale
        return x + h.transpose(1, 2)


class Detail(nn.Module):
    """Refines every frame after the UNet, in layers that are wider than a latent.

    A correction of one frame depends on all of its channels. The UNet's layers at the full
    rate are narrower than what it is told, for the sake of speed; these see all of it again,
    and what the UNet made of it (docs/decisions/0021).

    Args:
        told: channels of all that the denoiser is told.
        trunk: channels of the UNet's last layer.
        channels: latent channels.
        config: sizes.
    """

    def __init__(self, told: int, trunk: int, channels: int, config: UNetConfig) -> None:
        super().__init__()
        width = config.detail
        self.enter = nn.Conv1d(told, width, 1)
        self.take = nn.Conv1d(trunk, width, 1)
        self.blocks = nn.ModuleList(
            DetailBlock(width, config.embedding) for _ in range(config.detail_blocks)
        )
        self.norm = ChannelNorm(width)
        self.leave = nn.Conv1d(width, channels, 1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]

    def forward(self, told: Tensor, trunk: Tensor, embedding: Tensor) -> Tensor:
        """What to add to the correction; an untrained one adds nothing.

        Args:
            told: (batch, told, frames).
            trunk: (batch, trunk, frames).
            embedding: (batch, embedding).

        Returns:
            (batch, channels, frames).
        """
        h = self.enter(told) + self.take(trunk)
        for block in self.blocks:
            h = block(h, embedding)
        out: Tensor = self.leave(F.silu(self.norm(h)))
        return out


def time_features(time: Tensor, dim: int) -> Tensor:
    """Sinusoids of the flow time, (batch,) in [0, 1] -> (batch, dim)."""
    rates = torch.exp(torch.linspace(0, math.log(1000), dim // 2, device=time.device))
    phase = time[:, None] * rates
    return torch.cat([phase.sin(), phase.cos()], 1)


class UNet(nn.Module):
    """Predicts the flow's velocity from a noisy latent, structure and timbre.

    Timbre and flow time act by FiLM. The structure code and the guess enter at the top,
    and the code, condensed and averaged to its rate, at every level. A mask marks the
    frames that are given clean (context), so that a window can go on from what was
    already made. How many deviations the noisy latent lies off the guess (`standardised`)
    is what a correction must be read from; told so, training needs a fifth less of the
    steps (docs/decisions/0019). The output is a correction of what the guess alone would say
    (`gaussian_velocity`), so an untrained denoiser already returns the guess. `Detail` adds what
    the UNet is too narrow for.

    Args:
        channels: latent channels.
        structure_dim: channels of the structure code.
        timbre_dim: length of the timbre vector.
        config: sizes.
    """

    def __init__(
        self, channels: int, structure_dim: int, timbre_dim: int, config: UNetConfig
    ) -> None:
        super().__init__()
        self.config = config
        widths, emb = config.widths, config.embedding
        self.time = nn.Sequential(nn.Linear(emb, emb), nn.SiLU(), nn.Linear(emb, emb))
        self.timbre_scale = math.sqrt(timbre_dim)  # brings entries of a unit vector to unit size
        self.timbre = nn.Sequential(nn.Linear(timbre_dim, emb), nn.SiLU(), nn.Linear(emb, emb))
        self.enter = nn.Conv1d(2 * channels + 1 + structure_dim, widths[0], 3, padding=1)
        self.enter_standardised: nn.Conv1d | None = None
        if config.standardised:
            self.enter_standardised = nn.Conv1d(2 * channels, widths[0], 3, padding=1)
        self.condense = nn.Conv1d(channels + structure_dim, config.structure, 1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        self.shrink, self.grow = nn.ModuleList(), nn.ModuleList()
        for level, width in enumerate(widths):
            entries = [width + config.structure] + [width] * (config.blocks - 1)
            self.down.append(nn.ModuleList(FilmBlock(c, width, emb) for c in entries))
            entries = [2 * width + config.structure] + [width] * (config.blocks - 1)
            self.up.append(nn.ModuleList(FilmBlock(c, width, emb) for c in entries))
            if level + 1 < len(widths):
                self.shrink.append(nn.Conv1d(width, widths[level + 1], 4, stride=2, padding=1))
                self.grow.append(
                    nn.ConvTranspose1d(widths[level + 1], width, 4, stride=2, padding=1)
                )
        self.middle = Attention(widths[-1], config.heads)
        if config.few_step:
            self.shortcut = nn.Linear(3 * emb, emb)
            nn.init.zeros_(self.shortcut.weight)
            nn.init.zeros_(self.shortcut.bias)
        self.norm = ChannelNorm(widths[0])
        self.leave = nn.Conv1d(widths[0], channels, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        self.detail: Detail | None = None
        if config.detail:
            told = 4 * channels + 1 + structure_dim
            self.detail = Detail(told, widths[0], channels, config)

    def forward(
        self,
        x: Tensor,
        time: Tensor,
        conditions: Conditions,
        context: Tensor,
        shortcut: Shortcut | None = None,
    ) -> Tensor:
        """One evaluation.

        Args:
            x: (batch, channels, frames) noisy latent, clean where `context` is 1.
            time: (batch,) flow time in [0, 1]: 0 is clean, 1 is noise.
            conditions: for as many frames.
            context: (batch, 1, frames) mask of given frames.
            shortcut: step and guidance, for a few-step denoiser and no other.

        Returns:
            Velocity (batch, channels, frames); of a few-step denoiser its mean over the step.
        """
        mean, spread = gaussian_velocity(x, time, conditions.guess, conditions.deviation)
        embedding = self.time(time_features(time, self.config.embedding))
        embedding = embedding + self.timbre(conditions.timbre * self.timbre_scale)
        if shortcut is not None:
            embedding = embedding + self._shortcut(shortcut)
        embedding = F.silu(embedding)
        frames = x.shape[2]
        missing = (0, -frames % 2 ** (len(self.config.widths) - 1))
        guess, deviation = conditions.guess, conditions.deviation
        inputs = torch.cat([x, context, guess, conditions.code], 1)
        off = standardised(x, time, context, guess, deviation).clamp(-LARGEST_OFF, LARGEST_OFF)
        distance = torch.cat([off, deviation.log().expand_as(x)], 1)
        padded = F.pad(inputs, missing)
        entry = self.enter(padded)
        if self.enter_standardised is not None:
            entry = entry + self.enter_standardised(F.pad(distance, missing))
        trunk = self._trunk(entry, padded[:, x.shape[1] + 1 :], embedding)
        correction = self.leave(F.silu(trunk))[:, :, :frames]
        if self.detail is not None:
            told = torch.cat([inputs, distance], 1)
            correction = correction + self.detail(told, trunk[:, :, :frames], embedding)
        return mean + spread * correction

    def _shortcut(self, shortcut: Shortcut) -> Tensor:
        """(batch, embedding)."""
        most = FEW_STEP_GUIDANCE[1]
        told = (shortcut.size, shortcut.structure / most, shortcut.timbre / most)
        features = [time_features(value, self.config.embedding) for value in told]
        joined: Tensor = self.shortcut(torch.cat(features, 1))
        return joined

    def _trunk(self, entry: Tensor, steering: Tensor, embedding: Tensor) -> Tensor:
        """Guess and code steer at every level.

        Args:
            entry: (batch, widths[0], frames), whose number all levels can halve.
            steering: (batch, channels + structure_dim, frames).
            embedding: (batch, embedding).

        Returns:
            (batch, widths[0], frames).
        """
        pyramid = [self.condense(steering)]
        for _ in self.shrink:
            pyramid.append(F.avg_pool1d(pyramid[-1], 2))
        h = entry
        skips = []
        for level in range(len(self.down)):
            h = torch.cat([h, pyramid[level]], 1)
            for block in self._blocks(self.down, level):
                h = block(h, embedding)
            skips.append(h)
            if level < len(self.shrink):
                h = self.shrink[level](h)
        h = self.middle(h)
        for level in reversed(range(len(self.up))):
            h = torch.cat([h, skips[level], pyramid[level]], 1)
            for block in self._blocks(self.up, level):
                h = block(h, embedding)
            if level > 0:
                h = self.grow[level - 1](h)
        out: Tensor = self.norm(h)
        return out

    @staticmethod
    def _blocks(side: nn.ModuleList, level: int) -> nn.ModuleList:
        blocks = side[level]
        assert isinstance(blocks, nn.ModuleList)
        return blocks
