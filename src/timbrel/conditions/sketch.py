"""Notes drawn in the codec's own coordinates.

A roll says "pitch 60 sounds"; the denoiser must answer with a spectrum. Learning that
map pitch by pitch is what takes a small network most of its training. But its generic
part is known: a note lights a harmonic series, decays or does not, and loudnesses add.
So the sketch renders every note with a few generic envelopes over time and slopes over
harmonics, straight into the bands of the codec, and projects the result on the codec's
basis. The denoiser only has to learn how an instrument departs from the sketches
(docs/decisions/0003).
"""

import math

import torch
from torch import Tensor, nn

from timbrel.codec.basis import SpectralBasis
from timbrel.codec.codec import CodecConfig

# How a note's amplitude goes on: seconds to fall by 1/e while held and after its end.
HELD_SECONDS = (math.inf, 1.2, 0.25, math.inf)
RELEASE_SECONDS = (0.05, 0.05, 0.05, 0.6)
# Amplitude of harmonic h is h ** -slope.
SLOPES = (0.6, 1.5, 3.0)
HARMONICS = 40
# Magnitude of one note at full velocity; renders peak here.
LEVEL = 0.05


class Sketch(nn.Module):
    """Piano roll -> generic renderings in latent coordinates; nothing in it is learned.

    Args:
        config: the codec's.
    """

    templates: Tensor
    held: Tensor
    release: Tensor
    projection: Tensor
    offset: Tensor

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.floor, self.frames_per_second = config.floor, config.rate / config.hop
        basis = SpectralBasis(
            config.rate,
            config.hop,
            config.n_fft,
            config.stack,
            config.bands,
            config.channels,
            config.floor,
        )
        self.channels = len(HELD_SECONDS) * len(SLOPES) * config.channels
        bank, bands = basis.bank, config.bands
        templates = torch.stack([self._templates(bank, config, slope) for slope in SLOPES])
        self.register_buffer("templates", templates, persistent=False)
        decay = [math.exp(-1 / (s * self.frames_per_second)) for s in HELD_SECONDS]
        release = [math.exp(-1 / (s * self.frames_per_second)) for s in RELEASE_SECONDS]
        self.register_buffer("held", torch.tensor(decay), persistent=False)
        self.register_buffer("release", torch.tensor(release), persistent=False)
        self.register_buffer("projection", torch.zeros(config.channels, bands), persistent=True)
        self.register_buffer("offset", torch.zeros(config.channels), persistent=True)

    @staticmethod
    def _templates(bank: Tensor, config: CodecConfig, slope: float) -> Tensor:
        """(128, bands): magnitudes of one note of each pitch, with the window's main lobe."""
        hz = 440 * 2 ** ((torch.arange(128, dtype=torch.float64) - 69) / 12)
        bins = torch.arange(config.n_fft // 2 + 1, dtype=torch.float64)
        spectrum = torch.zeros(128, len(bins), dtype=torch.float64)
        for harmonic in range(1, HARMONICS + 1):
            centre = (harmonic * hz * config.n_fft / config.rate)[:, None]
            distance = bins - centre
            # transform of a Hann window, relative to its peak
            lobe = torch.sinc(distance) / (1 - distance.square()).where(
                (distance.square() - 1).abs() > 1e-6, torch.tensor(2.0, dtype=torch.float64)
            )
            inside = (distance.abs() < 2) & (centre < len(bins))
            spectrum += torch.where(inside, lobe.abs(), 0.0) * harmonic**-slope
        return (spectrum.float() @ bank.T) * LEVEL

    @torch.no_grad()
    def adopt(self, basis: SpectralBasis) -> None:
        """Take over the projection of a fitted basis (mean over the stacked frames)."""
        stacked = basis.components.reshape(basis.channels, basis.stack, basis.bands)
        self.projection.copy_(stacked.sum(1) / basis.deviation[:, None])
        self.offset.copy_((basis.components @ basis.mean) / basis.deviation)

    def envelopes(self, roll: Tensor) -> Tensor:
        """Amplitude of every pitch over time, for every kind of envelope.

        Args:
            roll: (batch, 3, 128, frames): onset, sounding, velocity.

        Returns:
            (batch, kinds, 128, frames), at most 1. The age of notes that began before
            the first frame is unknown; they start at their full level there.
        """
        onset, sounding, velocity = roll.unbind(1)
        struck = velocity.square() * (onset > 0)
        level = torch.zeros_like(roll[:, :1, :, 0]).expand(-1, len(self.held), -1)
        began = velocity[:, :, 0].square()[:, None]
        level = torch.maximum(level, began)
        frames = []
        for t in range(roll.shape[-1]):
            share = sounding[:, None, :, t].clamp(0, 1)
            factor = self.release[:, None] + (self.held - self.release)[:, None] * share
            level = torch.maximum(level * factor, struck[:, None, :, t] * share.sqrt())
            frames.append(level)
        return torch.stack(frames, 3)

    def forward(self, roll: Tensor) -> Tensor:
        """(batch, 3, 128, frames) -> (batch, kinds * slopes * latent_channels, frames)."""
        levels = self.envelopes(roll)
        bands = torch.einsum("nkpt,spb->nksbt", levels, self.templates)
        latent = torch.einsum("cb,nksbt->nksct", self.projection, torch.log(bands + self.floor))
        latent = latent - self.offset[:, None]
        return latent.flatten(1, 3)
