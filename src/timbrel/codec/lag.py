"""How late the sound of a codec comes, found by ear: short noises, coded, decoded and compared."""

import torch
import torch.nn.functional as F
from torch import Tensor

GRID_SECONDS = 0.001  # between levels by which a codec that keeps no phase is found to be late
LEAST_LAG = 0.01  # seconds that such levels can tell from none
ALIKE = 0.5  # least correlation of sounds, or of their levels, that says how late one is


def lag_of(sound: Tensor, again: Tensor, rate: int, most_seconds: float) -> int:
    """By how many samples a sound comes late where it is heard again.

    Where phases are kept, waveforms say it to the sample, else levels, to some milliseconds: a lag
    of less than `LEAST_LAG` seconds they cannot tell from none. What comes early is not late.

    Args:
        sound: (samples,), such as `bursts`.
        again: (about as many,).
        rate: Hz.
        most_seconds: that it may be.
    """
    most = round(most_seconds * rate)
    lag, alike = _best_lag(sound, again, most)
    if alike >= ALIKE:
        return max(0, lag)
    grid = round(GRID_SECONDS * rate)
    one, other = (F.avg_pool1d(x.square()[None], 8 * grid, grid)[0] for x in (sound, again))
    steps, alike = _best_lag(one - one.mean(), other - other.mean(), most // grid)
    return steps * grid if alike >= ALIKE and steps * grid >= LEAST_LAG * rate else 0


def _best_lag(one: Tensor, other: Tensor, most: int) -> tuple[int, float]:
    """Where in [-most, most] two signals are most alike, inverted or not, and how much."""
    length = min(len(one), len(other))
    one, other = one[:length].double(), other[:length].double()
    lags = torch.arange(-most, most + 1)
    size = 2 * length
    product = torch.fft.rfft(other, size) * torch.fft.rfft(one, size).conj()
    correlation = torch.fft.irfft(product, size)[lags % size].abs()
    # of each by itself where the two overlap
    energies = [F.pad(x.square().cumsum(0), (1, 0)) for x in (one, other)]
    late, early = lags.clamp_min(0), (-lags).clamp_min(0)
    first = energies[0][length - late] - energies[0][early]
    second = energies[1][length - early] - energies[1][late]
    alike = correlation / (first * second).clamp_min(1e-12).sqrt()
    best = int(alike.argmax())
    return int(lags[best]), float(alike[best])


def bursts(samples: int, rate: int) -> Tensor:
    """(1, 1, samples): short noises that begin at once, at uneven times; the same always."""
    source = torch.Generator().manual_seed(0)
    time = torch.arange(samples) / rate
    level, start = torch.zeros(samples), 0.1
    while start < float(time[-1]):
        age = time - start
        level += (age >= 0) * torch.exp(-30 * age.clamp_min(0))
        start += 0.1 + 0.4 * float(torch.rand((), generator=source))
    return (0.2 * level * torch.randn(samples, generator=source)).clamp(-1, 1)[None, None]
