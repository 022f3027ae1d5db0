"""Small stores made by hand."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from timbrel.data.pairs import Corruption, Pairs
from timbrel.data.store import Derive, Item, Store
from timbrel.data.writer import StoreWriter
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
    latents = [np.stack([np.full(FRAMES, k), frames], 1) for k in range(len(rows))]
    store.attach("latents", "abc", given([latent.astype(np.float16) for latent in latents]))
    return store


def given(arrays: Sequence[np.ndarray]) -> Derive:
    """What is attached, if it is there already: an array for each item of a store."""
    return lambda items: (arrays[index] for index in items)


def draw(store: Store, frames: int = 30, count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Latents of targets and of examples."""
    pairs = Pairs(store, RATE / HOP, frames, frames, 0, Corruption())
    batch = pairs.batch(count, np.random.default_rng(0))
    return batch.latent.numpy(), batch.example.numpy()
