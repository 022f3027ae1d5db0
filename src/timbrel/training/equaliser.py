"""Endless timbres of few: latents as they would be through an equaliser.

A store holds each timbre in a few passages, and an encoder that meets them often enough
learns them by heart. The spectral codec's latent is linear in log-magnitudes, so what was
encoded already can still be equalised, and its dynamics widened or narrowed (which makes
notes fade sooner or later, and partials more or less equal): target and example alike, anew in
every step.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from timbrel.codec.basis import SpectralBasis
from timbrel.data.batch import Batch

# Curves of gain over all bands: knots, evenly spaced, and the deviation of a knot's gain in dB.
# A room or a microphone is a coarse one, a body with its resonances a fine one.
CURVES = ((8, 5.0), (32, 3.0))
EXPANSION = 0.15  # standard deviation of the logarithm of how much dynamics are widened
PIVOT = 0.02  # magnitude that stays as it is when they are


class Curves(NamedTuple):
    """What is done to some items of a batch.

    Attributes:
        items: (n,) int64, which.
        gain: (n, bands) float32, in dB.
        expansion: (n,) float32, how much dynamics are widened.
    """

    items: Tensor
    gain: Tensor
    expansion: Tensor


class Equaliser:
    """Random equalisers for batches.

    Args:
        basis: of the codec that made the latents.
        share: of the items that are equalised.
    """

    def __init__(self, basis: SpectralBasis, share: float) -> None:
        self.share, self.floor = share, basis.floor
        self.stack, self.bands = basis.stack, basis.bands
        self.mean = basis.mean[:, None]
        self.inverse = (basis.components * basis.deviation[:, None]).T.contiguous()
        self.project = basis.components / basis.deviation[:, None]

    def to(self, device: torch.device) -> "Equaliser":
        """The same one, where batches are."""
        for name in ("mean", "inverse", "project"):
            setattr(self, name, getattr(self, name).to(device))
        return self

    def draw(self, size: int, rng: np.random.Generator) -> Curves:
        """For a batch of `size` items."""
        items = np.flatnonzero(rng.random(size) < self.share)
        drawn = [
            (self.curve(rng), np.exp(EXPANSION * rng.standard_normal())) for _ in range(len(items))
        ]
        gain = np.array([curve for curve, _ in drawn], np.float32).reshape(-1, self.bands)
        expansion = np.array([widened for _, widened in drawn], np.float32)
        return Curves(*map(torch.from_numpy, (items, gain, expansion)))

    def vary(self, batch: Batch, curves: Curves) -> Batch:
        """The batch with some of its items equalised, target and example alike."""
        device = batch.latent.device
        items, gain, expansion = (
            x.to(device, non_blocking=True) for x in (curves.items, curves.gain, curves.expansion)
        )
        latent, example = batch.latent.clone(), batch.example.clone()
        for whole in (latent, example):
            whole[items] = self.apply(whole[items], gain, expansion)
        return replace(batch, latent=latent, example=example)

    def curve(self, rng: np.random.Generator) -> np.ndarray:
        """A smooth gain (bands,), in dB, 0 on average."""
        gain = np.zeros(self.bands)
        for knots, deviation in CURVES:
            places = np.linspace(0, knots - 1, self.bands)
            gain += np.interp(places, np.arange(knots), deviation * rng.standard_normal(knots))
        centred: np.ndarray = gain - gain.mean()
        return centred

    def apply(self, latent: Tensor, gain: Tensor, expansion: Tensor) -> Tensor:
        """Latents through equalisers; silence stays.

        Levels of all bands, in dB from `PIVOT`, are then multiplied by `expansion`.
        What a latent does not hold of the spectrum is neither gained nor lost: only the
        change is projected.

        Args:
            latent: (batch, channels, frames).
            gain: (batch, bands), in dB.
            expansion: (batch,).

        Returns:
            (batch, channels, frames).
        """
        magnitude = (torch.exp(self.inverse @ latent + self.mean) - self.floor).clamp_min(0)
        factor = (10 ** (gain / 20)).repeat(1, self.stack)[:, :, None]
        louder = PIVOT * (magnitude * factor / PIVOT) ** expansion[:, None, None]
        change = torch.log(louder + self.floor) - torch.log(magnitude + self.floor)
        return latent + self.project @ change
