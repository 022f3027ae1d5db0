"""Looks at every file of a store, without reading the audio."""

import json
from collections.abc import Callable
from functools import partial

from timbrel.data.store import Store
from timbrel.errors import DataError


def damage(store: Store) -> list[str]:
    """What is missing or cut short, one sentence a file; empty if the store is whole.

    Changed bytes in the middle of a file of audio are not noticed.
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
        except (DataError, ValueError, KeyError, TypeError):
            found.append(f"{description} is damaged; run `timbrel prepare {kind}` again")
    for index in last.values():
        for look in looks:
            try:
                look(index)
            except DataError as error:
                found.append(str(error))
    return found
