"""Muon for matrices, AdamW for the rest."""

import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from timbrel.errors import TrainingError
from timbrel.network import Network, small
from timbrel.training.optimiser import Muon, Optimiser, matrices, shares


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


def test_matrices_of_a_shape_move_together_as_each_would_alone() -> None:
    torch.manual_seed(0)
    shapes = [(24, 40), (40, 24), (24, 40), (32, 8, 5), (16, 16)]
    own = [nn.Parameter(torch.randn(shape)) for shape in shapes]
    views = [weight.detach().clone().flatten(1) for weight in own]
    muon = Muon(own, 0.01)
    reference = torch.optim.Muon(views, lr=1e-2, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
    for step in range(4):
        for number, (weight, view) in enumerate(zip(own, views, strict=True)):
            weight.grad = torch.randn_like(weight)
            view.grad = weight.grad.flatten(1)
            if (step, number) == (2, 2):  # one that had no part in a step
                weight.grad = view.grad = None
        muon.step(1e-2)
        reference.step()
    for weight, view in zip(own, views, strict=True):
        torch.testing.assert_close(weight.detach().flatten(1), view, atol=1e-5, rtol=0)


@pytest.mark.parametrize("world", [1, 2, 4])
def test_processes_get_about_as_much_to_do(world: int) -> None:
    weights = list(matrices(Network(small())))
    load = [0] * world
    for weight, owner in zip(weights, shares(weights, world), strict=True):
        load[owner] += weight.numel() * min(len(weight), weight[0].numel())
    assert max(load) < 1.1 * sum(load) / world


TWO = """
import os, sys, torch
sys.path.insert(0, sys.argv[1])
from test_optimiser import deep, descend
from timbrel.training.optimiser import Optimiser
module = deep()
optimiser = Optimiser(module)
if len(sys.argv) > 3:
    state = torch.load(sys.argv[3], weights_only=True)
    module.load_state_dict(state["module"])
    optimiser.load_state_dict(state["optimiser"])
descend(module, optimiser, 3)
state = {"module": module.state_dict(), "optimiser": optimiser.state_dict()}
held = sum(momentum.numel() for momentum in optimiser.muon.momentum)
state["held"] = held / sum(weight.numel() for weight in optimiser.matrices)
layer = torch.nn.Linear(3, 1)
if optimiser.ranks.rank == 0:
    layer.weight.grad = torch.ones(1, 3)
optimiser.ranks.average_gradients(layer)
state["averaged"] = layer.weight.grad
state["absent"] = layer.bias.grad is None
try:
    optimiser.ranks.check_equal(optimiser.ranks.rank)
    state["refused"] = ""
except Exception as error:
    state["refused"] = str(error)
optimiser.ranks.check_equal(7)
torch.save(state, f"{sys.argv[2]}/{optimiser.ranks.world}-{optimiser.ranks.rank}.pt")
os._exit(0)  # as the command line does
"""


def deep() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv1d(32, 48, 5), nn.Conv1d(48, 32, 3, padding=1), nn.Conv1d(32, 4, 3))


@pytest.mark.slow
def test_two_processes_share_the_matrices_and_go_on_as_one_would(tmp_path: Path) -> None:
    script = tmp_path / "two.py"
    script.write_text(TWO)
    one = [sys.executable, str(script), str(Path(__file__).parent), str(tmp_path)]
    two = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    two += one[1:]
    whole = deep()
    optimiser = Optimiser(whole)

    def run(*command: str) -> None:
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ})
        assert done.returncode == 0, done.stderr[-2000:]

    def found(name: str) -> dict:
        return torch.load(tmp_path / f"{name}.pt", weights_only=True)

    for begin in ([], [str(tmp_path / "2-0.pt")], [str(tmp_path / "2-0.pt")]):
        descend(whole, optimiser, 3)
        run(*two, *begin)
        for rank in range(2):
            state = found(f"2-{rank}")
            assert 0 < state["held"] < 1
            assert torch.equal(state["averaged"], torch.full((1, 3), 0.5))
            assert "one that all of them see" in state["refused"]
            assert state["absent"]  # what nobody has learned from must not be moved
            for name, value in whole.state_dict().items():
                assert torch.equal(state["module"][name], value)
    # and one process goes on from a checkpoint of two
    descend(whole, optimiser, 3)
    run(*one, str(tmp_path / "2-1.pt"))
    for name, value in whole.state_dict().items():
        assert torch.equal(found("1-0")["module"][name], value)
