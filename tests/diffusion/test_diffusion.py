from dataclasses import replace

import pytest
import torch

from timbrel.diffusion.guidance import Guidance, combine
from timbrel.diffusion.objective import RectifiedFlow, interpolate, standardised
from timbrel.diffusion.samplers import euler
from timbrel.diffusion.unet import Conditions, Shortcut, UNet, UNetConfig
from timbrel.network import Network, tiny


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
    sizes = UNetConfig(
        widths=(16, 24), embedding=32, heads=2, standardised=True, detail=24, detail_blocks=2
    )
    net = UNet(8, 6, 4, sizes)
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


@pytest.mark.parametrize("time", [0.02, 0.4, 1.0])
def test_a_latent_as_far_off_as_it_is_said_to_be_is_one_deviation_off(time: float) -> None:
    torch.manual_seed(0)
    guess, deviation = torch.randn(4, 8, 1), 0.1 + torch.rand(4, 8, 1)
    latent = guess + deviation * torch.randn(4, 8, 4_000)
    moment = torch.full((4,), time)
    noisy = interpolate(latent, torch.randn_like(latent), moment)
    free = torch.zeros(4, 1, 4_000)
    off = standardised(noisy, moment, free, guess.expand_as(latent), deviation)
    torch.testing.assert_close(off.std(2), torch.ones(4, 8), atol=0.05, rtol=0)
    torch.testing.assert_close(off.mean(2), torch.zeros(4, 8), atol=0.06, rtol=0)
    # what is given is clean, whatever the time
    given = standardised(latent, moment, free + 1, guess.expand_as(latent), deviation)
    torch.testing.assert_close(given, (latent - guess) / deviation)


def test_training_on_from_an_older_denoiser_begins_with_what_that_one_says() -> None:
    denoiser = replace(tiny().denoiser, standardised=False, detail=0)
    older = Network(replace(tiny(), denoiser=denoiser))
    torch.nn.init.normal_(older.denoiser.leave.weight, std=0.1)
    newer = Network(replace(tiny(), denoiser=replace(denoiser, standardised=True, detail=96)))
    newer.begin_from(older)
    x, guess = torch.randn(2, 1, 32, 16)
    code, timbre = torch.randn(1, 48, 16), torch.randn(1, 16)
    conditions = Conditions(code, timbre, guess, torch.full((1, 32, 1), 0.5))
    time, context = torch.tensor([0.4]), torch.zeros(1, 1, 16)
    said, before = (net.denoiser(x, time, conditions, context) for net in (newer, older))
    torch.testing.assert_close(said, before)
    with pytest.raises(ValueError, match="another network: denoiser"):
        older.begin_from(newer)


def test_an_untrained_denoiser_returns_the_guess() -> None:
    net = UNet(8, 6, 4, UNetConfig(widths=(16, 24), embedding=32, heads=2))
    _, _, code, timbre, guess, _, context = inputs(2, 16)
    noise = torch.randn(2, 8, 16)

    def velocity_at(x: torch.Tensor, time: torch.Tensor, _size: torch.Tensor) -> torch.Tensor:
        conditions = Conditions(code, timbre, guess, torch.full((2, 8, 1), 0.01))
        return net(x, time, conditions, context).detach()

    out = euler(velocity_at, noise, guess, context, RectifiedFlow().schedule, steps=4)
    torch.testing.assert_close(out, guess, atol=0.05, rtol=0)


def test_a_few_step_denoiser_begins_as_the_one_it_came_from_and_hears_what_it_is_told() -> None:
    plain = unet()
    few = UNet(8, 6, 4, replace(plain.config, few_step=True))
    few.load_state_dict(plain.state_dict(), strict=False)
    x, time, *steering, context = inputs(2, 16)
    conditions = Conditions(*steering)
    told = [torch.full((2,), value) for value in (0.5, 1.0, 2.0)]
    before = few(x, time, conditions, context, Shortcut(*told))
    torch.testing.assert_close(before, plain(x, time, conditions, context))
    torch.nn.init.normal_(few.shortcut.weight, std=0.1)
    answers = [few(x, time, conditions, context, Shortcut(*told))]
    for which in range(3):
        other = [value + 0.3 * (k == which) for k, value in enumerate(told)]
        answers.append(few(x, time, conditions, context, Shortcut(*other)))
    for k, first in enumerate(answers):
        for second in answers[:k]:
            assert (first - second).abs().max() > 1e-4
