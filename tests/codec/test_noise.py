"""Noise in the spectral codec: what it is made of, where it lies, and that it is learned."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from sounds import RATE, tone
from timbrel.codec.losses import MultiResolutionStftLoss
from timbrel.codec.noise import FRAMES, PACE, Noise
from timbrel.codec.spectral import SpectralCodec, SpectralConfig, Spectrum, tiny, with_noise
from timbrel.errors import TrainingError
from timbrel.spectra import Stft, overlap_add
from timbrel.training.codec import begin_from
from timbrel.training.codec_objective import CodecTraining, Sounds, SpectralObjective

STFT = Stft(2048, 512)


@pytest.fixture(scope="module")
def noise() -> Noise:
    return Noise(STFT, RATE, 64)


def white(seconds: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal(int(seconds * RATE))).astype(np.float32)


def test_noise_is_white_of_median_one_and_goes_round(noise: Noise) -> None:
    frames = noise.frames(torch.tensor([0]), FRAMES)[0]
    inner = frames[1:-1].abs()
    assert float(inner.median()) == pytest.approx(1, abs=0.01)
    octaves = torch.stack([inner[2**k : 2 ** (k + 1)].square().mean() for k in range(3, 10)])
    assert (octaves * np.log(2) - 1).abs().max() < 0.05
    later = noise.frames(torch.tensor([FRAMES - 2, 5]), 6)
    torch.testing.assert_close(later[0], frames[:, [FRAMES - 2, FRAMES - 1, 0, 1, 2, 3]])
    torch.testing.assert_close(later[1], frames[:, 5:11])


def test_frames_of_noise_are_those_of_one_signal(noise: Noise) -> None:
    # magnitudes that are not would be changed by the inverse transform
    frames = noise.frames(torch.tensor([FRAMES - 20]), 60)
    pieces = torch.fft.irfft(frames.transpose(1, 2), STFT.n_fft) * STFT.window
    audio = overlap_add(pieces, STFT.hop) / STFT.overlap_gain()
    again = torch.stft(
        audio, STFT.n_fft, STFT.hop, window=STFT.window, center=False, return_complex=True
    )
    torch.testing.assert_close(again[..., 4:-4], frames[..., 4:-4], atol=1e-4, rtol=0)


def test_noise_lies_between_partials(noise: Noise) -> None:
    level = torch.full((1, STFT.bins, 4), -6.0)
    level[:, 20:900:20] = -1.0
    said = torch.cat([torch.full((1, 64, 4), -1.0), torch.ones(1, 64, 4)], 1)
    angle = noise.angle(level, said / PACE)
    assert float(angle.min()) > 0
    assert float(angle.max()) < np.pi / 2
    partials, between = angle[0, 100:900:20, 1], angle[0, 110:900:20, 1]
    assert partials.max() < 0.05
    assert between.min() > 0.3
    louder = said + torch.cat([torch.ones(1, 64, 4), torch.zeros(1, 64, 4)], 1)
    more = noise.angle(level, louder / PACE)
    assert (more > angle).all()


@pytest.mark.parametrize(("angle", "power"), [(1e-4, 1.0), (0.8, None), (1.5707, 1 / np.log(2))])
def test_power_is_that_of_the_level(angle: float, power: float | None) -> None:
    codec = SpectralCodec(tiny())
    assert codec.noise is not None
    level = torch.full((1, codec.stft.bins, FRAMES), -4.0)
    # what goes on has phases that belong together: those of a click in the middle of each frame
    spectrum = Spectrum(level, torch.full_like(level, angle))
    pieces = codec.frames_of_audio(spectrum, torch.zeros_like(level), torch.tensor([300]))
    found = torch.fft.rfft(pieces[0] / STFT.window.clamp_min(1e-2))[2:-2, 8:-8]
    click = codec.frames_of_audio(Spectrum(level, None), torch.zeros_like(level), torch.tensor([0]))
    whole = torch.fft.rfft(click[0] / STFT.window.clamp_min(1e-2))[2:-2, 8:-8]
    ratio = float(found.abs().square().mean() / whole.abs().square().mean())
    expected = np.cos(angle) ** 2 + np.sin(angle) ** 2 / np.log(2) if power is None else power
    assert ratio == pytest.approx(expected, rel=0.03)


def test_a_tone_of_the_wrong_level_is_not_taken_for_noise(tiny_codec: SpectralCodec) -> None:
    codec = deepcopy(tiny_codec)  # gradients stay here
    training = CodecTraining(frames=16, waveform_from=0.0, statistics_weight=0.0)
    objective = SpectralObjective(codec, training, torch.device("cpu"))
    audio = torch.from_numpy(tone(440.0, 1.0)[None, : 16 * 1024])
    quiet = torch.zeros(1, codec.channels, 16)
    found = objective.step(Sounds(audio, quiet), torch.Generator().manual_seed(0), 1.0)
    found.loss.backward()
    assert codec.decoder.noise is not None
    assert codec.decoder.leave.bias.grad is not None
    assert codec.decoder.leave.bias.grad.abs().max() > 0
    gradient = codec.decoder.noise.bias.grad
    assert gradient is None or not gradient.any()


def test_spectra_of_other_noise_are_nearest_when_they_are_as_loud_and_as_noisy() -> None:
    loss = MultiResolutionStftLoss()
    target, one, other = (torch.from_numpy(white(1.0, seed))[None] for seed in range(3))
    right = float(loss(one, target, other))
    assert right < float(loss(0.7 * one, target, 0.7 * other))
    assert right < float(loss(1.4 * one, target, 1.4 * other))
    steady = 0.1 * torch.from_numpy(tone(3_000.0, 1.0))[None]
    assert right < float(loss(0.7 * one + steady, target, 0.7 * other + steady))
    # without the other one, silence in place of noise would cost less than noise does
    assert float(loss(one, target)) > right
    assert float(loss(one, target, one)) == pytest.approx(float(loss(one, target)), rel=1e-5)


def test_a_decoder_learns_what_is_noise() -> None:
    torch.manual_seed(0)
    codec = SpectralCodec(tiny())
    frames = 24
    rng = np.random.default_rng(0)
    tones = [tone(float(hz), 1.0)[: frames * 1024] for hz in rng.uniform(150, 900, 4)]
    hisses = [white(1.0, seed)[: frames * 1024] for seed in range(4)]
    audio = torch.from_numpy(np.stack(tones + hisses))
    codec.basis.fit([audio])
    training = CodecTraining(frames=frames, waveform_from=0.0)
    objective = SpectralObjective(codec, training, torch.device("cpu"))
    moving = torch.optim.Adam(codec.decoder.parameters(), 5e-3)
    source = torch.Generator().manual_seed(0)
    quiet = torch.zeros(len(audio), codec.channels, frames)
    losses = []
    for _ in range(60):
        found = objective.step(Sounds(audio, quiet), source, 1.0)
        moving.zero_grad()
        found.loss.backward()
        moving.step()
        losses.append(found.loss.item())
    assert np.mean(losses[-5:]) < 0.8 * losses[0]
    with torch.no_grad():
        spectrum = codec.spectrum(codec.encode(audio[:, None]))
        assert spectrum.noise is not None
        heard = codec.decode(codec.encode(audio[:, None]))[4:, 0, 8192:]
    power = spectrum.level.exp().square()
    noisy = (power * spectrum.noise.sin().square()).sum((1, 2)) / power.sum((1, 2))
    assert noisy[:4].max() < 0.01
    assert noisy[4:].min() > 0.3
    assert float(heard.std() / audio[4:].std()) == pytest.approx(1, abs=0.15)


def test_a_decoder_of_before_goes_on_with_noise_that_is_hardly_heard() -> None:
    config = tiny()
    old = SpectralCodec(replace(config, decoder=replace(config.decoder, noise_bands=0)))
    audio = torch.from_numpy(np.stack([tone(hz, 1.0) for hz in (220.0, 440.0)]))
    old.basis.fit([audio])
    assert with_noise(old.config) == config
    new = SpectralCodec(config)
    begin_from(new, old)
    with torch.no_grad():
        before, after = (codec.decode(codec.encode(audio[:, None])) for codec in (old, new))
    assert 0 < (after - before).square().mean() < 0.01 * before.square().mean()
    with pytest.raises(TrainingError, match="another design or size"):
        begin_from(new, SpectralCodec(SpectralConfig()))
