"""Muon for matrices, AdamW for the rest."""

import copy

import pytest
import torch
from torch import nn

from timbrel.errors import TrainingError
from timbrel.training.optimiser import Optimiser, matrices


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv1d(32, 48, 5, padding=2), nn.Conv1d(48, 48, 7, groups=48), nn.Conv1d(48, 4, 1)
    )


def descend(module: nn.Module, optimiser: Optimiser, steps: int, rate: float = 1e-2) -> float:
    """Fit a random target; returns the last loss."""
    source = torch.Generator().manual_seed(1)
    x = torch.randn(8, 32, 20, generator=source)
    y = torch.randn(8, 4, 14, generator=source)
    for _ in range(steps):
        loss = (module(x) - y).square().mean()
        loss.backward()
        optimiser.step(rate)
        module.zero_grad()
    return float(loss.detach())


def test_matrices_are_weights_that_mix_many_channels() -> None:
    module = network()
    assert [tuple(m.shape) for m in matrices(module)] == [(48, 32, 5)]
    module[0].requires_grad_(False)
    assert not list(matrices(module))


def test_a_step_of_a_matrix_goes_into_most_directions_alike() -> None:
    module = network()
    before = module[0].weight.detach().clone()
    descend(module, Optimiser(module, weight_decay=0.0), 1, 1e-3)
    step = (module[0].weight.detach() - before).flatten(1)
    values = torch.linalg.svdvals(step)
    assert values.median() > 0.5 * values.max()
    assert 1e-4 < step.square().mean().sqrt() < 3e-4  # of AdamW's size


@pytest.mark.parametrize("name", ["muon", "adamw"])
def test_every_parameter_moves(name: str) -> None:
    module = network()
    before = copy.deepcopy(module.state_dict())
    descend(module, Optimiser(module, name), 2)
    for key, value in module.state_dict().items():
        assert not torch.equal(value, before[key]), key


@pytest.mark.parametrize("name", ["muon", "adamw"])
def test_a_run_that_was_interrupted_goes_on_to_the_same_bits(name: str) -> None:
    whole = network()
    descend(whole, Optimiser(whole, name), 6)
    first, second = network(), network()
    optimiser = Optimiser(first, name)
    descend(first, optimiser, 3)
    saved = copy.deepcopy(optimiser.state_dict())
    second.load_state_dict(first.state_dict())
    resumed = Optimiser(second, name)
    resumed.load_state_dict(saved)
    descend(second, resumed, 3)
    for a, b in zip(whole.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_checkpoint_of_another_optimiser_is_refused() -> None:
    module = network()
    state = Optimiser(module, "adamw").state_dict()
    with pytest.raises(TrainingError, match="another optimiser"):
        Optimiser(module, "muon").load_state_dict(state)


def test_directions_with_small_gradients_are_learned_too() -> None:
    def left(name: str) -> float:
        torch.manual_seed(0)
        layer = nn.Linear(32, 32, bias=False)
        turned = torch.linalg.qr(torch.randn(2, 32, 32))[0]
        x = torch.randn(1024, 32) @ turned[0] * torch.logspace(0, -2, 32) @ turned[1]
        wanted = torch.randn(32, 32) / 6
        optimiser = Optimiser(layer, name, weight_decay=0.0)
        for step in range(200):
            (layer(x) - x @ wanted.T).square().mean().backward()
            optimiser.step(0.1 * (1 - step / 200))
            layer.zero_grad()
        return float((layer.weight.detach() - wanted).square().mean())

    assert left("muon") < 0.1 * left("adamw")
