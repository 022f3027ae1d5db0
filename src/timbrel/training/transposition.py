"""Other timbres of those that a store holds: latents as of sounds that are transposed.

Like tape that runs faster, but without its tempo: partials and formants move together, so the
instrument becomes another one, and what was learned by heart of the first does not fit. The
spectral codec's latent is linear in log-magnitudes, whose bands are moved; notes move along, by
whole semitones, in target and example alike, anew in every step.
"""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from timbrel.codec.basis import SpectralBasis
from timbrel.data.batch import Batch

# Semitones: a partial gets wider or narrower by as much, which no instrument does.
LARGEST = 3


class Transposition:
    """Random transpositions for batches whose structure is notes.

    Args:
        basis: of the codec that made the latents.
        share: of the items that are transposed.
    """

    def __init__(self, basis: SpectralBasis, share: float) -> None:
        self.share, self.stack, self.bands = share, basis.stack, basis.bands
        self.mean = basis.mean[:, None]
        self.inverse = (basis.components * basis.deviation[:, None]).T.contiguous()
        self.project = basis.components / basis.deviation[:, None]
        shifts = range(-LARGEST, LARGEST + 1)
        self.moves = torch.stack([moved(basis.centres, semitones) for semitones in shifts])

    def to(self, device: torch.device) -> "Transposition":
        """The same one, where batches are."""
        for name in ("mean", "inverse", "project", "moves"):
            setattr(self, name, getattr(self, name).to(device))
        return self

    def draw(self, size: int, rng: np.random.Generator) -> Tensor:
        """Semitones for a batch of `size` items, (size,) int64; 0 for those that stay."""
        choices = [semitones for semitones in range(-LARGEST, LARGEST + 1) if semitones]
        semitones = rng.choice(choices, size) * (rng.random(size) < self.share)
        return torch.from_numpy(semitones.astype(np.int64))

    def vary(self, batch: Batch, semitones: Tensor) -> Batch:
        """The batch with its items transposed, but for drums: target, example, and notes."""
        semitones = semitones.to(batch.latent.device, non_blocking=True)
        semitones = torch.where(batch.drums, 0, semitones)
        return replace(
            batch,
            latent=self.apply(batch.latent, semitones),
            example=self.apply(batch.example, semitones),
            roll=transposed(batch.roll, semitones),
            example_roll=transposed(batch.example_roll, semitones),
        )

    def apply(self, latent: Tensor, semitones: Tensor) -> Tensor:
        """Latents of sounds that are transposed.

        What a latent does not hold of the spectrum stays: only the change is projected.

        Args:
            latent: (batch, channels, frames).
            semitones: (batch,) int64, within `LARGEST` of 0.

        Returns:
            (batch, channels, frames).
        """
        bands = (self.inverse @ latent + self.mean).unflatten(1, (self.stack, self.bands))
        change = torch.einsum("nij,nsjt->nsit", self.moves[semitones + LARGEST], bands) - bands
        return latent + self.project @ change.flatten(1, 2)


def moved(centres: Tensor, semitones: int) -> Tensor:
    """Matrix (bands, bands) from log-bands to those of the same sound, transposed.

    Args:
        centres: (bands,) in Hz.
        semitones: up.
    """
    source = (centres / 2 ** (semitones / 12)).clamp(centres[0], centres[-1])
    upper = torch.searchsorted(centres, source).clamp(1, len(centres) - 1)
    share = (source - centres[upper - 1]) / (centres[upper] - centres[upper - 1])
    matrix = torch.zeros(len(centres), len(centres))
    rows = torch.arange(len(centres))
    matrix[rows, upper - 1] += (1 - share).float()
    matrix[rows, upper] += share.float()
    return matrix


def transposed(roll: Tensor, semitones: Tensor) -> Tensor:
    """Rolls (batch, 3, pitches, frames), each moved by its number of semitones (batch,)."""
    pitches = torch.arange(roll.shape[2], device=roll.device) - semitones[:, None]
    there = (pitches >= 0) & (pitches < roll.shape[2])
    index = pitches.clamp(0, roll.shape[2] - 1)[:, None, :, None].expand_as(roll)
    return roll.gather(2, index) * there[:, None, :, None]
