from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from command_line import timbrel
from designs import random_rave
from sounds import RATE, tone
from timbrel.audio import Audio
from timbrel.codec.blocks import read_blocks, reconstruct_blocks
from timbrel.codec.codec import Codec
from timbrel.codec.spectral import SpectralCodec, tiny


def untrained_spectral() -> Codec:
    codec = SpectralCodec(tiny()).eval()
    codec.basis.fit([torch.from_numpy(np.stack([tone(h, 1.0) for h in np.geomspace(80, 2e3, 30)]))])
    return codec


@pytest.fixture(scope="module", params=[untrained_spectral, random_rave])
def codec(request: pytest.FixtureRequest) -> Codec:
    torch.manual_seed(0)
    made: Codec = request.param()
    return made


def noise(samples: int, channels: int = 1) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (0.1 * rng.standard_normal((channels, samples))).astype(np.float32)


def cut(audio: np.ndarray, size: int) -> list[np.ndarray]:
    return [audio[:, k : k + size] for k in range(0, audio.shape[1], size)]


@pytest.mark.parametrize("samples", [1, 3_000, 300_000])
def test_blocks_come_back_as_the_whole_would(codec: Codec, samples: int) -> None:
    audio = noise(samples)
    pairs = list(reconstruct_blocks(codec, iter(cut(audio, 44_100))))
    original, again = (np.concatenate(part, 1) for part in zip(*pairs, strict=True))
    np.testing.assert_array_equal(original, audio)
    with torch.no_grad():
        whole = codec.decode(codec.encode(torch.from_numpy(audio)[None]))[:, 0, :samples]
    np.testing.assert_allclose(again, whole.numpy(), atol=2e-3)


def test_files_are_read_in_blocks_at_another_rate(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.stack([tone(440, 3.3, 48_000)] * 2, 1), 48_000)
    blocks = list(read_blocks(path, RATE))
    assert len(blocks) > 3
    joined = np.concatenate(blocks, 1)
    assert joined.shape == (2, pytest.approx(3.3 * RATE, abs=2))
    whole = Audio.read(path).resample(RATE).samples
    np.testing.assert_allclose(joined[0, : whole.shape[1]], whole[0, : joined.shape[1]], atol=2e-3)


def test_a_file_is_reconstructed_with_its_channels_and_length(tmp_path: Path) -> None:
    source = tmp_path / "in.flac"
    Audio(np.stack([tone(330, 2.0), 0.5 * tone(440, 2.0)]), RATE).write(source)
    done = timbrel("reconstruct", source, "-o", tmp_path / "out.wav")
    assert done.returncode == 0, done.stderr
    assert "dB log-mel distance" in done.stderr
    again = Audio.read(tmp_path / "out.wav")
    assert again.samples.shape == (2, 2 * RATE)
    assert again.loudness() > -40
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.flac", "out.wav"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "does not exist"),
        (b"", "is empty"),
        (b"no audio", "cannot be read as audio"),
        (b"cut", "is cut short: 50% of it is missing"),
    ],
)
def test_what_is_no_audio_is_refused(tmp_path: Path, content: bytes | None, words: str) -> None:
    source = tmp_path / "in.wav"
    if content == b"cut":
        Audio(tone(330, 1.0)[None], RATE).write(source)
        source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    elif content is not None:
        source.write_bytes(content)
    done = timbrel("reconstruct", source, "-o", tmp_path / "out.wav")
    assert done.returncode == 2
    assert words in done.stderr
    assert not (tmp_path / "out.wav").exists()
