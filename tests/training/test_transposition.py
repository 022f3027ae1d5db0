"""Transposed latents are those of transposed sounds, and their notes move along."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from timbrel.codec.codec import Codec
from timbrel.data.batch import Batch
from timbrel.errors import TrainingError
from timbrel.network import tiny
from timbrel.serialize import load_codec
from timbrel.training.checks import check_parts
from timbrel.training.settings import ModelTraining
from timbrel.training.transposition import LARGEST, Transposition, transposed

DEFAULT = Path(__file__).parents[2] / "src/timbrel/weights/default"


@pytest.fixture(scope="module")
def codec() -> Codec:
    return load_codec(DEFAULT)


@pytest.fixture(scope="module")
def transposition(codec: Codec) -> Transposition:
    return Transposition(codec.basis, 0.5)


def sound(hz: float, speed: float) -> torch.Tensor:
    """A tone with a formant, all of it `speed` times higher: (1, 1, samples)."""
    time = np.arange(44_100) / 44_100
    partials = [h for h in range(1, 40) if h * hz * speed < 20_000]
    level = [np.exp(-(((h * hz - 900) / 1_500) ** 2)) / h for h in partials]
    tones = [
        a * np.sin(2 * np.pi * h * hz * speed * time + h)
        for a, h in zip(level, partials, strict=True)
    ]
    return torch.from_numpy((0.1 * np.sum(tones, 0)).astype(np.float32))[None, None]


@pytest.mark.parametrize("semitones", [-3, -1, 2, 3])
@pytest.mark.parametrize("hz", [220.0, 660.0])
def test_it_does_to_latents_what_transposing_does_to_sounds(
    transposition: Transposition, codec: Codec, semitones: int, hz: float
) -> None:
    plain, wanted = (
        codec.encode(sound(hz, speed))[..., 4:-4] for speed in (1.0, 2 ** (semitones / 12))
    )
    found = transposition.apply(plain, torch.tensor([semitones]))
    assert (found - wanted).square().mean() < 0.15 * (plain - wanted).square().mean()


def test_no_semitones_and_silence_change_nothing(
    transposition: Transposition, codec: Codec
) -> None:
    noise = torch.randn(2, 128, 9, generator=torch.Generator().manual_seed(0))
    same = transposition.apply(noise, torch.tensor([0, 0]))
    np.testing.assert_allclose(same, noise, atol=1e-4)
    silence = codec.encode(torch.zeros(1, 1, 9_216))
    np.testing.assert_allclose(transposition.apply(silence, torch.tensor([2])), silence, atol=0.05)


def test_notes_move_by_their_semitones_and_none_comes_round() -> None:
    roll = torch.zeros(3, 3, 128, 5)
    roll[:, :, 60, 2], roll[:, :, 127, 1], roll[:, :, 0, 3] = 0.7, 1.0, 0.3
    moved = transposed(roll, torch.tensor([0, 2, -1]))
    assert torch.equal(moved[0], roll[0])
    assert torch.equal(moved[1, :, 62, 2], roll[1, :, 60, 2])
    assert torch.equal(moved[1, :, 2, 3], roll[1, :, 0, 3])
    assert torch.equal(moved[2, :, 59, 2], roll[2, :, 60, 2])
    assert torch.equal(moved[2, :, 126, 1], roll[2, :, 127, 1])
    assert [int((x > 0).sum()) for x in moved] == [9, 6, 6]


def test_target_example_and_notes_go_together_and_drums_stay(
    transposition: Transposition,
) -> None:
    latent = torch.randn(40, 128, 6, generator=torch.Generator().manual_seed(1))
    roll = torch.zeros(40, 3, 128, 6)
    roll[:, :, 60] = 1.0
    drums = torch.arange(40) % 4 == 0
    batch = Batch(latent, roll, drums, latent.clone(), roll.clone(), torch.arange(40), None)
    semitones = transposition.draw(40, np.random.default_rng(2))
    assert semitones.abs().max() <= LARGEST
    varied = transposition.vary(batch, semitones)
    assert torch.equal(varied.latent, varied.example)
    assert torch.equal(varied.roll, varied.example_roll)
    heard = varied.roll[:, 1, :, 0].argmax(1) - 60
    assert torch.equal(heard, torch.where(drums, 0, semitones))
    changed = (varied.latent - latent).abs().amax((1, 2)) > 1e-3
    assert torch.equal(changed, heard != 0)
    assert 10 < changed.sum() < 25


def test_structure_that_is_heard_in_audio_is_refused() -> None:
    reads = tiny()
    heard = replace(reads, structure=replace(reads.structure, source="cqt"))
    training = ModelTraining(transpose=0.5)
    check_parts(reads, training, begun=False)
    with pytest.raises(TrainingError, match="set transpose to 0"):
        check_parts(heard, training, begun=False)
