"""Noise of which less lasts than changes."""

import pytest
import torch

from timbrel.diffusion.noise import SPAN, tempered


@pytest.fixture
def white() -> torch.Tensor:
    return torch.randn(2, 16, 4_000 + SPAN - 1, generator=torch.Generator().manual_seed(0))


def test_of_one_temperature_it_is_the_same_noise_scaled(white: torch.Tensor) -> None:
    torch.testing.assert_close(tempered(white, 0.8, 0.8), 0.8 * white[:, :, SPAN - 1 :])
    assert not tempered(white, 0.0, 0.0).any()


@pytest.mark.parametrize("texture", [0.5, 1.4])
def test_what_lasts_has_the_temperature_and_the_rest_the_texture(
    white: torch.Tensor, texture: float
) -> None:
    noise = tempered(white, 0.7, texture)
    assert noise.shape == (2, 16, 4_000)
    power = torch.fft.rfft(noise).abs().square().mean((0, 1)) / 4_000
    frequency = torch.linspace(0, 0.5, len(power))  # cycles a frame
    slow = power[1:][frequency[1:] < 0.01].mean().sqrt()
    assert abs(float(slow) - 0.7) < 0.05
    # a mean over SPAN frames holds nothing of what has a whole number of cycles in them
    fast = power[(frequency - 2 / SPAN).abs() < 0.005].mean().sqrt()
    assert abs(float(fast) - texture) < 0.05


def test_a_frame_depends_on_no_later_noise(white: torch.Tensor) -> None:
    other = white.clone()
    other[:, :, 100:] = 0
    same = 100 - SPAN + 1
    assert torch.equal(tempered(other, 0.7, 1.4)[..., :same], tempered(white, 0.7, 1.4)[..., :same])
