"""What a learned residual adds to the fixed basis."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import Killed
from designs import random_residual, random_spectral
from sounds import tone
from timbrel.codec.residual import LARGEST
from timbrel.codec.spectral import SpectralCodec, tiny
from timbrel.data.store import Store
from timbrel.serialize import load_codec
from timbrel.training.codec import train_codec
from timbrel.training.codec_objective import CodecTraining
from timbrel.training.run import Budget

CPU = torch.device("cpu")
CONFIG = replace(tiny(), residual=24)
TRAINING = CodecTraining(batch=2, frames=24, basis_minutes=0.2)


def audio() -> torch.Tensor:
    return torch.from_numpy(np.stack([tone(hz, 1.0) for hz in (110.0, 330.0)]))[:, None]


def test_a_new_residual_adds_nothing() -> None:
    plain = random_spectral()
    codec = SpectralCodec(CONFIG)
    codec.load_state_dict(plain.state_dict(), strict=False)
    with torch.no_grad():
        assert torch.equal(codec.encode(audio()), plain.encode(audio()))


def test_a_residual_is_bounded_whatever_it_learned() -> None:
    codec, plain = random_residual(), random_spectral()
    assert isinstance(codec, SpectralCodec)
    assert codec.residual is not None
    codec.residual.leave.weight.data *= 1e3
    with torch.no_grad():
        moved = codec.encode(audio()) - plain.encode(audio())
    assert 0.5 < moved.abs().max() <= LARGEST + 1e-3


def test_latents_of_another_residual_are_of_another_codec() -> None:
    codec = random_residual()
    before = codec.latent_id
    next(iter(codec.residual.parameters())).data += 0.1
    assert codec.latent_id != before


def test_training_moves_the_residual_until_it_is_fixed(small_store: Store, tmp_path: Path) -> None:
    def train(steps: int) -> SpectralCodec:
        made = train_codec(small_store, tmp_path, CONFIG, TRAINING, Budget(steps=steps), CPU)
        assert isinstance(made, SpectralCodec)
        return made

    # of four steps the last begins at three quarters of the budget, when the latent is fixed
    codec = train(4)
    assert codec.residual is not None
    assert bool(codec.residual.fixed)
    moved = codec.residual.leave.weight.detach().clone()
    assert moved.abs().max() > 0
    again = load_codec(tmp_path / "codec")
    torch.testing.assert_close(again.residual.leave.weight, moved, atol=1e-3, rtol=1e-2)
    # more training goes on with the decoder alone
    further = train(8)
    assert further.residual is not None
    torch.testing.assert_close(further.residual.leave.weight, moved)
    assert not torch.equal(further.decoder.leave.weight, codec.decoder.leave.weight)


@pytest.mark.parametrize("last", [3, 7])
def test_a_killed_run_with_a_residual_ends_with_the_same_weights(
    small_store: Store, tmp_path: Path, kill_at, last: int
) -> None:
    def train(folder: Path, **more: object) -> SpectralCodec:
        budget = Budget(steps=9)
        return train_codec(small_store, folder, CONFIG, TRAINING, budget, CPU, **more)

    whole = train(tmp_path / "whole").state_dict()
    with pytest.raises(Killed):
        train(tmp_path / "cut", on_step=kill_at(last))
    resumed = train(tmp_path / "cut").state_dict()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
