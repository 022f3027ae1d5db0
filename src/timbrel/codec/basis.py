"""The codec's latent: a fixed, whitened basis of log-spectra.

A small codec with a learned encoder needs hours to find what a principal component
analysis of log-spectra gives at once (docs/decisions/0001). The basis is computed once
from audio, stored with the codec, and never changes, so that decoder and denoiser can be
trained at the same time and stores of latents stay valid.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from timbrel.spectra import Stft, band_edges, triangular_bands


class SpectralBasis(nn.Module):
    """Audio -> latent, and latent -> log-spectrum, both fixed.

    One latent frame stacks `stack` STFT frames of `bands` log-magnitudes each, projects
    them on `channels` principal components and scales each to unit variance.

    Args:
        rate: sampling rate in Hz.
        hop: samples per latent frame.
        n_fft: STFT window in samples.
        stack: STFT frames per latent frame.
        bands: frequency bands; 256 at 44.1 kHz resolve semitones above 250 Hz.
        channels: latent channels.
        floor: magnitude (full-scale sine = 1) that is added before the logarithm.
    """

    centres: Tensor
    bank: Tensor
    spread: Tensor
    mean: Tensor
    components: Tensor
    deviation: Tensor

    def __init__(
        self, rate: int, hop: int, n_fft: int, stack: int, bands: int, channels: int, floor: float
    ) -> None:
        super().__init__()
        self.stack, self.bands, self.channels, self.floor = stack, bands, channels, floor
        self.hop = hop
        self.stft = Stft(n_fft, hop // stack)
        edges = band_edges(bands, 20.0, 0.98 * rate / 2, 700.0)
        self.register_buffer("centres", edges[1:-1].clone(), persistent=False)  # Hz
        self.register_buffer("bank", triangular_bands(edges, n_fft, rate), persistent=False)
        self.register_buffer("spread", self._spread(edges, n_fft, rate), persistent=False)
        self.register_buffer("mean", torch.zeros(stack * bands))
        self.register_buffer("components", torch.eye(stack * bands)[:channels].contiguous())
        self.register_buffer("deviation", torch.ones(channels))

    @staticmethod
    def _spread(edges: Tensor, n_fft: int, rate: int) -> Tensor:
        """(bins, bands): linear interpolation from band centres to FFT bins."""
        centres = edges[1:-1].contiguous()
        hz = torch.arange(n_fft // 2 + 1, dtype=torch.float64) * rate / n_fft
        upper = torch.searchsorted(centres, hz).clamp(1, len(centres) - 1)
        low, high = centres[upper - 1], centres[upper]
        share = ((hz - low) / (high - low)).clamp(0, 1)
        matrix = torch.zeros(len(hz), len(centres), dtype=torch.float64)
        rows = torch.arange(len(hz))
        matrix[rows, upper - 1] += 1 - share
        matrix[rows, upper] += share
        return matrix.float()

    def magnitude(self, audio: Tensor) -> Tensor:
        """(batch, samples) -> (batch, bins, frames * stack); a full-scale sine peaks at 1."""
        padding = -audio.shape[-1] % self.hop
        spectrum = self.stft(torch.nn.functional.pad(audio, (0, padding)))
        return spectrum.abs() * (2 / self.stft.window.sum())

    def log_bands(self, magnitude: Tensor) -> Tensor:
        """Magnitudes -> stacked log-bands (batch, stack * bands, frames)."""
        bands = torch.log(torch.einsum("kb,nbt->nkt", self.bank, magnitude) + self.floor)
        batch, _, frames = bands.shape
        folded = bands.reshape(batch, self.bands, frames // self.stack, self.stack)
        return folded.permute(0, 3, 1, 2).reshape(batch, -1, frames // self.stack)

    def project(self, log_bands: Tensor) -> Tensor:
        """Stacked log-bands -> latent (batch, channels, frames)."""
        centred = log_bands - self.mean[:, None]
        latent = torch.einsum("ck,nkt->nct", self.components, centred)
        return latent / self.deviation[:, None]

    def encode(self, audio: Tensor) -> Tensor:
        """(batch, samples) -> (batch, channels, ceil(samples / hop))."""
        return self.project(self.log_bands(self.magnitude(audio)))

    def log_magnitude(self, latent: Tensor) -> Tensor:
        """Latent -> log(magnitude + floor), (batch, bins, frames * stack): a smooth first guess."""
        log_bands = torch.einsum("ck,nct->nkt", self.components, latent * self.deviation[:, None])
        log_bands = log_bands + self.mean[:, None]
        batch, _, frames = log_bands.shape
        unfolded = log_bands.reshape(batch, self.stack, self.bands, frames)
        unfolded = unfolded.permute(0, 2, 3, 1).reshape(batch, self.bands, frames * self.stack)
        return torch.einsum("bk,nkt->nbt", self.spread, unfolded)

    @torch.no_grad()
    def fit(self, excerpts: Iterable[Tensor]) -> float:
        """Compute the basis from audio.

        Args:
            excerpts: tensors (batch, samples); a few minutes of varied sound in all.

        Returns:
            Share of the variance that the kept components hold, in [0, 1].
        """
        size = self.stack * self.bands
        count, total = 0, torch.zeros(size, dtype=torch.float64)
        square = torch.zeros(size, size, dtype=torch.float64)
        for audio in excerpts:
            folded = self.log_bands(self.magnitude(audio)).transpose(1, 2)
            # sums need double precision, which some devices do not have
            rows = folded.reshape(-1, size).cpu().double()
            count += len(rows)
            total += rows.sum(0)
            square += rows.T @ rows
        mean = total / count
        covariance = square / count - torch.outer(mean, mean)
        values, vectors = torch.linalg.eigh(covariance)
        order = values.argsort(descending=True)[: self.channels]
        self.mean.copy_(mean)
        self.components.copy_(vectors[:, order].T)
        self.deviation.copy_(values[order].clamp_min(1e-8).sqrt())
        return float(values[order].sum() / values.sum())
