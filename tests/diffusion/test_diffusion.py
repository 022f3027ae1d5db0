import pytest
import torch

from timbrel.diffusion.flow import (
    flow_loss,
    gaussian_velocity,
    interpolate,
    sample_times,
    velocity,
)
from timbrel.diffusion.guidance import Guidance, combine
from timbrel.diffusion.samplers import euler
from timbrel.diffusion.unet import Conditions, UNet, UNetConfig


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_path_runs_from_latent_to_noise() -> None:
    x, eps = torch.randn(2, 3, 5), torch.randn(2, 3, 5)
    torch.testing.assert_close(interpolate(x, eps, torch.zeros(2)), x)
    torch.testing.assert_close(interpolate(x, eps, torch.ones(2)), eps)
    step = interpolate(x, eps, torch.full((2,), 0.6)) - interpolate(x, eps, torch.full((2,), 0.5))
    torch.testing.assert_close(step, 0.1 * velocity(x, eps))


def test_times_lie_inside_the_path_and_favour_its_middle() -> None:
    times = sample_times(4000, source(), torch.device("cpu"))
    assert 0 < times.min() < 0.1 < 0.9 < times.max() < 1
    assert ((times > 0.25) & (times < 0.75)).float().mean() > 0.65


@pytest.mark.parametrize("steps", [1, 3, 8])
def test_euler_is_exact_on_straight_paths(steps: int) -> None:
    x, eps = torch.randn(2, 3, 5), torch.randn(2, 3, 5)
    none = torch.zeros(2, 1, 5)
    out = euler(lambda _x, _t: velocity(x, eps), eps, x, none, steps)
    torch.testing.assert_close(out, x, atol=1e-5, rtol=1e-5)


def test_given_frames_come_out_as_they_went_in() -> None:
    given, noise = torch.randn(1, 3, 6), torch.randn(1, 3, 6)
    context = torch.tensor([[[1.0, 1, 0, 0, 0, 0]]])
    out = euler(lambda x, _t: torch.ones_like(x), noise, given, context, 4)
    torch.testing.assert_close(out[:, :, :2], given[:, :, :2])
    torch.testing.assert_close(out[:, :, 2:], noise[:, :, 2:] - 1)


def test_given_frames_do_not_count_in_the_loss() -> None:
    target = torch.zeros(1, 2, 4)
    estimate = target.clone()
    estimate[:, :, :2] = 100
    given = torch.tensor([[[1.0, 1, 0, 0]]])
    assert flow_loss(estimate, target, torch.ones(2), given).item() == 0
    assert flow_loss(estimate, target, torch.ones(2), 0 * given).item() > 0


@pytest.mark.parametrize(
    ("structure", "timbre", "count"),
    [(1, 1, 1), (0, 0, 1), (1, 0, 1), (1, 2, 2), (2, 3, 3), (2, 2, 2)],
)
def test_only_branches_that_count_are_computed(structure: float, timbre: float, count: int) -> None:
    guidance = Guidance(structure, timbre)
    branches = guidance.branches()
    assert len(branches) == count
    assert sum(factor for _, _, factor in branches) == pytest.approx(1)


def test_guidance_is_the_nested_formula() -> None:
    none, alone, both = torch.randn(3, 1, 2, 4)
    guided = combine(torch.stack([none, alone, both])[:, :, :, :], Guidance(1.7, 2.5))
    torch.testing.assert_close(guided, none + 1.7 * (alone - none) + 2.5 * (both - alone))


def unet() -> UNet:
    torch.manual_seed(0)
    net = UNet(8, 6, 4, UNetConfig(widths=(16, 24), embedding=32, heads=2))
    for parameter in net.parameters():
        if parameter.abs().sum() == 0:
            torch.nn.init.normal_(parameter, std=0.05)
    return net


def inputs(batch: int, frames: int) -> list[torch.Tensor]:
    """x, time, code, timbre, guess, deviation, context."""
    torch.manual_seed(1)
    return [
        torch.randn(batch, 8, frames),
        torch.rand(batch),
        torch.randn(batch, 6, frames),
        torch.randn(batch, 4),
        torch.randn(batch, 8, frames),
        0.5 + torch.rand(batch, 8, 1),
        torch.zeros(batch, 1, frames),
    ]


def evaluate(net: UNet, values: list[torch.Tensor]) -> torch.Tensor:
    x, time, *steering, context = values
    out: torch.Tensor = net(x, time, Conditions(*steering), context)
    return out.detach()


@pytest.mark.parametrize("frames", [1, 7, 32, 33])
def test_the_denoiser_takes_any_length(frames: int) -> None:
    out = evaluate(unet(), inputs(2, frames))
    assert out.shape == (2, 8, frames)
    assert torch.isfinite(out).all()


@pytest.mark.parametrize("which", range(7))
def test_every_input_of_the_denoiser_matters(which: int) -> None:
    net, values = unet(), inputs(1, 16)
    before = evaluate(net, values)
    values[which] = values[which] + 0.5
    assert (evaluate(net, values) - before).abs().max() > 1e-4


def test_items_of_a_batch_do_not_see_each_other() -> None:
    net, values = unet(), inputs(2, 16)
    alone = evaluate(net, [value[:1] for value in values])
    torch.testing.assert_close(evaluate(net, values)[:1], alone, atol=1e-5, rtol=1e-5)


def test_an_untrained_denoiser_returns_the_guess() -> None:
    net = UNet(8, 6, 4, UNetConfig(widths=(16, 24), embedding=32, heads=2))
    _, _, code, timbre, guess, _, context = inputs(2, 16)
    noise = torch.randn(2, 8, 16)

    def velocity_at(x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        conditions = Conditions(code, timbre, guess, torch.full((2, 8, 1), 0.01))
        return net(x, time, conditions, context).detach()

    out = euler(velocity_at, noise, guess, context, steps=4)
    torch.testing.assert_close(out, guess, atol=0.05, rtol=0)


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
