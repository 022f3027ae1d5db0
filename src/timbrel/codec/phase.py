"""Phase from magnitude: an integrator that runs beside the decoder.

A decoder that is invariant to shifts by one latent frame cannot hold a steady tone: fed
with a constant latent it must repeat itself every hop. Phase is an integral, and an
integral needs a state. So the network predicts no phase, and this module
integrates the two phase derivatives that a log-magnitude determines (Průša and
Søndergaard, 2016, "Real-time spectrogram inversion using phase gradient heap
integration"): in time at spectral peaks that continue, in frequency from those peaks to
all other bins. Their relation in frequency is that of a Gaussian window; in time, where a
small error detunes every note, that of a sinusoid under the Hann window is exact. The
heap of that paper is replaced by these two vectorised passes, so a frame costs a dozen
array operations.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

# Gamma of the Gaussian that is nearest to a Hann window of unit length (same paper).
HANN_GAMMA = 0.25645
# A peak continues if it stood this much lower, or higher, one frame before (natural log).
CONTINUES = 2.0


@dataclass
class PhaseState:
    """What the integrator remembers of the frame before: all (batch, bins)."""

    phase: Tensor
    time_gradient: Tensor
    log_magnitude: Tensor


class PhaseIntegrator(nn.Module):
    """Log-magnitudes -> phases of an STFT with a Hann window.

    Args:
        n_fft: window length in samples.
        hop: samples between frames; at most `n_fft / 4`.
    """

    carrier: Tensor

    def __init__(self, n_fft: int, hop: int) -> None:
        super().__init__()
        bins = torch.arange(n_fft // 2 + 1, dtype=torch.float64)
        self.register_buffer("carrier", (2 * math.pi * hop / n_fft * bins).float(), False)
        self.per_bin = 2 * math.pi * hop / n_fft  # by which phase advances more, a bin higher
        # a * M / gamma in the paper's symbols
        self.ratio = hop * n_fft / (HANN_GAMMA * n_fft**2)

    def initial_state(self, batch: int) -> PhaseState:
        """State before the first frame: silence."""
        zeros = self.carrier.new_zeros(batch, len(self.carrier))
        return PhaseState(zeros, zeros + self.carrier, zeros - 20.0)

    @torch.no_grad()
    def forward(self, log_magnitude: Tensor, state: PhaseState) -> tuple[Tensor, PhaseState]:
        """Integrate over frames.

        Args:
            log_magnitude: (batch, bins, frames), natural logarithm.
            state: from `initial_state` or the call before.

        Returns:
            Phases (batch, bins, frames) relative to each frame's centre, and the state
            after the last frame.
        """
        # frames before bins: everything below runs along bins
        level = log_magnitude.transpose(1, 2).contiguous()
        slope = torch.empty_like(level)
        slope[..., 1:-1] = (level[..., 2:] - level[..., :-2]) / 2
        slope[..., 0] = level[..., 1] - level[..., 0]
        slope[..., -1] = level[..., -1] - level[..., -2]
        time_gradient = self.per_bin * hann_offset(slope) + self.carrier
        advance = (_delayed(time_gradient, state.time_gradient) + time_gradient) / 2
        rise = level - _delayed(level, state.log_magnitude)
        area = (torch.cumsum(rise, 2) - rise / 2) / -self.ratio
        anchor = self._anchors(level, rise.abs() < CONTINUES)
        # An anchor goes on from its own phase; what it and its bins add is known beforehand.
        # Counted in turns, wrapping is cheap.
        step = ((advance - area).gather(2, anchor) + area) / (2 * math.pi)
        step -= step.floor()
        turns, last = torch.empty_like(level), state.phase / (2 * math.pi)
        for t in range(level.shape[1]):
            last = torch.gather(last, 1, anchor[:, t], out=turns[:, t]).add_(step[:, t]).frac_()
        phases = 2 * math.pi * turns
        after = PhaseState(phases[:, -1], time_gradient[:, -1], level[:, -1])
        return phases.transpose(1, 2), after

    @staticmethod
    def _anchors(level: Tensor, continues: Tensor) -> Tensor:
        """For every bin the nearest peak that continues from the frame before.

        Without any such peak the loudest bin is the anchor.

        Args:
            level: (batch, frames, bins) log-magnitudes.
            continues: same shape, bool.

        Returns:
            Same shape, int64.
        """
        bins = level.shape[2]
        peak = torch.zeros_like(continues)
        middle = level[..., 1:-1]
        peak[..., 1:-1] = (middle >= level[..., :-2]) & (middle > level[..., 2:])
        peak &= continues
        peak.scatter_(2, level.argmax(2, keepdim=True), True)
        # peaks are few: each is repeated from half-way to the one below to half-way above
        place = peak.flatten().nonzero()[:, 0]
        row = place // bins * bins
        begins = torch.cat([place.new_zeros(1), (place[1:] + place[:-1]) // 2 + 1])
        begins = torch.maximum(begins, row)
        first = torch.cat([row.new_full((1,), -1), row[:-1]]) < row
        begins = torch.where(first, row, begins)
        lengths = torch.diff(begins, append=begins.new_full((1,), peak.numel()))
        return torch.repeat_interleave(place - row, lengths, output_size=peak.numel()).reshape(
            peak.shape
        )


def hann_offset(slope: Tensor) -> Tensor:
    """Where in a bin a sinusoid lies, by the slope of log-magnitudes around its peak.

    Under a Hann window W(x) = sinc(x) / (1 - x^2), so neighbours of a peak that is off by d
    bins differ by W(1 - d) / W(1 + d) = (1 + d) (2 + d) / ((1 - d) (2 - d)), a quadratic in d.

    Args:
        slope: half the difference of the natural logarithms of the neighbours' magnitudes.

    Returns:
        Bins, same shape, in (-1, 1).
    """
    t = torch.tanh(slope)
    return 4 * t / (3 + torch.sqrt(9 - 8 * t.square()))


def _delayed(values: Tensor, before: Tensor) -> Tensor:
    """(batch, frames, bins) one frame later, with `before` (batch, bins) in front."""
    return torch.cat([before[:, None], values[:, :-1]], 1)
