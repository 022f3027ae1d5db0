"""Which items train together."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stores import FRAMES, HOP, ITEM, RATE, draw, given, store_of
from timbrel.data.batch import WARMUP
from timbrel.data.pairs import Corruption, Pairs
from timbrel.errors import DataError


def test_items_without_notes_are_examples_and_never_targets(tmp_path: Path) -> None:
    known, unknown = replace(ITEM, identity="a"), replace(ITEM, identity="a", notes="none")
    target, example = draw(store_of(tmp_path, unknown, known, unknown))
    assert set(target[:, 0, 0]) == {1}
    assert set(example[:, 0, 0]) == {0, 2}


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 1.0, 1.0), (0.5, 0.4, 0.7)])
def test_the_notes_of_a_target_are_those_of_its_frames_but_for_their_share_of_faults(
    tmp_path: Path, share: float, least: float, most: float
) -> None:
    store = store_of(tmp_path, ITEM, ITEM)
    pairs = Pairs(store, RATE / HOP, 30, 30, 0, Corruption(share=share))
    batch = pairs.batch(200, np.random.default_rng(0))
    assert batch.roll.shape == (200, 3, 128, WARMUP + 30)
    start = batch.latent[:, 1, 0].numpy()
    frame, within = divmod(0.1 * RATE / HOP, 1)  # where the one note of every item begins
    there = start <= WARMUP + frame  # else it begins before the run-in
    assert (start > frame).any()
    begins = (WARMUP + frame - start[there]).astype(int)
    onsets = batch.roll[there, 0, 60].numpy()[np.arange(len(begins)), begins]
    right = np.abs(onsets - (1 - within)) < 1e-3
    assert least <= right.mean() <= most


def test_the_notes_of_an_example_are_its_own_with_faults(tmp_path: Path) -> None:
    store = store_of(tmp_path, *(replace(ITEM, identity="a") for _ in range(3)))
    batch = Pairs(store, RATE / HOP, 60, 60, 0, Corruption()).batch(400, np.random.default_rng(0))
    sounding = batch.example_roll[:, 1].numpy()
    assert sounding.shape == (400, 128, 60)
    # the one note of every item, in most examples where it is written
    right = sounding[:, 60].max(1) > 0
    assert 0.6 < right.mean() < 0.95
    start = batch.example[:, 1, 0].numpy()
    begins = sounding[:, 60].argmax(1)  # in frame 4 of an item
    assert np.median(begins[right & (start == 0)]) == pytest.approx(4, abs=1)
    assert np.median(begins[right & (start == 4)]) <= 1


def test_the_notes_of_kits_and_of_unknown_examples_are_kept_from_the_encoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit, unknown = replace(ITEM, identity="a", drums=True), replace(ITEM, identity="b")
    items = [kit, kit, unknown, replace(unknown, notes="none")]
    pairs = Pairs(store_of(tmp_path, *items), RATE / HOP, 30, 30, 0, Corruption())
    batch = pairs.batch(100, np.random.default_rng(0))
    assert not batch.example_roll.any()
    # and those of others in their share
    known = [replace(ITEM, identity="a") for _ in range(3)]
    pairs = Pairs(store_of(tmp_path / "known", *known), RATE / HOP, 30, 30, 0, Corruption())
    monkeypatch.setattr("timbrel.data.pairs.UNKNOWN_NOTES", 1.0)
    assert not pairs.batch(100, np.random.default_rng(0)).example_roll.any()


def test_target_and_example_are_two_passages_of_one_identity(tmp_path: Path) -> None:
    items = [replace(ITEM, identity=name) for name in "aabbbc"]
    target, example = draw(store_of(tmp_path, *items))
    pairs = {(int(a), int(b)) for a, b in zip(target[:, 0, 0], example[:, 0, 0], strict=True)}
    others = {(a, b) for a in (2, 3, 4) for b in (2, 3, 4) if a != b}
    # the one that has no second passage is its own example
    assert pairs == {(0, 1), (1, 0), (5, 5)} | others


def test_without_notes_an_item_is_a_target_where_structure_comes_from_audio(tmp_path: Path) -> None:
    unknown = replace(ITEM, identity="a", notes="none")
    pairs = Pairs(store_of(tmp_path, unknown, unknown), RATE / HOP, 30, 30, 0, Corruption(), True)
    assert set(pairs.batch(50, np.random.default_rng(0)).latent[:, 0, 0].tolist()) == {0, 1}


def test_a_single_passage_gives_target_and_example_that_do_not_overlap(tmp_path: Path) -> None:
    single = replace(ITEM, identity="a", recording="one.wav", silence=10 * HOP)
    store = store_of(tmp_path, single)
    target, example = (latents[:, 1] for latents in draw(store, frames=30, count=300))
    gap = example[:, 0] - target[:, 0]
    assert np.abs(gap).min() == 30
    assert np.abs(gap).max() == 40
    assert 100 < (gap > 0).sum() < 200
    assert max(target.max(), example.max()) == 69
    with pytest.raises(DataError, match="two different scores"):
        draw(store, frames=36)


def test_transcribed_notes_count_as_notes(tmp_path: Path) -> None:
    heard = replace(ITEM, identity="a", notes="transcribed")
    assert set(draw(store_of(tmp_path, heard, heard))[0][:, 0, 0]) == {0, 1}


def test_a_store_without_notes_says_how_to_get_them(tmp_path: Path) -> None:
    unknown = replace(ITEM, identity="a", notes="none")
    with pytest.raises(DataError, match="--transcribe"):
        draw(store_of(tmp_path, unknown, unknown))


def test_silence_after_a_recording_is_entered_only_as_far_as_must_be(tmp_path: Path) -> None:
    half = replace(ITEM, identity="a", silence=FRAMES // 2 * HOP)
    store = store_of(tmp_path, half, half)
    for latents in draw(store, frames=30):
        assert set(latents[:, 1, 0]) == set(range(11))
    for latents in draw(store, frames=50):
        assert set(latents[:, 1, 0]) == {0}


def test_items_shorter_than_a_window_are_left_out_and_counted(tmp_path: Path) -> None:
    whole = replace(ITEM, identity="a")
    short = replace(ITEM, identity="a", length=20 * HOP)
    store = store_of(tmp_path, whole, short, whole, replace(short, identity="b"))
    pairs = Pairs(store, RATE / HOP, 30, 30, 0, Corruption())
    batch = pairs.batch(100, np.random.default_rng(0))
    assert {*batch.latent[:, 0, 0].tolist(), *batch.example[:, 0, 0].tolist()} == {0, 2}
    left_out, alone = pairs.report()
    assert left_out == "2 of 4 items are shorter than a window and left out"
    assert alone.startswith("all targets are of one timbre")
    with pytest.raises(DataError, match="shorter than a window"):
        Pairs(store, RATE / HOP, 100, 30, 0, Corruption())


def test_every_item_that_is_no_target_is_counted_with_the_reason(tmp_path: Path) -> None:
    paired = [replace(ITEM, identity=name, score=k) for k, name in enumerate("aabb")]
    # padded with silence to the length of the others, as recordings are
    short = replace(ITEM, identity="c", score=4, silence=(FRAMES - 50) * HOP)
    faint = replace(ITEM, identity="a", score=5, silence=(FRAMES - 20) * HOP)
    unknown = replace(ITEM, identity="b", score=6, notes="none")
    store = store_of(tmp_path, *paired, short, faint, unknown)
    seconds = 30 * HOP / RATE
    assert Pairs(store, RATE / HOP, 30, 30, 0, Corruption()).report() == [
        "1 of 7 items have no notes and are examples at most: prepare them with --transcribe",
        "1 of 7 items are left out: alone of their timbre, and without the "
        f"{2 * seconds:.1f} s of sound that a target and an example beside it take",
        f"1 of 5 targets sound for less than a window of {seconds:.1f} s: silence follows them",
    ]
    # where all is taken from one item, others of the timbre are of no use
    (unknown, left_out) = Pairs(store, RATE / HOP, 30, 30, 0, Corruption(), same_clip=1).report()
    assert "have no notes" in unknown
    assert left_out.startswith("2 of 7 items are left out: without the")


def test_what_falls_back_to_the_paper_s_way_is_counted(tmp_path: Path) -> None:
    # a and b play one score; c plays another, alone, once
    items = [replace(ITEM, identity=name, score=score) for name, score in
             (("a", 0), ("a", 1), ("b", 0), ("b", 1), ("c", 2))]  # fmt: skip
    store = store_of(tmp_path, *items)
    assert Pairs(store, RATE / HOP, 30, 30, 0, Corruption(), True, spectra=True).report() == [
        "1 of 5 targets have no second passage of their timbre: their example is another part "
        "of the same item, as in the paper",
        "1 of 5 targets have no second rendition: their structure is heard in the target "
        "itself, as in the paper",
    ]
    paired = store.subset(range(4))
    assert Pairs(paired, RATE / HOP, 30, 30, 0, Corruption(), True, spectra=True).report() == []
    (slow,) = Pairs(paired, RATE / HOP, 30, 30, 0, Corruption(), True).report()
    assert "timbrel prepare spectra" in slow


def test_the_paper_s_way_takes_all_from_one_item_without_overlap(tmp_path: Path) -> None:
    items = [replace(ITEM, identity="a"), replace(ITEM, identity="a")]
    store = store_of(tmp_path, *items)
    for overlap in (False, True):
        pairs = Pairs(store, RATE / HOP, 30, 30, 0, Corruption(), same_clip=1.0, overlap=overlap)
        batch = pairs.batch(300, np.random.default_rng(0))
        np.testing.assert_array_equal(batch.latent[:, 0, 0], batch.example[:, 0, 0])
        gap = (batch.latent[:, 1, 0] - batch.example[:, 1, 0]).abs()
        assert (gap.min() < 30) == overlap


def test_a_share_of_the_draws_takes_all_from_one_item(tmp_path: Path) -> None:
    store = store_of(tmp_path, *(replace(ITEM, identity="a") for _ in range(4)))
    pairs = Pairs(store, RATE / HOP, 30, 30, 0, Corruption(), same_clip=0.25)
    batch = pairs.batch(400, np.random.default_rng(0))
    own = batch.latent[:, 0, 0] == batch.example[:, 0, 0]
    assert 0.18 < own.float().mean() < 0.32
    gap = (batch.latent[own, 1, 0] - batch.example[own, 1, 0]).abs()
    assert gap.min() >= 30
    # items that cannot hold both are pairs all the same
    long = Pairs(store, RATE / HOP, 70, 70, 0, Corruption(), same_clip=0.25)
    batch = long.batch(100, np.random.default_rng(0))
    assert (batch.latent[:, 0, 0] != batch.example[:, 0, 0]).all()


def test_heard_notes_replace_the_written_ones_in_their_share_of_items(tmp_path: Path) -> None:
    items = [replace(ITEM, identity=name) for name in "ab" for _ in range(2)]
    store = store_of(tmp_path, *items)
    rows = np.zeros((8, 4), np.float32)
    rows[0] = 0.0, 1.8, 72, 100  # the written note is 60
    store.attach("heard", "me", given([rows] * 4))
    pairs = Pairs(store, RATE / HOP, 70, 70, 0, Corruption(share=0), heard=0.25)
    sounding = pairs.batch(200, np.random.default_rng(0)).roll[:, 1].amax(2)
    heard = sounding[:, 72] > 0
    assert 0.15 < heard.float().mean() < 0.35
    assert not (heard & (sounding[:, 60] > 0)).any()
