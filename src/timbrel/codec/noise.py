"""The noise in a spectrum: how much of it is noise, and noise to make it of.

Phases that are integrated make a steady tone of every bin that stands out, and so of noise a chord
of tones that come and go. As in spectral modelling (Serra and Smith, 1990, "Spectral modeling
synthesis: a sound analysis/synthesis system based on a deterministic plus stochastic
decomposition") a sound is therefore a sum: of what goes on, with integrated phases, and of white
noise, filtered by the same magnitudes. The network says for every band how much is noise; within
a band it lies between the partials rather than on them.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from timbrel.spectra import Stft

# What follows says what the weights of a decoder mean: other numbers need other weights.
FRAMES = 512  # after which the noise repeats (6 s at the default hop)
REACH = 8  # bins to either side of which a partial stands out
KNEE_HZ = 700.0  # bands are evenly spaced below and by ratio above, as on the mel scale
# Where noise begins to be learned from: 15 dB below what is flat, where its gradient is not nothing
# as it would be at silence, and much further below what stands out.
BEGIN, FALL = -2.0, 1.0
# A step moves these numbers as much as any, but they have ten times as far to go.
PACE = 10.0


class Noise(nn.Module):
    """Where noise is, from what the decoder says, and the spectrum of white noise.

    Args:
        stft: whose frames are made.
        rate: Hz.
        bands: in which the decoder says it.
    """

    table: Tensor
    weights: Tensor

    def __init__(self, stft: Stft, rate: int, bands: int) -> None:
        super().__init__()
        hz = torch.linspace(0, rate / 2, stft.bins, dtype=torch.float64)
        place = torch.asinh(hz / KNEE_HZ) * ((bands - 1) / math.asinh(rate / 2 / KNEE_HZ))
        apart = (place[:, None] - torch.arange(bands)).abs()
        self.register_buffer("weights", (1 - apart).clamp_min(0).float(), persistent=False)
        source = torch.Generator().manual_seed(0)
        white = torch.randn(1, FRAMES * stft.hop, generator=source)
        around = torch.cat([white, white[:, : stft.n_fft]], 1)  # it ends as it begins
        spectrum = torch.stft(
            around, stft.n_fft, stft.hop, window=stft.window, center=False, return_complex=True
        )[0, :, :FRAMES]
        # A decoder that learns from L1 of log-magnitudes says their median: of noise it is 1 here.
        spectrum = spectrum / (stft.window.square().sum() * math.log(2)).sqrt()
        # frames first: they are what is looked up
        frames = torch.view_as_real(spectrum.T.contiguous())
        self.register_buffer("table", frames, persistent=False)

    def angle(self, level: Tensor, said: Tensor) -> Tensor:
        """How much of each bin is noise.

        Args:
            level: (batch, bins, frames), log-magnitudes.
            said: (batch, 2 * bands, frames): logits, and by how much they fall for each neper by
                which a bin stands out, both divided by `PACE`.

        Returns:
            (batch, bins, frames) in (0, pi / 2): noise has the sine of it, tones the cosine.
        """
        lines = level.detach().transpose(1, 2)
        around = F.avg_pool1d(lines, 2 * REACH + 1, 1, REACH, count_include_pad=False)
        logit, fall = (self.weights @ part for part in (PACE * said).chunk(2, 1))
        stands_out = (lines - around).transpose(1, 2)
        return torch.sigmoid(logit - fall * stands_out) * (math.pi / 2)

    def frames(self, first: Tensor, count: int) -> Tensor:
        """White noise whose magnitudes have a median of 1.

        Args:
            first: (batch,) number of the first frame: noise is a function of time, not of the call.
            count: frames.

        Returns:
            Complex (batch, bins, count), phases relative to each frame's first sample.
        """
        at = (first[:, None] + torch.arange(count, device=first.device)) % FRAMES
        return torch.view_as_complex(self.table[at]).transpose(1, 2)
