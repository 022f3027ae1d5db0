import math

import pytest
import torch

from timbrel.training.diagnostics import (
    PLATEAU_STEPS,
    Watch,
    dead_channels,
    discriminator_trouble,
    largest_score,
    silent_output,
)


def test_dead_channels_are_counted() -> None:
    latent = torch.randn(4, 16, 100)
    assert dead_channels(latent) is None
    latent[:, 3:5] *= 0.01
    assert "2 of 16" in str(dead_channels(latent))


def test_silence_and_constants_are_told_from_sound() -> None:
    target = 0.1 * torch.randn(2, 10_000)
    assert silent_output(0.5 * target, target) is None
    assert "silent output: -40 dB" in str(silent_output(0.01 * target, target))
    assert "DC output" in str(silent_output(target + 0.2, target))
    assert silent_output(torch.zeros(2, 100), torch.zeros(2, 100)) is None


def test_a_discriminator_may_neither_explode_nor_win() -> None:
    assert discriminator_trouble(1.9, 2.0) is None
    assert "exploding" in str(discriminator_trouble(1.9, 80.0))
    assert "exploding" in str(discriminator_trouble(math.nan, 1.0))
    assert "too strong" in str(discriminator_trouble(0.001, 3.0))
    assert largest_score([torch.tensor([1.0, -7.0]), torch.tensor([2.0])]) == 7


@pytest.mark.parametrize(("falls", "expected"), [(True, False), (False, True)])
def test_a_plateau_is_a_loss_that_stays(falls: bool, expected: bool) -> None:
    watch = Watch()
    found = [
        watch.plateau(step, math.exp(-step / 2000) if falls else 1.0)
        for step in range(0, 2 * PLATEAU_STEPS, 50)
    ]
    assert any(found) == expected
    assert found[0] is None


def test_a_loss_that_runs_away_is_named() -> None:
    watch = Watch()
    for step, loss in enumerate((1.0, 0.9, 0.8, 0.9)):
        watch.plateau(50 * step, loss)
        assert watch.divergence(loss) is None
    assert "diverging" in str(watch.divergence(20.0))


def test_every_trouble_is_said_once() -> None:
    watch = Watch()
    assert watch.new("a: first", None, "b: second") == ["a: first", "b: second"]
    assert watch.new("a: again, other numbers", "c: third") == ["c: third"]
