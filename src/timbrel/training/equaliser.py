"""Endless timbres of few: latents as they would be through an equaliser.

A store holds each timbre in a few passages, and an encoder that meets them often enough
learns them by heart. The spectral codec's latent is linear in log-magnitudes, so what was
encoded already can still be equalised: target and example by one curve, new in every step.
"""

from dataclasses import replace

import numpy as np

from timbrel.codec.basis import SpectralBasis
from timbrel.data.pairs import Batch

KNOTS = 8  # of a curve over all bands, evenly spaced
DEVIATION_DB = 5.0  # of a knot's gain


class Equaliser:
    """Random equalisers for batches.

    Args:
        basis: of the codec that made the latents.
        share: of the items that are equalised.
    """

    def __init__(self, basis: SpectralBasis, share: float) -> None:
        self.share, self.stack, self.floor = share, basis.stack, basis.floor
        self.mean = basis.mean.cpu().numpy()[:, None]
        components, deviation = basis.components.cpu().numpy(), basis.deviation.cpu().numpy()
        self.inverse = np.ascontiguousarray((components * deviation[:, None]).T)
        self.project = components / deviation[:, None]
        self.places = np.linspace(0, KNOTS - 1, basis.bands)

    def vary(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """The batch with some of its items equalised, target and example alike."""
        chosen = np.flatnonzero(rng.random(len(batch.latent)) < self.share)
        latent, example = batch.latent.copy(), batch.example.copy()
        for item in chosen:
            gain = self.curve(rng)
            latent[item] = self.apply(latent[item], gain)
            example[item] = self.apply(example[item], gain)
        return replace(batch, latent=latent, example=example)

    def curve(self, rng: np.random.Generator) -> np.ndarray:
        """A smooth gain (bands,), in dB, 0 on average."""
        knots = DEVIATION_DB * rng.standard_normal(KNOTS)
        gain = np.interp(self.places, np.arange(KNOTS), knots)
        centred: np.ndarray = gain - gain.mean()
        return centred

    def apply(self, latent: np.ndarray, gain: np.ndarray) -> np.ndarray:
        """(channels, frames) through an equaliser of `gain` (bands,) in dB; silence stays.

        What the latent does not hold of the spectrum is neither gained nor lost: only the
        change is projected.
        """
        before = self.inverse @ latent + self.mean
        factor = np.tile(10 ** (gain / 20), self.stack).astype(np.float32)[:, None]
        magnitude = np.maximum(np.exp(before) - self.floor, 0)
        after = np.log(magnitude * factor + self.floor)
        changed: np.ndarray = latent + self.project @ (after - np.log(magnitude + self.floor))
        return changed
