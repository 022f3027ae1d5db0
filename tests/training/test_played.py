"""A decoder that learns to read what a model plays."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from stores import given
from timbrel.cli.prepare import app as prepare
from timbrel.cli.train import app as train
from timbrel.codec import rave
from timbrel.codec.spectral import SpectralCodec
from timbrel.data.render.renditions import render_store
from timbrel.data.store import Store
from timbrel.errors import DataError, ModelError, TrainingError
from timbrel.model import Timbrel, load
from timbrel.serialize import load_codec, save_codec
from timbrel.training.codec import train_codec
from timbrel.training.codec_objective import (
    CodecTraining,
    Sounds,
    SpectralObjective,
    rave_training,
)
from timbrel.training.played import KIND, PlayedExcerpts, attach_played
from timbrel.training.run import Budget

CPU = torch.device("cpu")
TRAINING = CodecTraining(batch=4, frames=24, waveform_from=0.0, played=0.5)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Eight renditions of 4 s, two or more of each timbre."""
    path = tmp_path_factory.mktemp("played") / "store"
    render_store(path, seed=5, count=8, split="train", fonts=[], seconds=4.0)
    return Store.open(path)


def encoded(store: Store, codec: SpectralCodec) -> list[np.ndarray]:
    """As if a model played perfectly."""
    with torch.no_grad():
        return [
            codec.encode(torch.from_numpy(store.audio(i))[None, None])[0].T.half().numpy()
            for i in range(len(store))
        ]


def test_a_model_plays_what_has_notes_and_a_partner(store: Store, tiny_model: Path) -> None:
    player = load(tiny_model, "cpu")
    count = attach_played(store, player, "tiny")
    played = [store.array(KIND, i) for i in range(len(store))]
    alone = {i for group in store.by_identity.values() if len(group) == 1 for i in group}
    silent = {i for i, latent in enumerate(played) if np.isnan(latent).any()}
    drums = {i for i, item in enumerate(store.items) if item.drums}
    assert silent == alone | drums
    assert count == len(store) - len(silent) > 0
    assert {latent.shape for latent in played} == {(173, player.codec.channels)}  # 4 s
    assert attach_played(store, player, "tiny", count=2) == 2
    few = [i for i in range(len(store)) if not np.isnan(store.array(KIND, i)).any()]
    assert len(few) == 2
    assert all(np.array_equal(played[i], store.array(KIND, i)) for i in few)
    again = attach_played(store, player, "tiny")
    assert again == count
    assert all(
        np.array_equal(a, store.array(KIND, i), equal_nan=True) for i, a in enumerate(played)
    )


def test_excerpts_are_of_the_same_places(store: Store, tiny_codec: SpectralCodec) -> None:
    store.attach(KIND, tiny_codec.latent_id, given(encoded(store, tiny_codec)))
    excerpts = PlayedExcerpts(store, SpectralObjective(tiny_codec, TRAINING, CPU))
    audio, latent = excerpts.batch(6, 3, 0)
    assert torch.equal(audio, excerpts.batch(6, 3, 0)[0])
    assert not torch.equal(audio, excerpts.batch(6, 4, 0)[0])
    with torch.no_grad():
        right = tiny_codec.encode(audio[:, None])
    inside = slice(2, -2)  # windows at the ends see beyond the excerpt
    assert latent.shape == right.shape
    assert (latent - right)[..., inside].abs().max() < 0.02


@pytest.mark.slow
def test_the_decoder_learns_what_a_model_gets_wrong(
    store: Store, tiny_codec: SpectralCodec, tmp_path: Path
) -> None:
    """A model whose latents lag behind quick changes and are too faint in their details."""
    smooth = np.array([0.25, 0.5, 0.25])
    wrong = [
        np.apply_along_axis(np.convolve, 0, latent.astype(np.float32), smooth, "same") * 0.8
        for latent in encoded(store, tiny_codec)
    ]
    store.attach(KIND, tiny_codec.latent_id, given([latent.astype(np.float16) for latent in wrong]))

    def off(codec: SpectralCodec) -> dict[str, float]:
        objective = SpectralObjective(codec, TRAINING, CPU)
        audio, latent = PlayedExcerpts(store, objective).batch(8, 999, 0)
        sounds = torch.cat([audio, audio])
        noise = torch.zeros(8, codec.channels, TRAINING.frames)
        with torch.no_grad():
            found = objective.step(Sounds(sounds, noise, latent), torch.Generator(), 1.0)
        return {name: float(value) for name, value in found.values.items()}

    def trained(folder: str, training: CodecTraining) -> dict[str, float]:
        codec = train_codec(
            store,
            tmp_path / folder,
            tiny_codec.config,
            training,
            Budget(steps=60),
            CPU,
            start_from=tiny_codec,
            played=store,
        )
        assert isinstance(codec, SpectralCodec)
        assert codec.latent_id == tiny_codec.latent_id
        return off(codec)

    deaf = trained("deaf", replace(TRAINING, statistics_weight=0.0))  # to what was played
    hears = trained("hears", TRAINING)
    assert hears["loss/statistics_played"] < 0.95 * deaf["loss/statistics_played"]
    assert hears["loss/log_magnitude"] < 1.1 * deaf["loss/log_magnitude"]  # at little cost
    assert hears["loss/log_magnitude"] < off(tiny_codec)["loss/log_magnitude"]


