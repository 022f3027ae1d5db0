"""What codecs learn from: log-spectra directly, and the waveform that they make."""

import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from scipy.signal import freqz
from torch import Tensor, nn

from timbrel.spectra import Stft, band_edges, triangular_bands


class LogMagnitudeLoss(nn.Module):
    """L1 between log-magnitudes, weighted towards the frequencies where pitch is heard.

    The weight of a bin is 1 / (f + knee): equal weight per octave well above the knee.

    Args:
        bins: STFT bins, from 0 to half of `rate`.
        rate: Hz.
        knee_hz: below it, bins weigh alike.
    """

    weight: Tensor

    def __init__(self, bins: int, rate: int, knee_hz: float = 1_500.0) -> None:
        super().__init__()
        weight = 1 / (torch.linspace(0, rate / 2, bins) + knee_hz)
        self.register_buffer("weight", (weight / weight.mean())[:, None], persistent=False)

    def forward(self, estimate: Tensor, target: Tensor) -> Tensor:
        """Both (batch, bins, frames), natural logarithms. Returns a scalar."""
        return ((estimate - target).abs() * self.weight).mean()


class MultiResolutionStftLoss(nn.Module):
    """Spectral convergence and log-magnitude L1 at several window lengths.

    (Yamamoto, Song and Kim, 2020, "Parallel WaveGAN", equations 4 to 7.) Windows from 6
    to 93 ms see onsets and pitch; one resolution alone can be fooled.

    An estimate with noise in it cannot have the target's noise, and would do best without any. So
    of two estimates that differ in their noise alone half the distance to each other is taken
    from the mean of their distances to the target. That is smallest when they are drawn as targets
    are (Gritsenko et al., 2020, "A spectral energy distance for parallel speech synthesis").
    """

    def __init__(self, windows: tuple[int, ...] = (4096, 2048, 1024, 512, 256)) -> None:
        super().__init__()
        self.transforms: list[Stft] = [Stft(n, n // 4) for n in windows]
        self.registered = nn.ModuleList(self.transforms)

    def forward(self, estimate: Tensor, target: Tensor, again: Tensor | None = None) -> Tensor:
        """All (batch, samples); `again` is the estimate with other noise. Returns a scalar."""
        total = estimate.new_zeros(())
        for stft in self.transforms:
            scale = 2 / stft.window.sum()
            right = stft(target).abs() * scale
            size = torch.linalg.norm(right).clamp_min(1e-3)
            first = stft(estimate).abs() * scale
            if again is None:
                total = total + _apart(first, right, size)
                continue
            second = stft(again).abs() * scale
            off = _apart(first, right, size) + _apart(second, right, size)
            total = total + (off - _apart(first, second, size)) / 2
        return total / len(self.transforms)


def _apart(one: Tensor, other: Tensor, size: Tensor) -> Tensor:
    """How far two spectra of magnitudes are apart, linear ones relative to `size`."""
    linear = torch.linalg.norm(one - other) / size
    return linear + (torch.log(one + 1e-4) - torch.log(other + 1e-4)).abs().mean()


class BandSpectra(nn.Module):
    """Magnitudes at several resolutions, each with the bands that it is compared in.

    Short windows have few bands and long ones many (Kumar et al., 2023, section 3.4), so
    that no band is narrower than a bin.

    Args:
        rate: Hz.
        scales: window length and bands of each resolution.
    """

    def __init__(self, rate: int, scales: tuple[tuple[int, int], ...]) -> None:
        super().__init__()
        self.transforms: list[Stft] = [Stft(n, n // 4) for n, _ in scales]
        self.registered = nn.ModuleList(self.transforms)
        for n, bands in scales:
            bank = triangular_bands(band_edges(bands, 20.0, 0.98 * rate / 2, 700.0), n, rate)
            self.register_buffer(f"bank_{n}", bank, persistent=False)

    def forward(self, audio: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """(batch, samples) -> magnitudes (batch, bins, frames) and filters (bands, bins)."""
        for stft in self.transforms:
            magnitude = stft(audio).abs() * (2 / stft.window.sum())
            yield magnitude, self.get_buffer(f"bank_{stft.n_fft}")


class MelLoss(nn.Module):
    """L1 between log10-mel spectra at several resolutions."""

    def __init__(
        self, rate: int, scales: tuple[tuple[int, int], ...] = ((4096, 192), (2048, 128), (512, 40))
    ) -> None:
        super().__init__()
        self.spectra = BandSpectra(rate, scales)

    def forward(self, estimate: Tensor, target: Tensor) -> Tensor:
        """Both (batch, samples). Returns a scalar."""
        found = [
            [torch.log10(bank @ magnitude + 1e-5) for magnitude, bank in self.spectra(audio)]
            for audio in (estimate, target)
        ]
        off = [(wrong - right).abs().mean() for wrong, right in zip(*found, strict=True)]
        return torch.stack(off).mean()


class StatisticsLoss(nn.Module):
    """L1 between statistics of two sounds that play the same but are not aligned.

    Of every band of three resolutions: its level and how far that spreads over time, how much it
    changes from frame to frame, and how peaked the spectrum is within it. (Marginal moments of
    subband envelopes, after McDermott and Simoncelli, 2011, "Sound texture perception via
    statistics of the auditory periphery".)
    """

    weight: Tensor

    def __init__(
        self, rate: int, scales: tuple[tuple[int, int], ...] = ((4096, 96), (2048, 64), (512, 32))
    ) -> None:
        super().__init__()
        self.spectra = BandSpectra(rate, scales)
        # levels follow from the notes' loudness, which nobody can know exactly
        self.register_buffer("weight", torch.tensor([0.5, 1, 1, 1])[:, None], persistent=False)

    def forward(self, estimate: Tensor, target: Tensor) -> Tensor:
        """Both (batch, samples). Returns a scalar."""
        found = [
            [self._statistics(magnitude, bank) for magnitude, bank in self.spectra(audio)]
            for audio in (estimate, target)
        ]
        off = [
            ((mine - right).abs() * self.weight).mean() for mine, right in zip(*found, strict=True)
        ]
        return torch.stack(off).mean()

    @staticmethod
    def _statistics(magnitude: Tensor, bank: Tensor) -> Tensor:
        """(batch, bins, frames), (bands, bins) -> (batch, 4, bands), in nepers."""
        level = torch.log(bank @ magnitude.square() + 1e-9) / 2
        spread = (level.var(2) + 1e-6).sqrt()  # a constant has no gradient of its deviation
        change = level.diff(dim=2).abs()
        peaked = bank @ torch.log(magnitude + 1e-5) - level
        return torch.stack([level.mean(2), spread, change.mean(2), peaked.mean(2)], 1)


class ComplexStftLoss(nn.Module):
    """L1 between complex spectra whose magnitudes are compressed to |X|^0.3.

    It sees phase, also of quiet partials. Only for codecs that decide on phase: the
    spectral one does not (docs/decisions/0002).
    """

    def __init__(self, windows: tuple[int, ...] = (2048, 512), power: float = 0.3) -> None:
        super().__init__()
        self.transforms: list[Stft] = [Stft(n, n // 4) for n in windows]
        self.registered = nn.ModuleList(self.transforms)
        self.power = power

    def forward(self, estimate: Tensor, target: Tensor) -> Tensor:
        """Both (batch, samples). Returns a scalar."""
        total = estimate.new_zeros(())
        for stft in self.transforms:
            wrong, right = (self._compressed(x, stft) for x in (estimate, target))
            total = total + (wrong - right).abs().mean()
        return total / len(self.transforms)

    def _compressed(self, audio: Tensor, stft: Stft) -> Tensor:
        parts = torch.view_as_real(stft(audio) * (2 / stft.window.sum()))
        # the floor bounds the gradient at silence
        magnitude = (parts.square().sum(-1, keepdim=True) + 1e-8).sqrt()
        return parts * magnitude.pow(self.power - 1)


class KWeighting(nn.Module):
    """Weights a waveform as the ear does (ITU-R BS.1770-4), without shifting phases.

    A loss behind it cares less for the lowest bass and more for 2 kHz and above.

    Args:
        rate: Hz.
    """

    def __init__(self, rate: int) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, audio: Tensor) -> Tensor:
        """(batch, samples) -> same shape."""
        samples = audio.shape[1]
        gain = torch.from_numpy(k_weight(self.rate, samples // 2 + 1)).to(audio.device)
        return torch.fft.irfft(torch.fft.rfft(audio) * gain, samples)


@lru_cache(maxsize=4)
def k_weight(rate: int, bins: int) -> np.ndarray:
    """(bins,) float32: magnitude of the K-weighting filter from 0 to half of `rate`."""
    hz = np.linspace(0, rate / 2, bins)
    # the recommendation's two second-order sections, as analogue prototypes (De Man, 2014)
    k, q, high = math.tan(math.pi * 1681.974450955533 / rate), 0.7071752369554196, 10**0.2
    band = high**0.4996667741545416
    shelf = (
        [high + band * k / q + k * k, 2 * (k * k - high), high - band * k / q + k * k],
        [1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k],
    )
    k, q = math.tan(math.pi * 38.13547087602444 / rate), 0.5003270373238773
    pole = [1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k]
    low_cut = ([pole[0], -2 * pole[0], pole[0]], pole)
    gain = np.ones(bins)
    for numerator, denominator in (shelf, low_cut):
        gain *= np.abs(freqz(numerator, denominator, hz, fs=rate)[1])
    return gain.astype(np.float32)
