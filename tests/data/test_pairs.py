"""Which items train together."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from timbrel.data.pairs import Corruption, Pairs
from timbrel.data.store import Item, Store, StoreWriter
from timbrel.errors import DataError
from timbrel.notes import Notes

RATE, HOP, FRAMES = 44_100, 1_024, 80
ITEM = Item(0, 0, FRAMES * HOP, RATE, "", 0, "family", "train", "own", False)


def store_of(folder: Path, *items: Item) -> Store:
    """A store whose latents are (number of the item, number of the frame)."""
    writer = StoreWriter(folder)
    rows = [replace(item, row=row) for row, item in enumerate(items)]
    notes = [
        Notes.empty() if item.notes == "none" else Notes.from_rows([(0.1, 0.5, 60, 90)])
        for item in rows
    ]
    writer.write_shard(0, np.zeros((len(rows), FRAMES * HOP)), notes, rows)
    store = Store.open(folder)
    frames = np.arange(FRAMES)
    store.attach(
        "latents",
        "abc",
        iter(
            [np.stack([np.full(FRAMES, k), frames], 1).astype(np.float16) for k in range(len(rows))]
        ),
    )
    return store


def draw(store: Store, frames: int = 30, count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Latents of targets and of examples."""
    pairs = Pairs(store, RATE / HOP, frames, frames, 0, Corruption())
    batch = pairs.batch(count, np.random.default_rng(0))
    return batch.latent, batch.example


def test_items_without_notes_are_examples_and_never_targets(tmp_path: Path) -> None:
    known, unknown = replace(ITEM, identity="a"), replace(ITEM, identity="a", notes="none")
    target, example = draw(store_of(tmp_path, unknown, known, unknown))
    assert set(target[:, 0, 0]) == {1}
    assert set(example[:, 0, 0]) == {0, 2}


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
    assert set(pairs.batch(50, np.random.default_rng(0)).latent[:, 0, 0]) == {0, 1}


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
