"""Odd sounds through both designs, and through `timbrel reconstruct`."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from command_line import timbrel
from designs import DESIGNS, random_rave
from sounds import RATE, tone
from timbrel.audio import SILENCE, Audio
from timbrel.cli.reconstruct import reconstruct
from timbrel.codec.codec import Codec
from timbrel.errors import InputError, ShapeError
from timbrel.serialize import save_codec


@pytest.fixture(scope="module", params=DESIGNS)
def codec(request: pytest.FixtureRequest) -> Codec:
    torch.manual_seed(0)
    made: Codec = request.param()
    return made


def through(codec: Codec, samples: np.ndarray | torch.Tensor) -> torch.Tensor:
    """(samples,) -> (samples,)."""
    with torch.inference_mode():
        audio = torch.as_tensor(samples)[None, None]
        return codec.decode(codec.encode(audio))[0, 0, : audio.shape[2]]


@pytest.mark.parametrize("level", [0.0, 0.9 * SILENCE])
def test_silence_stays_silent_in_rave_from_the_first_sample(level: float) -> None:
    codec = random_rave()
    assert through(codec, level * torch.ones(20_000)).abs().max() == 0
    assert through(codec, torch.full((20_000,), 2 * SILENCE)).abs().max() > 0


def test_a_pause_is_silent_and_the_sound_around_it_as_without_one() -> None:
    torch.manual_seed(0)
    codec = random_rave()
    hop = codec.hop
    audio = torch.zeros(30 * hop)
    audio[: 6 * hop] = audio[20 * hop : 26 * hop] = torch.from_numpy(tone(440, 1.0))[: 6 * hop]
    heard = through(codec, audio)
    levels = heard.reshape(-1, hop).square().mean(1).sqrt()
    # a frame and the filterbank's memory later
    assert levels[8:19].max() == levels[28:].max() == 0
    assert levels[:6].min() > 1e-3
    assert levels[21:26].min() > 1e-3
    with torch.inference_mode():
        latent = codec.encode(audio[None, None])
        silent = (latent - codec.silence()).abs().amax((0, 1)) < 1e-6
    assert silent.nonzero().flatten().tolist() == [*range(7, 20), *range(27, 30)]


@pytest.mark.parametrize("hz", [50.0, 441.0, 5_000.0])
def test_full_scale_square_waves_do_not_blow_up(codec: Codec, hz: float) -> None:
    square = torch.sign(torch.sin(2 * torch.pi * hz * torch.arange(RATE) / RATE))
    heard = through(codec, square)
    assert heard.isfinite().all()
    assert heard.abs().max() < 5


def test_no_latent_makes_a_codec_blow_up(codec: Codec) -> None:
    with torch.inference_mode():
        heard = codec.decode(100 * torch.randn(1, codec.channels, 20))
    assert heard.isfinite().all()


def test_more_channels_are_refused_with_their_shape(codec: Codec) -> None:
    with pytest.raises(ShapeError, match=r"\(1, 2, 100\)"):
        codec.encode(torch.zeros(1, 2, 100))


def test_other_rates_channels_and_lengths_come_back_as_they_were(tmp_path: Path) -> None:
    save_codec(random_rave(), tmp_path / "codec")
    source, output = tmp_path / "in.wav", tmp_path / "out.wav"
    samples = 3 * 22_050 // 2 + 1  # at twice the rate, no whole number of frames
    Audio(np.stack([tone(330 * k, 3.0, 22_050)[:samples] for k in (1, 2, 3)]), 22_050).write(source)
    done = timbrel("reconstruct", source, "-o", output, "--codec", tmp_path / "codec")
    assert done.returncode == 0, done.stderr
    assert "resampled from 22050 Hz to the codec's 44100 Hz" in done.stderr
    again = Audio.read(output)
    assert again.rate == RATE
    assert again.samples.shape == (3, pytest.approx(2 * samples, abs=2))
    assert np.isfinite(again.samples).all()


def test_more_channels_than_a_format_can_hold_are_said_to_be_so(tmp_path: Path) -> None:
    save_codec(random_rave(), tmp_path / "codec")
    Audio(np.stack([tone(330, 1.0)] * 9), RATE).write(tmp_path / "nine.wav")
    output = tmp_path / "nine.flac"
    with pytest.raises(InputError, match=r"nine.flac cannot be written: FLAC .* 9 channels"):
        reconstruct(tmp_path / "nine.wav", output, str(tmp_path / "codec"), False, "cpu")
    assert not output.exists()


def test_nan_is_refused_and_leaves_no_file(codec: Codec, tmp_path: Path) -> None:
    save_codec(codec, tmp_path / "codec")
    samples = np.stack([tone(330, 3.0)] * 2, 1)
    samples[-5, 1] = np.nan  # late: much is written already
    soundfile.write(tmp_path / "in.wav", samples, RATE, subtype="FLOAT")
    with pytest.raises(InputError, match="not numbers"):
        reconstruct(
            tmp_path / "in.wav", tmp_path / "out.wav", str(tmp_path / "codec"), False, "cpu"
        )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["codec", "in.wav"]
