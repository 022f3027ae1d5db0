"""Equalised latents are those of equalised audio."""

from pathlib import Path

import numpy as np
import pytest
import torch

from timbrel.data.batch import Batch
from timbrel.serialize import load_codec
from timbrel.training.equaliser import Equaliser

DEFAULT = Path(__file__).parents[2] / "src/timbrel/weights/default"


@pytest.fixture(scope="module")
def equaliser() -> Equaliser:
    return Equaliser(load_codec(DEFAULT).basis, 0.5)


def apply(
    equaliser: Equaliser, latent: torch.Tensor, gain: np.ndarray, expansion: float = 1.0
) -> torch.Tensor:
    """To one latent (channels, frames)."""
    one = torch.from_numpy(gain).float()[None]
    return equaliser.apply(latent[None], one, torch.tensor([expansion]))[0]


def chord() -> np.ndarray:
    time = np.arange(44_100) / 44_100
    tones = [np.sin(2 * np.pi * 220 * h * time) / h for h in range(1, 30)]
    return (0.1 * np.sum(tones, 0) * np.exp(-time)).astype(np.float32)


def test_it_does_to_latents_what_a_filter_does_to_audio(equaliser: Equaliser) -> None:
    codec = load_codec(DEFAULT)
    gain = np.linspace(8.0, -8.0, 256)
    edges = codec.basis.bank.argmax(1).numpy() * 44_100 / 2048  # peak of each band, Hz
    spectrum = np.fft.rfft(chord())
    hz = np.fft.rfftfreq(44_100, 1 / 44_100)
    filtered = np.fft.irfft(spectrum * 10 ** (np.interp(hz, edges, gain) / 20)).astype(np.float32)
    plain, wanted = (
        codec.encode(torch.from_numpy(x)[None, None])[0, :, 4:-4] for x in (chord(), filtered)
    )
    found = apply(equaliser, plain, gain)
    assert (found - wanted).square().mean() < 0.15 * (plain - wanted).square().mean()


def test_no_gain_and_silence_change_nothing(equaliser: Equaliser) -> None:
    codec = load_codec(DEFAULT)
    noise = torch.randn(128, 9, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(apply(equaliser, noise, np.zeros(256)), noise, atol=1e-5)
    silence = codec.encode(torch.zeros(1, 1, 9_216))[0]
    loud = apply(equaliser, silence, np.full(256, 6.0))
    np.testing.assert_allclose(loud, silence, atol=0.05)


def test_wider_dynamics_make_notes_fade_sooner_in_every_band(equaliser: Equaliser) -> None:
    codec = load_codec(DEFAULT)
    latent = codec.encode(torch.from_numpy(chord())[None, None])[0, :, 4:-4]
    wide = apply(equaliser, latent, np.zeros(256), 1.5)
    levels = [(equaliser.inverse @ x)[:, [2, -2]].numpy() for x in (latent, wide)]  # log-bands
    loud = levels[0][:, 0] + equaliser.mean[:, 0].numpy() > np.log(20 * equaliser.floor)
    before, after = (np.diff(x, axis=1)[loud].mean() for x in levels)
    assert 1.3 < after / before < 1.7


def test_target_and_example_go_through_one_equaliser(equaliser: Equaliser) -> None:
    latent = torch.randn(12, 128, 6, generator=torch.Generator().manual_seed(1))
    before, nothing = latent.clone(), torch.zeros(12)
    batch = Batch(latent, nothing, nothing > 0, latent.clone(), nothing, nothing, None)
    varied, again = (
        equaliser.vary(batch, equaliser.draw(12, np.random.default_rng(2))) for _ in range(2)
    )
    moved = (varied.latent - latent).abs().amax((1, 2)) > 1e-3
    assert 2 < moved.sum() < 10
    np.testing.assert_array_equal(varied.latent, varied.example)
    np.testing.assert_array_equal(varied.latent, again.latent)
    np.testing.assert_array_equal(batch.latent, before)
