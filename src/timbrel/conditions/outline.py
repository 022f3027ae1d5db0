"""Outline: a first guess of the latent, drawn from the notes with the timbre's own partials.

A roll says "pitch 60 sounds"; the answer is a spectrum. Most of that answer is known
physics: a note lights a harmonic series through a filter, its partials decay or do not,
breath or a stroke adds noise, and sounds add up. So the timbre vector chooses the
parameters of such an additive instrument (how strong each partial is and how fast it
fades, a filter, noise), the instrument plays the roll straight into the bands of the
codec, and the codec's basis turns them into a latent. The denoiser learns only how real
sounds depart from it (docs/decisions/0003).
"""

import math

import torch
from torch import Tensor, nn

from timbrel.codec.basis import SpectralBasis
from timbrel.codec.spectral import SpectralConfig
from timbrel.nn.asking import maybe_any, maybe_where

# Every partial of a note is a mixture of these: seconds to fall by 1/e while held, and after.
HELD_SECONDS = (math.inf, 3.0, 0.8, 0.2, 0.05, math.inf)
RELEASE_SECONDS = (0.05, 0.05, 0.05, 0.05, 0.05, 0.6)
# And of one that swells: seconds to reach 1 - 1/e, and to fall after the note's end.
SWELL_SECONDS, SWELL_RELEASE = 0.15, 0.15
ENVELOPES = len(HELD_SECONDS) + 1
HARMONICS = 40
# Partials between harmonics, in quarters of the fundamental up to the twelfth: those of bells,
# stiff strings, frequency modulation. A band is rarely narrower than such a step.
BETWEEN = tuple(k / 4 for k in range(2, 48) if k % 4)
RATIOS = (*range(1, HARMONICS + 1), *BETWEEN)  # of all partials to the fundamental
BAND_KNOTS = 24  # of filters and noise, over frequency bands; linear between
PITCH_KNOTS = 8  # of levels over pitch
# Magnitude of one note at full velocity; renders peak here.
LEVEL = 0.05
LARGEST_LOG = 6.0  # bounds what an unusual timbre vector can do


