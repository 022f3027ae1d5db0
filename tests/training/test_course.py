"""What a step does to weights."""

import copy

import pytest
import torch
from torch import nn

from timbrel.training.course import LARGEST_GRADIENT, clip


def layer(size: float) -> nn.Linear:
    """With a gradient of a norm."""
    torch.manual_seed(0)
    module = nn.Linear(7, 5)
    for parameter in module.parameters():
        parameter.grad = torch.randn_like(parameter)
    nn.utils.clip_grad_norm_(module.parameters(), 1e-3)
    for parameter in module.parameters():
        assert parameter.grad is not None
        parameter.grad *= size * 1e3
    return module


@pytest.mark.parametrize("size", [0.5, 3.0])
def test_gradients_are_scaled_down_to_a_norm_and_never_up(size: float) -> None:
    module = layer(size)
    other = copy.deepcopy(module)
    for parameter, same in zip(module.parameters(), other.parameters(), strict=True):
        assert parameter.grad is not None
        same.grad = parameter.grad.clone()
    assert float(clip(module, LARGEST_GRADIENT)) == pytest.approx(size, rel=1e-4)
    nn.utils.clip_grad_norm_(other.parameters(), LARGEST_GRADIENT)
    for parameter, same in zip(module.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, same.grad)


def test_the_norm_of_a_step_without_gradients_is_where_those_of_others_are() -> None:
    # they are averaged together for the log
    assert clip(nn.Linear(2, 2, device="meta"), 1.0).device.type == "meta"
    assert float(clip(nn.Linear(2, 2), 1.0)) == 0
