"""Looks at every file of a store."""

import json
from collections.abc import Callable
from functools import partial

from timbrel.data.store import Store
from timbrel.errors import DataError


def damage(store: Store, thorough: bool = False) -> list[str]:
    """What is missing or damaged, one sentence a file; empty if the store is whole.

    Args:
        store: to be looked at.
        thorough: whether all audio is read, so that changed bytes in the middle of a file
            are noticed, too.
    """
    last: dict[int, int] = {}  # of each shard, the item with the highest row
    for index, item in enumerate(store.items):
        if item.row >= store.items[last.setdefault(item.shard, index)].row:
            last[item.shard] = index
    looks: list[Callable[[int], object]] = [lambda i: store.audio(i, 0, 1), store.notes]
    found = []
    for description in sorted(store.path.glob("*.json")):
        kind = description.stem
        try:
            if kind != "plan":
                store.check(kind, json.loads(description.read_text())["maker"])
                looks.append(partial(store.array, kind))
        except DataError as error:
            found.append(str(error))
        except (ValueError, KeyError, TypeError):
            found.append(f"{description} is damaged; run `timbrel prepare {kind}` again")
    for index in last.values():
        for look in looks:
            try:
                look(index)
            except DataError as error:
                found.append(str(error))
    return found or (_changed(store) if thorough else [])


def _changed(store: Store) -> list[str]:
    """Shards whose audio is not what was written."""
    shards = {i.shard for number, i in enumerate(store.items) if not store.is_intact(number)}
    return [
        f"{store.path / f'audio-{shard}.npy'} was changed; prepare the store again"
        for shard in sorted(shards)
    ]
