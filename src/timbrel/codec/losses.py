"""What the decoder learns from: log-spectra directly, and the waveform it makes."""

import torch
from torch import Tensor, nn

from timbrel.spectra import Stft


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
    """

    def __init__(self, windows: tuple[int, ...] = (4096, 2048, 1024, 512, 256)) -> None:
        super().__init__()
        self.transforms: list[Stft] = [Stft(n, n // 4) for n in windows]
        self.registered = nn.ModuleList(self.transforms)

    def forward(self, estimate: Tensor, target: Tensor) -> Tensor:
        """Both (batch, samples). Returns a scalar."""
        total = estimate.new_zeros(())
        for stft in self.transforms:
            scale = 2 / stft.window.sum()
            wrong, right = stft(estimate).abs() * scale, stft(target).abs() * scale
            total = total + torch.linalg.norm(wrong - right) / torch.linalg.norm(right).clamp_min(
                1e-3
            )
            total = total + (torch.log(wrong + 1e-4) - torch.log(right + 1e-4)).abs().mean()
        return total / len(self.transforms)
