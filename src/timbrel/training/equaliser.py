"""Endless timbres of few: latents as they would be through an equaliser.

A store holds each timbre in a few passages, and an encoder that meets them often enough
learns them by heart. The spectral codec's latent is linear in log-magnitudes, so what was
encoded already can still be equalised, and its dynamics widened or narrowed (which makes
notes fade sooner or later, and partials more or less equal): target and example alike, anew in
every step.
"""

from dataclasses import replace

import numpy as np

from timbrel.codec.basis import SpectralBasis
from timbrel.data.pairs import Batch

# Curves of gain over all bands: knots, evenly spaced, and the deviation of a knot's gain in dB.
# A room or a microphone is a coarse one, a body with its resonances a fine one.
CURVES = ((8, 5.0), (32, 3.0))
EXPANSION = 0.15  # standard deviation of the logarithm of how much dynamics are widened
PIVOT = 0.02  # magnitude that stays as it is when they are


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
        self.bands = basis.bands

    def vary(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """The batch with some of its items equalised, target and example alike."""
        chosen = np.flatnonzero(rng.random(len(batch.latent)) < self.share)
        latent, example = batch.latent.copy(), batch.example.copy()
        for item in chosen:
            gain, expansion = self.curve(rng), float(np.exp(EXPANSION * rng.standard_normal()))
            latent[item] = self.apply(latent[item], gain, expansion)
            example[item] = self.apply(example[item], gain, expansion)
        return replace(batch, latent=latent, example=example)

    def curve(self, rng: np.random.Generator) -> np.ndarray:
        """A smooth gain (bands,), in dB, 0 on average."""
        gain = np.zeros(self.bands)
        for knots, deviation in CURVES:
            places = np.linspace(0, knots - 1, self.bands)
            gain += np.interp(places, np.arange(knots), deviation * rng.standard_normal(knots))
        centred: np.ndarray = gain - gain.mean()
        return centred

    def apply(self, latent: np.ndarray, gain: np.ndarray, expansion: float = 1.0) -> np.ndarray:
        """(channels, frames) through an equaliser of `gain` (bands,) in dB; silence stays.

        Levels of all bands, in dB from `PIVOT`, are then multiplied by `expansion`.
        What the latent does not hold of the spectrum is neither gained nor lost: only the
        change is projected.
        """
        before = self.inverse @ latent + self.mean
        factor = np.tile(10 ** (gain / 20), self.stack).astype(np.float32)[:, None]
        magnitude = np.maximum(np.exp(before) - self.floor, 0)
        louder = PIVOT * (magnitude * factor / PIVOT) ** expansion
        after = np.log(louder + self.floor)
        changed: np.ndarray = latent + self.project @ (after - np.log(magnitude + self.floor))
        return changed
