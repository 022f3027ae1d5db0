"""Discriminators of a codec's adversarial phase.

Spectra at several resolutions, as in EnCodec (Défossez et al., 2022, section 3.4): 2-D
convolutions over the real and imaginary STFT, which judge phase coherence as well as
magnitude. Samples at several periods, as in HiFi-GAN (Kong, Kim and Bae, 2020, section
2.3): the waveform folded into rows of a period, which sees what spectra blur.
"""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from timbrel.spectra import Stft


class SpectrumDiscriminator(nn.Module):
    """One resolution: (batch, samples) -> scores, and the features of every layer."""

    def __init__(self, n_fft: int, width: int) -> None:
        super().__init__()
        self.stft = Stft(n_fft, n_fft // 4)
        channels = [2, width, width, 2 * width, 2 * width]
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(i, o, (7, 3), stride=(3, 1), padding=(3, 1)))
            for i, o in itertools.pairwise(channels)
        )
        self.score = weight_norm(nn.Conv2d(channels[-1], 1, 3, padding=1))

    def forward(self, audio: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Scores (batch, 1, height, frames); features, one tensor a layer."""
        spectrum = self.stft(audio) * (2 / self.stft.window.sum())
        # power compression: quiet partials count too
        magnitude = spectrum.abs().clamp_min(1e-6)
        x = torch.view_as_real(spectrum * magnitude.pow(-0.7)).permute(0, 3, 1, 2)
        features = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
            features.append(x)
        return self.score(x), features


class PeriodDiscriminator(nn.Module):
    """One period: (batch, samples) -> scores, and the features of every layer."""

    def __init__(self, period: int, width: int) -> None:
        super().__init__()
        self.period = period
        channels = [1, width, 2 * width, 4 * width, 4 * width]
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(i, o, (5, 1), stride=(3, 1), padding=(2, 0)))
            for i, o in itertools.pairwise(channels)
        )
        self.score = weight_norm(nn.Conv2d(channels[-1], 1, (3, 1), padding=(1, 0)))

    def forward(self, audio: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Scores (batch, 1, rows, period); features, one tensor a layer."""
        padded = F.pad(audio, (0, -audio.shape[1] % self.period))
        x = padded.reshape(len(audio), 1, -1, self.period)
        features = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
            features.append(x)
        return self.score(x), features


class Discriminator(nn.Module):
    """Several resolutions, and several periods, together.

    Args:
        windows: of the spectra, in samples.
        periods: in samples, without common factors; none for a codec that cannot choose
            its phases.
        width: channels of the first layers.
    """

    def __init__(
        self,
        windows: tuple[int, ...] = (2048, 1024, 512),
        periods: tuple[int, ...] = (),
        width: int = 16,
    ) -> None:
        super().__init__()
        self.scales = nn.ModuleList(
            [
                *(SpectrumDiscriminator(n, width) for n in windows),
                *(PeriodDiscriminator(n, width) for n in periods),
            ]
        )

    def forward(self, audio: Tensor) -> list[tuple[Tensor, list[Tensor]]]:
        """(batch, samples) -> scores and features of every scale."""
        return [scale(audio) for scale in self.scales]


def discriminator_loss(
    discriminator: Discriminator, fake: Tensor, real: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """Hinge loss of the discriminator, and its scores; both inputs (batch, samples)."""
    total, scores = fake.new_zeros(()), []
    for (score_fake, _), (score_real, _) in zip(
        discriminator(fake.detach()), discriminator(real), strict=True
    ):
        total = total + F.relu(1 + score_fake).mean() + F.relu(1 - score_real).mean()
        scores += [score_fake.detach(), score_real.detach()]
    return total / len(discriminator.scales), scores


def generator_losses(
    discriminator: Discriminator, fake: Tensor, real: Tensor, twins: int | None = None
) -> tuple[Tensor, Tensor]:
    """Adversarial loss and relative feature distance of the decoder's output.

    Args:
        discriminator: judges.
        fake: (batch, samples).
        real: (batch, samples).
        twins: how many, from the first on, are of the same sound, so that features can be compared;
            None: all.
    """
    adversarial = matching = fake.new_zeros(())
    with torch.no_grad():
        truths = discriminator(real)
    for (score, features), (_, truth) in zip(discriminator(fake), truths, strict=True):
        adversarial = adversarial - score.mean()
        for a, b in zip(features, truth, strict=True):
            a, b = a[:twins], b[:twins]
            matching = matching + (a - b).abs().mean() / b.abs().mean().clamp_min(1e-6)
    layers = sum(len(features) for _, features in truths)
    return adversarial / len(truths), matching / layers
