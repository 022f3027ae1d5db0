"""Time-frequency transforms as torch modules: STFT, frequency bands, constant-Q.

Conventions: a frame of index `t` is centred on sample `t * hop`; audio is padded with
zeros on both sides, so that `frames = ceil(samples / hop)`. Spectra are
(batch, bins, frames).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Responses below this are nothing, but products with them take the processor's slow path.
SMALLEST = 1e-6


def frame_count(samples: int, hop: int) -> int:
    """Number of frames that cover `samples`: `ceil(samples / hop)`."""
    return -(-samples // hop)


class Stft(nn.Module):
    """Short-time Fourier transform with a Hann window, and its inverse.

    Args:
        n_fft: window length in samples, a multiple of `hop`.
        hop: samples between two frames.
    """

    window: Tensor

    def __init__(self, n_fft: int, hop: int) -> None:
        super().__init__()
        self.n_fft, self.hop = n_fft, hop
        self.bins = n_fft // 2 + 1
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        """(batch, samples) -> complex (batch, bins, ceil(samples / hop))."""
        frames = frame_count(audio.shape[-1], self.hop)
        half = self.n_fft // 2
        right = (frames - 1) * self.hop + half - audio.shape[-1]
        padded = F.pad(audio, (half, max(right, 0)))
        spectrum = torch.stft(
            padded, self.n_fft, self.hop, window=self.window, center=False, return_complex=True
        )
        return spectrum[..., :frames]

    def inverse(self, spectrum: Tensor) -> Tensor:
        """Complex (batch, bins, frames) -> (batch, frames * hop), by overlap-add.

        Samples before the centre of frame 0 are dropped; after the last frame's centre
        one hop remains, whose normalisation assumes that frames went on.
        """
        frames = spectrum.shape[-1]
        pieces = torch.fft.irfft(spectrum.transpose(1, 2), self.n_fft) * self.window
        audio = overlap_add(pieces, self.hop) / self.overlap_gain()
        half = self.n_fft // 2
        return audio[:, half : half + frames * self.hop]

    def overlap_gain(self) -> float:
        """Sum of the squared windows that overlap at any sample (constant for Hann)."""
        return float((self.window**2).sum() / self.hop)


def overlap_add(pieces: Tensor, hop: int) -> Tensor:
    """(batch, frames, length), length a multiple of hop -> (batch, (frames - 1) * hop + length)."""
    batch, frames, length = pieces.shape
    parts = length // hop
    rows = pieces.reshape(batch, frames, parts, hop)
    total = sum(F.pad(rows[:, :, k], (0, 0, k, parts - 1 - k)) for k in range(parts))
    assert isinstance(total, Tensor)
    return total.reshape(batch, -1)


def band_edges(bands: int, low_hz: float, high_hz: float, knee_hz: float) -> Tensor:
    """Edges of overlapping bands, evenly spaced below `knee_hz` and by ratio above.

    The scale is `asinh(f / knee)`, which is linear near zero and logarithmic above;
    the mel scale is of the same kind with its knee at 700 Hz.

    Returns:
        (bands + 2,) frequencies in Hz.
    """
    points = torch.linspace(
        math.asinh(low_hz / knee_hz), math.asinh(high_hz / knee_hz), bands + 2, dtype=torch.float64
    )
    return torch.sinh(points) * knee_hz


def triangular_bands(edges_hz: Tensor, n_fft: int, rate: int) -> Tensor:
    """Triangular filters over FFT bins, each of unit sum.

    A filter narrower than a bin is widened to one bin, so none is empty.

    Returns:
        (bands, n_fft / 2 + 1) float32.
    """
    bin_hz = rate / n_fft
    hz = torch.arange(n_fft // 2 + 1, dtype=torch.float64) * bin_hz
    centre = edges_hz[1:-1, None]
    left = torch.minimum(edges_hz[:-2, None], centre - bin_hz)
    right = torch.maximum(edges_hz[2:, None], centre + bin_hz)
    rising = (hz - left) / (centre - left)
    falling = (right - hz) / (right - centre)
    filters = torch.minimum(rising, falling).clamp_min(0)
    return (filters / filters.sum(1, keepdim=True)).float()


class ConstantQ(nn.Module):
    """Constant-Q magnitude spectrum averaged (not sub-sampled) to the latent rate.

    Kernels are computed in the frequency domain (Brown and Puckette, 1992) on one FFT
    per frame. Their length is limited to the FFT's, so the lowest octaves have a wider
    band: 186 ms at the defaults, short enough to follow fast bass lines.

    Args:
        rate: sampling rate in Hz.
        hop: samples per latent frame.
        bins_per_octave: 36 resolves a third of a semitone.
        low_hz: frequency of the lowest bin.
        octaves: number of octaves.
        n_fft: FFT length in samples.
        frames_per_hop: FFT frames averaged into one latent frame.
    """

    kernels: Tensor

    def __init__(
        self,
        rate: int,
        hop: int,
        bins_per_octave: int = 36,
        low_hz: float = 27.5,
        octaves: int = 8,
        n_fft: int = 8192,
        frames_per_hop: int = 2,
    ) -> None:
        super().__init__()
        self.stft_hop = hop // frames_per_hop
        self.frames_per_hop = frames_per_hop
        self.n_fft = n_fft
        self.bins = bins_per_octave * octaves
        hz = low_hz * 2.0 ** (torch.arange(self.bins, dtype=torch.float64) / bins_per_octave)
        quality = 1 / (2 ** (1 / bins_per_octave) - 1)
        kernels = torch.stack([self._kernel(float(f), quality, n_fft, rate) for f in hz])
        self.register_buffer("kernels", kernels, persistent=False)

    @staticmethod
    def _kernel(hz: float, quality: float, n_fft: int, rate: int) -> Tensor:
        """Magnitude response of one windowed complex exponential, of unit sum of squares."""
        length = min(n_fft, max(int(quality * rate / hz), 64))
        window = torch.hann_window(length, periodic=False, dtype=torch.float64)
        time = torch.arange(length, dtype=torch.float64) / rate
        wave = window * torch.exp(2j * math.pi * hz * time)
        response = torch.fft.fft(wave, n_fft)[: n_fft // 2 + 1].abs()
        kernel = (response / response.pow(2).sum().sqrt()).float()
        return kernel * (kernel > SMALLEST)

    def forward(self, audio: Tensor) -> Tensor:
        """(batch, samples) -> (batch, bins, ceil(samples / hop)), log(1 + 100 * magnitude)."""
        hop = self.stft_hop
        frames = frame_count(audio.shape[-1], hop * self.frames_per_hop) * self.frames_per_hop
        half = self.n_fft // 2
        padded = F.pad(audio, (half, frames * hop + half - audio.shape[-1]))
        window = torch.hann_window(self.n_fft, device=audio.device)
        spectrum = torch.stft(
            padded, self.n_fft, hop, window=window, center=False, return_complex=True
        )[..., :frames]
        # squares of parts, and scaled last: no roots of millions of bins, no denormal products
        power = spectrum.real.square() + spectrum.imag.square()
        magnitude = (self.kernels.square() @ power).sqrt() / window.sum()
        averaged = F.avg_pool1d(magnitude, self.frames_per_hop)
        return torch.log1p(100 * averaged)
