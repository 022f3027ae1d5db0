"""Losses on what was not trained on."""

from dataclasses import replace

import pytest
import torch

from timbrel.codec.spectral import SpectralCodec
from timbrel.data.store import Store
from timbrel.errors import TrainingError
from timbrel.network import Network, tiny
from timbrel.training import held_out as module
from timbrel.training.held_out import held_out_losses
from timbrel.training.settings import ModelTraining

CPU = torch.device("cpu")


def test_held_out_losses_are_of_the_network_and_not_of_its_training(
    small_store: Store, tiny_codec: SpectralCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ITEMS", 16)
    network = Network(tiny()).eval()
    network.adopt(tiny_codec.basis)
    training = ModelTraining(frames=32, example_frames=32)

    def losses(settings: ModelTraining) -> dict[str, float]:
        return held_out_losses(network, tiny_codec, small_store, settings, CPU)

    found = losses(training)
    assert found == losses(replace(training, same_clip=1.0, batch=3, pure_noise=0.0))
    with torch.no_grad():
        assert network.outline is not None
        network.outline.offset += 1.0  # a worse guess
    assert losses(training)["valid/guess"] > found["valid/guess"]


def test_losses_of_a_few_step_model_are_refused(
    small_store: Store, tiny_codec: SpectralCodec
) -> None:
    config = replace(tiny(), denoiser=replace(tiny().denoiser, few_step=True))
    with pytest.raises(TrainingError, match="its teacher"):
        held_out_losses(Network(config), tiny_codec, small_store, ModelTraining(), CPU)
