"""Networks as wholes."""

from dataclasses import replace

import pytest
import torch

from timbrel.errors import ModelError
from timbrel.network import Network, mean_of, tiny


def test_the_mean_of_networks_lies_half_way_between_them() -> None:
    first, second = Network(tiny()), Network(tiny())
    mean = mean_of([first, second]).state_dict()
    for name, value in first.state_dict().items():
        half_way = (value + second.state_dict()[name]) / 2
        torch.testing.assert_close(mean[name], half_way)
    alone = mean_of([first]).state_dict()
    assert all(torch.equal(alone[name], value) for name, value in first.state_dict().items())


def test_networks_of_different_sizes_have_no_mean() -> None:
    with pytest.raises(ModelError, match="different configurations"):
        mean_of([Network(tiny()), Network(replace(tiny(), window=32))])
