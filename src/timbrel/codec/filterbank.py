"""A filterbank of M bands: audio <-> M signals at an M-th of its rate, nearly without loss.

A cosine-modulated, pseudo-quadrature mirror filterbank (Nguyen, 1994, "Near-perfect-
reconstruction pseudo-QMF banks"): all bands are one low-pass filter, shifted in frequency;
phases are such that what leaks into a neighbour is cancelled by it. The low-pass begins as
a windowed sinc (Lin and Vaidyanathan, 1998) and is moved, as little as possible, to where
the overall response is flat.

Both directions are causal; together they delay by `delay` samples.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from timbrel.nn.causal import Stream

BLOCKS = 12  # length of the low-pass over the number of bands
ATTENUATION_DB = 120.0  # of the window; with 12 blocks 76 dB of signal over error, the best found
NEWTON_STEPS = 6


class Filterbank(nn.Module):
    """Analysis and synthesis.

    Args:
        bands: M.
    """

    analysis: Tensor
    synthesis: Tensor

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.bands, self.delay = bands, (BLOCKS - 1) * bands
        analysis, synthesis = modulated(prototype(bands, BLOCKS * bands), bands)
        # as convolutions over blocks of M samples: (out, in, block), newest block last
        folded = analysis.reshape(bands, BLOCKS, bands)[:, ::-1, ::-1]
        self.register_buffer("analysis", _float(folded.transpose(0, 2, 1)), persistent=False)
        unfolded = synthesis.reshape(bands, BLOCKS, bands)[:, ::-1]
        self.register_buffer("synthesis", _float(unfolded.transpose(2, 0, 1)), persistent=False)

    def split(self, audio: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, 1, samples), a multiple of M -> (batch, M, samples / M)."""
        blocks = audio.reshape(len(audio), -1, self.bands).transpose(1, 2)
        return F.conv1d(self._past(blocks, stream), self.analysis)

    def join(self, bands: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, M, frames) -> (batch, 1, frames * M), `delay` samples after what was split."""
        blocks = F.conv1d(self._past(bands, stream), self.synthesis)
        return blocks.transpose(1, 2).reshape(len(bands), 1, -1)

    def _past(self, x: Tensor, stream: Stream | None) -> Tensor:
        reach = BLOCKS - 1
        return F.pad(x, (reach, 0)) if stream is None else stream.extend(self, x, reach)


def _float(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).float()


def prototype(bands: int, taps: int) -> np.ndarray:
    """(taps,) float64: the low-pass of half a band whose copies add up to a flat response."""
    from scipy.optimize import minimize_scalar  # slow to import, and few models need it

    time = np.arange(taps) - (taps - 1) / 2
    window = np.kaiser(taps, 0.1102 * (ATTENUATION_DB - 8.7))

    def lowpass(cutoff: float) -> np.ndarray:
        h = np.sinc(time * cutoff / math.pi) * window
        return h / np.sqrt(2 * bands * (h @ h))

    def ripple(cutoff: float) -> float:
        h = lowpass(cutoff)
        return float(np.abs(np.convolve(h, h[::-1])[taps - 1 :: 2 * bands][1:]).max())

    middle = math.pi / (2 * bands)
    bounds = (middle, 2 * middle)
    h = lowpass(minimize_scalar(ripple, bounds=bounds, method="bounded").x)
    # flat: the autocorrelation is 1 at lag 0 and 0 at all other multiples of 2 M
    lags = np.arange(0, taps, 2 * bands)
    wanted = np.where(lags == 0, 1 / (2 * bands), 0)
    for _ in range(NEWTON_STEPS):
        later = np.stack([np.pad(h, (lag, 0))[:taps] for lag in map(int, lags)])
        earlier = np.stack([np.pad(h, (0, lag))[lag:] for lag in map(int, lags)])
        # the least change of h that mends all lags to first order
        h = h - np.linalg.pinv(later + earlier) @ (later @ h - wanted)
    return h


def modulated(lowpass: np.ndarray, bands: int) -> tuple[np.ndarray, np.ndarray]:
    """Analysis and synthesis filters, (bands, taps) each."""
    taps = len(lowpass)
    k = np.arange(bands)[:, None]
    angle = (2 * k + 1) * math.pi / (2 * bands) * (np.arange(taps) - (taps - 1) / 2)
    turn = (-1.0) ** k * math.pi / 4
    scale = 2 * math.sqrt(bands) * lowpass
    return scale * np.cos(angle + turn), scale * np.cos(angle - turn)