class Envelopes(nn.Module):
    """Piano roll -> amplitude of every pitch over time; nothing in it is learned.

    Args:
        frames_per_second: of the roll.
    """

    held: Tensor
    release: Tensor

    def __init__(self, frames_per_second: float) -> None:
        super().__init__()

        def factor(seconds: float) -> float:
            return math.exp(-1 / (seconds * frames_per_second))

        self.register_buffer("held", torch.tensor([*map(factor, HELD_SECONDS)]), persistent=False)
        release = torch.tensor([*map(factor, RELEASE_SECONDS)])
        self.register_buffer("release", release, persistent=False)
        self.rise, self.fall = 1 - factor(SWELL_SECONDS), factor(SWELL_RELEASE)

    def forward(self, roll: Tensor) -> Tensor:
        """Envelopes of all notes.

        Args:
            roll: (batch, 3, 128, frames): onset, sounding, velocity; with the ages of notes that
                began before the first frame, if these are known (`timbrel.roll`).

        Returns:
            (batch, ENVELOPES, 128, frames), at most 1. Notes whose age is unknown start at
            their full level.
        """
        # a frame's numbers lie together, since they are taken frame by frame
        onset, sounding, velocity = roll.permute(1, 3, 0, 2).contiguous()
        share = sounding.clamp(0, 1)
        loudness = velocity.square()
        struck = (loudness * (onset > 0))[:, :, None]
        # all that needs no frame before is worked out for every frame at once: a GPU waits for
        # each operation to be called
        factor = torch.lerp(self.release[:, None], self.held[:, None], share[:, :, None])
        kept = self.fall + (1 - self.rise - self.fall) * share
        gained = self.rise * share * loudness
        found = share.new_empty(*share.shape[:2], ENVELOPES, share.shape[2])
        ringing, swelling = found[:, :, :-1], found[:, :, -1]
        began = loudness[0] * (onset[0] <= 0)  # before the first frame
        level, swell = self._before(-onset[0], began, share[0])
        for t in range(len(share)):
            torch.mul(level, factor[t], out=ringing[t])
            level = torch.maximum(ringing[t], struck[t])
            swell = torch.addcmul(gained[t], kept[t], swell, out=swelling[t])
        # a note that begins late in a frame
        torch.maximum(ringing, struck * share.sqrt()[:, :, None], out=ringing)
        return found.permute(1, 2, 3, 0)

    def _before(self, age: Tensor, loudness: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        """Where envelopes are before the first frame, of notes that began so many frames ago.

        Args:
            age: (batch, 128), above 0 where it is known.
            loudness: (batch, 128).
            share: (batch, 128), of the first frame that sounds.

        Returns:
            (batch, ENVELOPES - 1, 128) of those that ring, (batch, 128) of the one that swells.
        """
        whole = (age.ceil() - 1).clamp_min(0)  # frames after the one in which they began
        ringing = loudness[:, None] * self.held[:, None] ** whole[:, None]
        begun = self.rise * (age - whole)
        swelling = loudness * (1 - (1 - begun) * (1 - self.rise) ** whole)
        return ringing, torch.where(age > 0, swelling, loudness * share)


class Outline(nn.Module):
    """(envelopes, timbre) -> an estimate of the latent and how far off it is.

    Args:
        codec: in whose coordinates notes are drawn.
        timbre_dim: length of the timbre vector.
    """

    lobes: Tensor
    band_knots: Tensor
    pitch_knots: Tensor
    projection: Tensor
    offset: Tensor

    def __init__(self, codec: SpectralConfig, timbre_dim: int) -> None:
        super().__init__()
        self.floor = codec.floor
        basis = SpectralBasis(
            codec.rate,
            codec.hop,
            codec.n_fft,
            codec.stack,
            codec.bands,
            codec.channels,
            codec.floor,
        )
        self.register_buffer("lobes", partial_lobes(basis.bank, codec), persistent=False)
        self.register_buffer("band_knots", hats(codec.bands, BAND_KNOTS), persistent=False)
        self.register_buffer("pitch_knots", hats(128, PITCH_KNOTS), persistent=False)
        self.register_buffer("projection", torch.zeros(codec.channels, codec.bands))
        self.register_buffer("offset", torch.zeros(codec.channels))
        # entries of a unit vector are small; bring them to unit size
        self.scale = math.sqrt(timbre_dim)
        self.sizes = [ENVELOPES * n for n in (len(RATIOS), BAND_KNOTS, BAND_KNOTS, PITCH_KNOTS)]
        self.sizes.append(BAND_KNOTS)
        self.choose = nn.Sequential(
            nn.Linear(timbre_dim, 256), nn.SiLU(), nn.Linear(256, sum(self.sizes))
        )
        self._begin_plain()
        self.kit = nn.Parameter(torch.full((ENVELOPES, 128, BAND_KNOTS), -6.0))
        self.log_deviation = nn.Parameter(torch.zeros(codec.channels))

    def _begin_plain(self) -> None:
        """Start as an instrument of falling partials without noise."""
        last = self.choose[-1]
        assert isinstance(last, nn.Linear)
        nn.init.normal_(last.weight, std=0.01)
        harmonics = -1.5 * torch.log(torch.arange(1, HARMONICS + 1))
        partials = torch.cat([harmonics, torch.full((len(BETWEEN),), -7.0)])
        filters, noise = torch.zeros(self.sizes[1]), torch.full((self.sizes[2],), -8.0)
        levels = torch.full((self.sizes[3],), -math.log(ENVELOPES))
        room = torch.full((self.sizes[4],), -9.0)
        begin = torch.cat([partials.repeat(ENVELOPES), filters, noise, levels, room])
        last.bias = nn.Parameter(begin)

    @torch.no_grad()
    def adopt(self, basis: SpectralBasis) -> None:
        """Take over the projection of a fitted basis (mean over the stacked frames)."""
        stacked = basis.components.reshape(basis.channels, basis.stack, basis.bands)
        self.projection.copy_(stacked.sum(1) / basis.deviation[:, None])
        self.offset.copy_((basis.components @ basis.mean) / basis.deviation)

    def deviation(self, change: Tensor | float = 0.0) -> Tensor:
        """Expected distance of the latent from the guess.

        Args:
            change: (batch, channels, frames), of its logarithm.

        Returns:
            (channels, 1), or as `change`.
        """
        return (self.log_deviation[:, None] + change).clamp(-3, 1).exp()

    def forward(self, levels: Tensor, drums: Tensor, timbre: Tensor) -> Tensor:
        """Draw the notes.

        Args:
            levels: (batch, ENVELOPES, 128, frames) from `Envelopes`.
            drums: (batch,) bool; pitches of drums name instruments.
            timbre: (batch, timbre_dim).

        Returns:
            (batch, latent_channels, frames).
        """
        active = maybe_where(levels.amax((0, 1, 3)) > 0)
        templates, room = self.templates(timbre, drums, active)
        played = levels[:, :, active].flatten(1, 2)  # (batch, envelopes * pitches, frames)
        bands = torch.bmm(templates.flatten(1, 2).transpose(1, 2), played)
        log_bands = torch.log(bands + room[:, :, None] + self.floor)
        return torch.einsum("cb,nbt->nct", self.projection, log_bands) - self.offset[:, None]

    def templates(self, timbre: Tensor, drums: Tensor, pitches: Tensor) -> tuple[Tensor, Tensor]:
        """What one note adds to the bands.

        Returns:
            (batch, ENVELOPES, len(pitches), bands) magnitudes, and those that are always
            there (batch, bands).
        """
        batch = len(timbre)
        chosen = self.choose(timbre * self.scale).clamp(-12, LARGEST_LOG).split(self.sizes, 1)
        partials, filters, noise, levels = (c.unflatten(1, (ENVELOPES, -1)) for c in chosen[:4])
        lobes = self.lobes[:, pitches]
        tones = (partials.exp().flatten(0, 1) @ lobes.flatten(1)).unflatten(1, lobes.shape[1:])
        tones = tones.unflatten(0, (batch, ENVELOPES))
        if maybe_any(drums):
            kit = (self.kit[:, pitches] @ self.band_knots.T).exp()
            tones = torch.where(drums[:, None, None, None], kit, tones)
        shaped = tones * (filters @ self.band_knots.T).exp()[:, :, None]
        shaped = shaped + (noise @ self.band_knots.T).exp()[:, :, None]
        by_pitch = (levels @ self.pitch_knots[pitches].T).exp()
        return shaped * by_pitch[..., None], (chosen[4] @ self.band_knots.T).exp()

    @staticmethod
    def loss(guess: Tensor, deviation: Tensor, latent: Tensor, weight: Tensor) -> Tensor:
        """(batch,): weighted squared error, and the likelihood that fits `deviation`.

        Args:
            guess: (batch, channels, frames).
            deviation: (batch, channels, frames), what the guess is said to be off.
            latent: (batch, channels, frames), the truth.
            weight: (channels,), mean 1.
        """
        error = (guess - latent).square()
        fit = 0.5 * error.detach() / deviation.square() + deviation.log()
        return (error * weight[:, None] + 0.1 * fit).mean((1, 2))


def hats(points: int, knots: int) -> Tensor:
    """(points, knots): linear interpolation from evenly spaced knots."""
    place = torch.linspace(0, knots - 1, points)[:, None]
    return (1 - (place - torch.arange(knots)).abs()).clamp_min(0)


def partial_lobes(bank: Tensor, codec: SpectralConfig) -> Tensor:
    """Magnitudes of single partials in the codec's bands, with the window's main lobe.

    Args:
        bank: (bands, bins) of the codec.
        codec: its configuration.

    Returns:
        (len(RATIOS), 128, bands); zero for partials above half the sampling rate.
    """
    hz = 440 * 2 ** ((torch.arange(128, dtype=torch.float64) - 69) / 12)
    ratios = torch.tensor(RATIOS, dtype=torch.float64)
    centre = (ratios[:, None] * hz * codec.n_fft / codec.rate)[..., None]
    bins = centre.floor() + torch.arange(-1, 3)  # the main lobe is less than two bins to each side
    distance = bins - centre
    # transform of a Hann window, relative to its peak; one bin beside it half, as a limit
    limit = (distance.square() - 1).abs() < 1e-6
    lobe = torch.sinc(distance) / (1 - distance.square()).where(~limit, 1.0)
    lobe = lobe.where(~limit, 0.5)
    last = codec.n_fft // 2
    inside = (distance.abs() < 2) & (bins >= 0) & (bins <= last) & (centre < last + 1)
    heights = torch.where(inside, lobe.abs(), 0.0).float()
    weights = bank.T[bins.clamp(0, last).long()]  # (ratios, 128, 4, bands)
    return LEVEL * torch.einsum("rpk,rpkb->rpb", heights, weights)
