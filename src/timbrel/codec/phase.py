"""Phase from magnitude: an integrator that runs beside the decoder.

A decoder that is invariant to shifts by one latent frame cannot hold a steady tone: fed
with a constant latent it must repeat itself every hop. Phase is an integral, and an
integral needs a state. So the network predicts log-magnitudes only, and this module
integrates the two phase derivatives that a log-magnitude determines (for a Gaussian
window exactly; Průša and Søndergaard, 2016, "Real-time spectrogram inversion using
phase gradient heap integration"): in time at spectral peaks that continue, in frequency
from those peaks to all other bins. The heap of that paper is replaced by these two
vectorised passes, so a frame costs a dozen array operations.
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
        slope = torch.empty_like(log_magnitude)
        slope[:, 1:-1] = (log_magnitude[:, 2:] - log_magnitude[:, :-2]) / 2
        slope[:, 0] = log_magnitude[:, 1] - log_magnitude[:, 0]
        slope[:, -1] = log_magnitude[:, -1] - log_magnitude[:, -2]
        time_gradient = self.ratio * slope + self.carrier[:, None]
        before = torch.cat([state.log_magnitude[:, :, None], log_magnitude[:, :, :-1]], 2)
        rise = log_magnitude - before
        frequency_gradient = -rise / self.ratio
        integral = torch.cumsum(frequency_gradient, 1) - frequency_gradient / 2
        anchor = self._anchors(log_magnitude, rise.abs() < CONTINUES)
        phase, previous, phases = state.phase, state.time_gradient, []
        for t in range(log_magnitude.shape[-1]):
            current, at, area = time_gradient[:, :, t], anchor[:, :, t], integral[:, :, t]
            advanced = phase + (previous + current) / 2
            phase = (advanced - area).gather(1, at) + area
            phase = torch.remainder(phase, 2 * math.pi)
            previous = current
            phases.append(phase)
        return torch.stack(phases, 2), PhaseState(phase, previous, log_magnitude[:, :, -1])

    @staticmethod
    def _anchors(log_magnitude: Tensor, continues: Tensor) -> Tensor:
        """For every bin the nearest peak that continues from the frame before.

        Without any such peak the loudest bin is the anchor.

        Returns:
            (batch, bins, frames) int64.
        """
        bins = log_magnitude.shape[1]
        peak = torch.zeros_like(continues)
        middle = log_magnitude[:, 1:-1]
        peak[:, 1:-1] = (middle >= log_magnitude[:, :-2]) & (middle > log_magnitude[:, 2:])
        peak &= continues
        loudest = log_magnitude.argmax(1, keepdim=True)
        peak.scatter_(1, loudest, True)
        index = torch.arange(bins, device=log_magnitude.device)[:, None].expand_as(peak)
        below = torch.where(peak, index, -bins).cummax(1).values
        above = torch.where(peak, index, 3 * bins).flip(1).cummin(1).values.flip(1)
        return torch.where(index - below <= above - index, below, above)
