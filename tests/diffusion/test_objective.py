"""Rectified flow and EDM: two sets of times and weights on one path."""

import pytest
import torch

from timbrel.diffusion.objective import (
    Edm,
    Objective,
    RectifiedFlow,
    gaussian_velocity,
    interpolate,
    velocity,
    velocity_loss,
)

CPU = torch.device("cpu")


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_path_runs_from_latent_to_noise() -> None:
    x, eps = torch.randn(2, 3, 5), torch.randn(2, 3, 5)
    torch.testing.assert_close(interpolate(x, eps, torch.zeros(2)), x)
    torch.testing.assert_close(interpolate(x, eps, torch.ones(2)), eps)
    step = interpolate(x, eps, torch.full((2,), 0.6)) - interpolate(x, eps, torch.full((2,), 0.5))
    torch.testing.assert_close(step, 0.1 * velocity(x, eps))


def test_flow_times_lie_inside_the_path_and_favour_its_middle() -> None:
    times = RectifiedFlow().draw_times(4000, source(), CPU)
    assert 0 < times.min() < 0.1 < 0.9 < times.max() < 1
    assert ((times > 0.25) & (times < 0.75)).float().mean() > 0.65


def test_edm_draws_log_normal_noise_levels() -> None:
    times = Edm(0.5).draw_times(20_000, source(), CPU)
    log_sigma = (times / (1 - times)).log()
    assert float(log_sigma.mean()) == pytest.approx(-1.2, abs=0.05)
    assert float(log_sigma.std()) == pytest.approx(1.2, abs=0.05)


def test_edm_weighs_the_denoised_latent_as_karras_does() -> None:
    sigma_data, sigma = 0.7, torch.tensor([0.05, 0.5, 4.0])
    time = sigma / (1 + sigma)
    x, eps = torch.randn(3, 2, 4), torch.randn(3, 2, 4)
    estimate = velocity(x, eps) + torch.randn(3, 2, 4)
    noisy = interpolate(x, eps, time)
    denoised = noisy - time[:, None, None] * estimate
    karras = (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2
    expected = karras * (denoised - x).square().mean((1, 2))
    found = Edm(sigma_data).weight(time) * (estimate - velocity(x, eps)).square().mean((1, 2))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", [RectifiedFlow(), Edm(1.0)])
@pytest.mark.parametrize("intervals", [1, 2, 5, 40])
def test_schedules_fall_from_noise_to_the_latent(kind: Objective, intervals: int) -> None:
    times = kind.schedule(intervals)
    assert times.shape == (intervals + 1,)
    assert 0.98 < float(times[0]) <= 1
    assert float(times[-1]) == 0
    assert bool((times.diff() < 0).all())


def test_given_frames_do_not_count_in_the_loss() -> None:
    target = torch.zeros(1, 2, 4)
    estimate = target.clone()
    estimate[:, :, :2] = 100
    given = torch.tensor([[[1.0, 1, 0, 0]]])
    assert velocity_loss(estimate, target, torch.ones(2), given).item() == 0
    assert velocity_loss(estimate, target, torch.ones(2), 0 * given).item() > 0


def test_the_gaussian_velocity_is_the_best_linear_estimate() -> None:
    torch.manual_seed(0)
    guess, deviation, time = torch.tensor([[[2.0]]]), torch.tensor([[[0.6]]]), torch.tensor([0.7])
    latent = guess + deviation * torch.randn(1, 1, 200_000)
    noise = torch.randn_like(latent)
    noisy, target = interpolate(latent, noise, time), velocity(latent, noise)
    mean, spread = gaussian_velocity(noisy, time, guess, deviation)
    residual = target - mean
    assert float(residual.mean()) == pytest.approx(0, abs=0.01)
    assert float((residual * (noisy - noisy.mean())).mean()) == pytest.approx(0, abs=0.01)
    assert float(residual.std()) == pytest.approx(float(spread), rel=0.01)
