"""Samplers: exact where they must be, of their order elsewhere."""

import pytest
import torch
from torch import Tensor

from timbrel.diffusion.objective import Edm, RectifiedFlow, gaussian_velocity, velocity
from timbrel.diffusion.samplers import SAMPLERS

FLOW = RectifiedFlow().schedule
MEAN, DEVIATION = 0.4, 0.6


def gaussian(x: Tensor, time: Tensor, _size: Tensor) -> Tensor:
    """The exact velocity if latents are N(MEAN, DEVIATION^2)."""
    guess, deviation = torch.full_like(x, MEAN), torch.full_like(x[:, :, :1], DEVIATION)
    return gaussian_velocity(x, time, guess, deviation)[0]


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 3, 8])
def test_straight_paths_are_followed_exactly(name: str, steps: int) -> None:
    x, eps = torch.randn(2, 3, 5), torch.randn(2, 3, 5)
    none = torch.zeros(2, 1, 5)
    out = SAMPLERS[name](lambda _x, _t, _s: velocity(x, eps), eps, x, none, FLOW, steps)
    torch.testing.assert_close(out, x, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", SAMPLERS)
def test_no_sampler_spends_more_evaluations_than_it_may(name: str) -> None:
    for steps in range(1, 9):
        calls: list[float] = []

        def count(x: Tensor, time: Tensor, _size: Tensor, calls: list[float] = calls) -> Tensor:
            calls.append(float(time[0]))
            return torch.zeros_like(x)

        x = torch.randn(1, 2, 3)
        SAMPLERS[name](count, x, x, torch.zeros(1, 1, 3), FLOW, steps)
        assert steps - 1 <= len(calls) <= steps


@pytest.mark.parametrize("name", SAMPLERS)
def test_given_frames_come_out_as_they_went_in(name: str) -> None:
    given, noise = torch.randn(1, 3, 6), torch.randn(1, 3, 6)
    context = torch.tensor([[[1.0, 1, 0, 0, 0, 0]]])
    out = SAMPLERS[name](lambda x, _t, _s: torch.ones_like(x), noise, given, context, FLOW, 4)
    torch.testing.assert_close(out[:, :, :2], given[:, :, :2])
    torch.testing.assert_close(out[:, :, 2:], noise[:, :, 2:] - 1, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("name", "least"), [("euler", 1.6), ("heun", 3.0), ("multistep", 3.0)])
def test_twice_the_steps_shrink_the_error_by_the_order(name: str, least: float) -> None:
    noise = torch.randn(1, 1, 64, dtype=torch.float64)
    exact = MEAN + DEVIATION * noise  # the map from N(0, 1) to N(MEAN, DEVIATION^2)
    none = torch.zeros(1, 1, 64)
    errors = [
        float((SAMPLERS[name](gaussian, noise, noise, none, FLOW, n) - exact).abs().mean())
        for n in (17, 33)
    ]
    assert errors[0] / errors[1] > least


def test_edm_with_heun_reaches_the_distribution() -> None:
    torch.manual_seed(0)
    noise = torch.randn(1, 1, 20_000)
    none = torch.zeros(1, 1, 20_000)
    schedule = Edm(DEVIATION).schedule
    out = SAMPLERS["heun"](gaussian, noise, noise, none, schedule, 35)
    assert float(out.mean()) == pytest.approx(MEAN, abs=0.02)
    assert float(out.std()) == pytest.approx(DEVIATION, rel=0.03)


def test_velocities_are_told_how_far_the_next_stop_is() -> None:
    told: list[float] = []

    def note(x: Tensor, _time: Tensor, size: Tensor) -> Tensor:
        told.append(float(size[0]))
        return torch.zeros_like(x)

    x = torch.zeros(1, 1, 2)
    SAMPLERS["euler"](note, x, x, torch.zeros(1, 1, 2), FLOW, 4)
    assert told == pytest.approx([0.25] * 4)
