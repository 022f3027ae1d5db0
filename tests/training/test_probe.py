"""What the probe finds, and does not find, on a store of renditions."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from timbrel.codec.spectral import SpectralCodec
from timbrel.data.store import Store
from timbrel.network import Network, tiny
from timbrel.training import probe as module
from timbrel.training.disentanglement import warnings_of
from timbrel.training.probe import PASSAGES, TIMBRES, ProbeSet, probe

CPU = torch.device("cpu")


@pytest.fixture
def passages(small_store: Store, tiny_codec: SpectralCodec) -> ProbeSet:
    return ProbeSet(small_store, tiny_codec.frame_rate, 64)


@pytest.fixture
def found_in(
    passages: ProbeSet, tiny_codec: SpectralCodec, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Tensor], dict[str, float]]:
    """The probe of a network whose timbre codes are given."""
    network = Network(tiny())
    network.adopt(tiny_codec.basis)

    def measure(codes: Tensor) -> dict[str, float]:
        monkeypatch.setattr(module, "_timbres", lambda *_: codes)
        return probe(network.eval(), passages, CPU)

    return measure


def test_all_folds_hold_passages_and_no_score_is_in_two(passages: ProbeSet) -> None:
    scores = torch.tensor([passages.store.items[p.item].score for p in passages.passages])
    assert (scores % 2 == 0).all()  # of renditions they are all even
    for fold in passages.fold:
        counts = fold.bincount()
        assert len(counts) == 5
        assert counts.min() > len(scores) / 10
        assert all(len(fold[scores == score].unique()) == 1 for score in scores.unique())
    again = ProbeSet(passages.store, passages.frame_rate, passages.frames)
    assert torch.equal(again.fold, passages.fold)


def test_a_large_store_gives_more_timbres_and_not_more_work(
    small_store: Store, tiny_codec: SpectralCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = ProbeSet(small_store, tiny_codec.frame_rate, 24)
    assert few.labels > 5
    assert len(few.passages) <= PASSAGES <= 4 * TIMBRES
    monkeypatch.setattr(module, "PASSAGES", 4 * few.labels)
    assert len(ProbeSet(small_store, tiny_codec.frame_rate, 24).passages) == 4 * few.labels
    monkeypatch.setattr(module, "TIMBRES", 3)
    assert ProbeSet(small_store, tiny_codec.frame_rate, 24).labels == 3


def test_passages_in_which_nothing_sounds_have_no_pitch_to_find(
    small_store: Store, tiny_codec: SpectralCodec
) -> None:
    short = ProbeSet(small_store, tiny_codec.frame_rate, 24)
    assert (short.notes_alone[:, 2] == 0).any()
    assert short.controls["sound/pitch"] > 0.3


def test_planted_timbre_is_found_and_noise_is_not(
    passages: ProbeSet, found_in: Callable[[Tensor], dict[str, float]]
) -> None:
    codes = torch.randn(passages.labels, 16)[passages.label]
    codes += 0.5 * torch.randn(len(codes), 16)
    found = found_in(codes)
    assert found["timbre/instrument"] > 0.9
    assert found["timbre/instrument"] > found["sound/instrument"]
    chance = found["chance/instrument"]
    assert chance == pytest.approx(1 / passages.labels)
    draws = [passages.instrument_in(torch.randn(len(codes), 16)) for _ in range(20)]
    assert sum(draws) / 20 == pytest.approx(chance, abs=0.03)
    assert chance < found["noise/instrument"] < chance + 0.2


def test_planted_pitch_is_found_and_noise_tells_none(
    passages: ProbeSet, found_in: Callable[[Tensor], dict[str, float]]
) -> None:
    codes = torch.randn(len(passages.passages), 16)
    found = found_in(codes)
    assert found["timbre/pitch"] < 0.1
    assert found["noise/pitch"] < 0.2 < found["sound/pitch"]
    pitch = passages.notes_alone[:, 0]
    codes[:, 3] += 3 * (pitch - pitch.mean()) / pitch.std()
    assert found_in(codes)["timbre/pitch"] > 0.7


@pytest.mark.slow
def test_a_fresh_adversary_finds_the_networks_timbre_in_structure_and_not_in_notes(
    passages: ProbeSet, tiny_codec: SpectralCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny()
    network = Network(replace(config, structure=replace(config.structure, source="cqt"))).eval()
    assert not any("error_over_chance" in name for name in probe(network, passages, CPU))
    codes = torch.randn(passages.labels, config.timbre.dim)[passages.label]
    codes += 0.2 * torch.randn(codes.shape)
    monkeypatch.setattr(module, "_timbres", lambda *_: codes)
    leaking = (codes[:, :, None] + torch.randn(*codes.shape, passages.frames)).float()
    monkeypatch.setattr(module, "_heard_codes", lambda _, __, todo, *___: leaking[: len(todo)])
    found = probe(network, passages, CPU, afresh=True)
    assert found["structure/error_over_chance"] < 0.3
    for control in ("notes", "noise"):
        assert found[f"{control}/error_over_chance"] > 0.8
    assert found["structure/error_over_chance"] < found["sound/error_over_chance"]
    assert any(w.startswith("adversary-finds-timbre: ") for w in warnings_of(found))
