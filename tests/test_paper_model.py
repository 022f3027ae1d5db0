"""A model that learned structure from audio plays recordings."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sounds import RATE, tone
from timbrel.audio import Audio
from timbrel.codec.spectral import SpectralCodec
from timbrel.errors import InputError, ModelError
from timbrel.generate.windows import structure_of_audio
from timbrel.model import TAIL_SECONDS, Timbrel, load
from timbrel.network import Network, tiny
from timbrel.notes import Notes
from timbrel.serialize import assemble
from timbrel.training.recipe import read_recipe

MELODY = Audio(np.concatenate([tone(h, 0.8) for h in (330, 440, 550)])[None], RATE)
EXAMPLE = Audio(tone(220, 2.0)[None], RATE)


@pytest.fixture(scope="module")
def player(tmp_path_factory: pytest.TempPathFactory) -> Timbrel:
    torch.manual_seed(0)
    config = read_recipe("paper", tiny()).model
    codec = SpectralCodec(config.codec)
    codec.basis.fit(
        [torch.from_numpy(np.stack([tone(h, 1.0) for h in np.geomspace(80, 2000, 30)]))]
    )
    network = Network(replace(config, codec=codec.config))
    network.adopt(codec.basis)
    torch.nn.init.normal_(network.denoiser.leave.weight, std=0.05)
    path = tmp_path_factory.mktemp("paper") / "model"
    assemble(path, codec, network, None, {"name": "paper", "licence": "MIT"})
    return load(path, "cpu")


def test_a_recording_is_played_in_its_length_and_another_gives_another_result(
    player: Timbrel,
) -> None:
    first = player.render(MELODY, EXAMPLE, steps=2)
    assert first.samples.shape == (1, round((2.4 + TAIL_SECONDS) * RATE))
    other = Audio(MELODY.samples[:, ::-1].copy(), RATE)
    second = player.render(other, EXAMPLE, steps=2)
    assert np.abs(first.samples - second.samples).max() > 1e-3
    assert player.render(MELODY, EXAMPLE, steps=1, length=1.0).samples.shape == (1, RATE)


def test_a_quiet_recording_has_the_structure_of_a_loud_one(player: Timbrel) -> None:
    with torch.no_grad():
        loud, quiet = (
            player._structure_of_audio(Audio(level * MELODY.samples, RATE))[0](0, 60).code
            for level in (1.0, 0.01)
        )
    torch.testing.assert_close(quiet, loud, atol=1e-4, rtol=0)


def test_structure_of_a_window_is_that_of_the_whole_piece(player: Timbrel) -> None:
    samples = torch.from_numpy(MELODY.samples)
    between = structure_of_audio(player.network, samples)
    frames = samples.shape[1] // 1024
    with torch.no_grad():
        whole = between(0, frames).code
        for start, stop in ((0, 20), (13, 60), (frames - 10, frames)):
            torch.testing.assert_close(
                between(start, stop).code, whole[..., start:stop], atol=1e-4, rtol=0
            )
        assert between(frames, frames + 30).code.shape[2] == 30  # the tail is silence


def test_notes_are_refused_by_a_model_that_hears(player: Timbrel, tmp_path: Path) -> None:
    notes = Notes.from_rows([(0, 1, 60, 90)])
    notes.write(tmp_path / "song.mid")
    for structure in (notes, tmp_path / "song.mid"):
        with pytest.raises(InputError, match="takes structure from audio"):
            player.render(structure, EXAMPLE, steps=1)
    with pytest.raises(InputError, match="octaves"):
        player.render(MELODY, EXAMPLE, steps=1, octave="fit")
    with pytest.raises(ModelError, match="not by notes"):
        player.listen(MELODY)
    assert player.info()["structure"] == "audio"
