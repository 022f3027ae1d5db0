"""Embeddings of the transformers library, on tiny random models saved to disk."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sounds import RATE, tone
from timbrel.audio import Audio
from timbrel.errors import InputError
from timbrel.evaluation.embeddings import Embedded, embedder
from timbrel.evaluation.run import Record, audio_path, keep

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def clap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "clap"
    audio = {
        "spec_size": 64, "num_mel_bins": 16, "patch_size": 4, "patch_stride": [4, 4],
        "window_size": 4, "depths": [1, 1], "num_attention_heads": [1, 1], "hidden_size": 16,
        "patch_embeds_hidden_size": 8, "num_hidden_layers": 2, "num_classes": 4,
        "projection_dim": 12, "enable_fusion": False, "fusion_num_hidden_layers": 1,
    }  # fmt: skip
    text = {
        "vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1,
        "intermediate_size": 8, "projection_dim": 12,
    }  # fmt: skip
    config = transformers.ClapConfig(audio_config=audio, text_config=text, projection_dim=12)
    transformers.set_seed(0)
    transformers.ClapModel(config).save_pretrained(folder)
    transformers.ClapFeatureExtractor(
        feature_size=16,
        sampling_rate=16_000,
        max_length_s=3,
        fft_window_size=512,
        hop_length=200,
        truncation="rand_trunc",
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def mert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "hubert"
    config = transformers.HubertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        conv_dim=(8, 8), conv_kernel=(10, 8), conv_stride=(5, 8), num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    transformers.set_seed(0)
    transformers.HubertModel(config).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(sampling_rate=16_000).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["musicnn", "clap", "mert"])
def test_every_embedding_gives_rows_that_depend_on_the_sound(
    kind: str, request: pytest.FixtureRequest
) -> None:
    name = kind if kind == "musicnn" else f"{kind}:{request.getfixturevalue(kind)}"
    embed = embedder(name)
    low, high = (embed(Audio(tone(hz, 5.0)[None], RATE)) for hz in (110, 1760))
    assert low.shape == high.shape
    assert low.ndim == 2
    assert len(low) >= 2
    assert np.isfinite(low).all()
    assert np.abs(low.mean(0) - high.mean(0)).max() > 1e-4


def test_sounds_of_a_report_are_embedded_once(mert: Path, tmp_path: Path) -> None:
    record = Record("one", "level", "some system", {}, "", 1.0, 3.0, {})
    keep(tmp_path, record.case, record.system, Audio(tone(220, 3.0)[None], RATE))
    embedded = Embedded(tmp_path, f"mert:{mert}")
    first = embedded.of(record)
    assert first is not None
    audio_path(tmp_path, record.case, record.system).unlink()
    again = Embedded(tmp_path, f"mert:{mert}").of(record)
    assert again is not None
    assert np.array_equal(first, again)
    assert embedded.of(replace(record, case="another")) is None
    assert Embedded(tmp_path, "musicnn").of(record) is None


def test_an_embedding_that_a_kill_cut_short_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(_: int) -> None:
        raise KeyboardInterrupt

    record = Record("one", "level", "some system", {}, "", 1.0, 3.0, {})
    keep(tmp_path, record.case, record.system, Audio(tone(220, 1.0)[None], RATE))
    monkeypatch.setattr("timbrel.evaluation.embeddings.embedder", lambda _: lambda _: np.eye(3))
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", killed)
        with pytest.raises(KeyboardInterrupt):
            Embedded(tmp_path, "mine").of(record)
    assert not list(tmp_path.glob("embeddings/**/*.npy"))
    assert np.array_equal(Embedded(tmp_path, "mine").of(record), np.eye(3))


def test_embeddings_that_are_not_there_are_named(mert: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="use musicnn"):
        embedder("panns")
    with pytest.raises(InputError, match="holds no model"):
        embedder(f"clap:{tmp_path}")
    with pytest.raises(InputError, match="not a CLAP model"):
        embedder(f"clap:{mert}")
    with pytest.raises(InputError, match="not numbers"):
        embedder(f"mert:{mert}")(Audio(np.full((1, RATE), np.nan, np.float32), RATE))
