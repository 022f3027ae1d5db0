"""Items that other processes draw ahead are those that this one would draw."""

import itertools
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from timbrel.codec.spectral import SpectralCodec
from timbrel.data.batch import Drawn, Entries
from timbrel.data.pairs import Corruption, Pairs
from timbrel.data.store import Store
from timbrel.errors import DataError
from timbrel.roll import roll
from timbrel.training.draws import Draw, Draws, workers_for
from timbrel.training.equaliser import Equaliser
from timbrel.training.transposition import Transposition

CPU = torch.device("cpu")


@pytest.fixture
def draws(small_store: Store, tiny_codec: SpectralCodec) -> Draws:
    pairs = Pairs(small_store, tiny_codec.frame_rate, 24, 32, 7, Corruption())
    altered = [Transposition(tiny_codec.basis, 0.5), Equaliser(tiny_codec.basis, 0.5)]
    return Draws(pairs, 3, 0, 3, altered)


def taken(draws: Draws, first: int, workers: int, count: int = 4) -> list[Draw]:
    return list(itertools.islice(draws.since(first, workers), count))


@pytest.mark.parametrize("workers", [1, 2])
def test_processes_draw_what_this_one_would_and_in_order(draws: Draws, workers: int) -> None:
    alone, ahead = taken(draws, 5, 0), taken(draws, 5, workers)
    for one, other in zip(alone, ahead, strict=True):
        assert one.seed == other.seed
        for name, tensor in vars(one.batch(CPU, draws.alterations)).items():
            found = getattr(other.batch(CPU, draws.alterations), name)
            assert (found is None and tensor is None) or torch.equal(found, tensor)
    assert len({draw.seed for draw in alone}) == 4
    # numbers do not depend on where one begins
    assert taken(draws, 7, 0, 1)[0].seed == alone[2].seed


def test_a_roll_travels_by_its_entries_and_arrives_whole(draws: Draws) -> None:
    pairs = draws.pairs
    rolls = [roll(pairs.store.notes(k), pairs.frame_rate, 50) for k in range(4)]
    sent = Entries.of([*rolls, np.zeros_like(rolls[0])])
    np.testing.assert_array_equal(sent.to(CPU)[:4], np.stack(rolls))
    assert not sent.to(CPU)[4].any()
    assert len(sent.values) < 0.1 * sent.to(CPU).numel()


@pytest.mark.parametrize("workers", [0, 1])
def test_an_item_that_cannot_be_read_is_named_whoever_reads_it(
    draws: Draws, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    def cut(self: Pairs, size: int, rng: np.random.Generator) -> Drawn:
        raise DataError("the latents of item 3 are cut short")

    monkeypatch.setattr(Pairs, "draw", cut)
    with pytest.raises(DataError, match=r"^the latents of item 3 are cut short$"):
        taken(draws, 0, workers)


def test_a_process_that_was_killed_is_told_of_in_a_sentence(
    draws: Draws, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(self: Pairs, size: int, rng: np.random.Generator) -> Drawn:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    monkeypatch.setattr(Pairs, "draw", killed)
    with pytest.raises(DataError, match=r"killed.*run again to continue"):
        taken(draws, 0, 1)


def test_a_ctrl_c_is_for_the_one_that_trains(
    draws: Draws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    draw = Pairs.draw

    def interrupted(self: Pairs, size: int, rng: np.random.Generator) -> Drawn:
        os.kill(os.getpid(), signal.SIGINT)  # as a terminal does to the whole group
        return draw(self, size, rng)

    monkeypatch.setattr(Pairs, "draw", interrupted)
    assert len(taken(draws, 0, 1)) == 4


def test_processors_that_train_have_no_cores_to_spare(monkeypatch: pytest.MonkeyPatch) -> None:
    assert workers_for(CPU) == 0
    gpu = torch.device("cuda")
    monkeypatch.setattr("os.cpu_count", lambda: 34)
    assert workers_for(gpu) == 16
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")  # of torchrun, whose processes share the cores
    assert workers_for(gpu) == 4
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    assert workers_for(gpu) == 1
