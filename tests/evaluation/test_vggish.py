"""VGGish with tiny random weights made here; its sizes are read from the file."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sounds import RATE, tone
from timbrel.audio import Audio
from timbrel.errors import InputError
from timbrel.evaluation.embeddings import embedder
from timbrel.evaluation.vggish import VGGish, log_mel_patches, read_vggish

CONVOLUTIONS = (0, 3, 6, 8, 11, 13)  # places in the ports' `features`


def weights(channels: int = 2) -> dict[str, torch.Tensor]:
    """Of a network with that many channels throughout."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator) * 0.5

    found = {}
    for number, place in enumerate(CONVOLUTIONS):
        found[f"features.{place}.weight"] = normal(channels, channels if number else 1, 3, 3)
        found[f"features.{place}.bias"] = normal(channels)
    sizes = (channels * 6 * 4, 8, 8, 5)
    for number, place in enumerate((0, 2, 4)):
        found[f"embeddings.{place}.weight"] = normal(sizes[number + 1], sizes[number])
        found[f"embeddings.{place}.bias"] = normal(sizes[number + 1])
    return found


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_of_either_kind_give_rows_that_depend_on_the_sound(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"vggish{suffix}"
    (torch.save if suffix == ".pth" else save_file)(weights(), path)
    embed = embedder(f"vggish:{path}")
    low, high = (embed(Audio(tone(hz, 3.0)[None], RATE)) for hz in (200, 2000))
    assert low.shape == high.shape == (3, 5)
    assert np.abs(low - high).max() > 1e-3
    assert embed(Audio(tone(200, 0.3)[None], RATE)).shape == (1, 5)


def test_maps_are_flattened_with_channels_last_as_the_weights_were_trained() -> None:
    tiny = weights()
    for name, tensor in tiny.items():
        tensor.zero_()
        if name.startswith("features.13") and name.endswith("bias"):
            tensor += torch.tensor([1.0, 2.0])  # each channel its own constant
    for place in (0, 2, 4):
        tiny[f"embeddings.{place}.weight"].fill_diagonal_(1.0)
    out = VGGish(tiny).eval()(torch.zeros(1, 96, 64))
    assert out[0].tolist() == [1, 2, 1, 2, 1]


def test_a_tone_lights_the_band_of_its_pitch() -> None:
    patches = log_mel_patches(Audio(tone(1000.0, 2.0, partials=1)[None], RATE))
    assert patches.shape == (2, 96, 64)
    mel = 1127 * np.log1p(1000 / 700)
    low, high = (1127 * np.log1p(hz / 700) for hz in (125.0, 7500.0))
    band = round((mel - low) / (high - low) * 65) - 1
    assert abs(int(patches[0, 40].argmax()) - band) <= 1
    silence = log_mel_patches(Audio(np.zeros((1, RATE), np.float32), RATE))
    assert np.allclose(silence, np.log(0.01), atol=1e-5)


def test_files_that_hold_no_vggish_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    with pytest.raises(InputError, match="does not exist"):
        embedder(f"vggish:{path}")
    path.write_bytes(b"not weights")
    with pytest.raises(InputError, match="cannot be read"):
        read_vggish(path)
    torch.save({"other": torch.zeros(3)}, path)
    with pytest.raises(InputError, match="holds no VGGish"):
        read_vggish(path)
    broken = weights()
    broken["embeddings.0.weight"] = broken["embeddings.0.weight"][:, :-1]
    torch.save(broken, path)
    with pytest.raises(InputError, match="cannot be read"):
        read_vggish(path)
    with pytest.raises(InputError, match="not numbers"):
        log_mel_patches(Audio(np.full((1, RATE), np.nan, np.float32), RATE))