def test_whoever_draws_training_is_the_same(
    store: Store, tiny_codec: SpectralCodec, tmp_path: Path
) -> None:
    store.attach(KIND, tiny_codec.latent_id, given(encoded(store, tiny_codec)))

    def trained(workers: int) -> dict[str, torch.Tensor]:
        codec = train_codec(
            store,
            tmp_path / f"{workers}",
            tiny_codec.config,
            TRAINING,
            Budget(steps=3),
            CPU,
            start_from=tiny_codec,
            played=store,
            workers=workers,
        )
        return codec.state_dict()

    alone, ahead = trained(0), trained(2)
    assert all(torch.equal(alone[name], ahead[name]) for name in alone)


def test_only_a_latent_that_stays_can_be_played_in(
    store: Store, tiny_codec: SpectralCodec, tmp_path: Path
) -> None:
    store.attach(KIND, tiny_codec.latent_id, given(encoded(store, tiny_codec)))
    with pytest.raises(TrainingError, match="larger batch"):
        CodecTraining(batch=1, played=0.5)
    moving = replace(tiny_codec.config, residual=8)
    with pytest.raises(TrainingError, match="still moves"):
        train_codec(store, tmp_path / "c", moving, TRAINING, Budget(1), CPU, played=store)
    with pytest.raises(TrainingError, match="only a spectral codec"):
        train_codec(
            store, tmp_path / "a", rave.tiny(), rave_training(), Budget(1), CPU, played=store
        )
    unasked = SpectralObjective(tiny_codec, replace(TRAINING, played=0.0), CPU)
    with pytest.raises(TrainingError, match="give the share"):
        PlayedExcerpts(store, unasked)
    with pytest.raises(DataError, match="made by codec"):  # a basis fitted anew
        train_codec(
            store, tmp_path / "b", tiny_codec.config, TRAINING, Budget(1), CPU, played=store
        )
    store.attach(
        KIND, tiny_codec.latent_id, given([x * np.nan for x in encoded(store, tiny_codec)])
    )
    with pytest.raises(DataError, match="no played item"):
        PlayedExcerpts(store, SpectralObjective(tiny_codec, TRAINING, CPU))


def test_a_store_without_pairs_cannot_be_played(store: Store, tiny_model: Path) -> None:
    part = store.subset([group[0] for group in store.by_identity.values()])
    with pytest.raises(DataError, match="two renditions of a timbre"):
        attach_played(part, load(tiny_model, "cpu"), "tiny")


def test_silent_examples_are_passed_over(
    store: Store, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "audio", lambda *asked: np.zeros(asked[3], np.float32))
    assert attach_played(store, load(tiny_model, "cpu"), "tiny") == 0
    assert all(np.isnan(store.array(KIND, i)).all() for i in range(len(store)))


def test_a_model_that_cannot_play_for_a_decoder_is_refused_before_it_plays(
    store: Store, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    player = load(tiny_model, "cpu")
    monkeypatch.setattr(Timbrel, "reads_notes", False)
    with pytest.raises(ModelError, match="from audio"):
        attach_played(store, player, "tiny")
    monkeypatch.setattr(Timbrel, "reads_notes", True)
    player.codec = rave.RaveCodec(rave.tiny())
    with pytest.raises(ModelError, match="only a spectral codec"):
        attach_played(store, player, "tiny")


def test_the_command_line(store: Store, tiny_model: Path, tmp_path: Path) -> None:
    where, out = str(store.path), tmp_path / "run"
    asked = ["codec", "--data", where, "-o", str(out), "--played", where, "--steps", "2"]
    missing = CliRunner().invoke(train, asked)
    assert "--played needs --from" in str(missing.exception)
    play = ["played", where, "--model", str(tiny_model), "--workers", "2"]
    refused = CliRunner().invoke(prepare, [*play, "--device", "cuda"])
    assert "plays on the processor" in str(refused.exception)
    said = CliRunner().invoke(prepare, play)
    assert said.exit_code == 0, said.exception
    assert "items played" in said.stdout
    save_codec(load_codec(tiny_model), tmp_path / "codec")
    asked += ["--from", str(tmp_path / "codec"), "--batch", "2"]
    done = CliRunner().invoke(train, asked)
    assert done.exit_code == 0, done.exception
    assert "loss/statistics_played" in (out / "metrics.jsonl").read_text()  # from the beginning
    assert load_codec(out / "codec").latent_id == load_codec(tiny_model).latent_id
    # the model with its new decoder is sampled as before
    for codec, network, model, more in (
        (tiny_model, tiny_model, "first", ["--sampler", "heun", "--steps", "3"]),
        (out / "codec", tmp_path / "first", "second", []),
    ):
        words = ["assemble", "--codec", str(codec), "--network", str(network)]
        done = CliRunner().invoke(train, [*words, "-o", str(tmp_path / model), *more])
        assert done.exit_code == 0, done.exception
    sampling = load(tmp_path / "second", "cpu").sampling()
    assert (sampling.sampler, sampling.steps) == ("heun", 3)
