"""A part of a store, for asking what more data is worth."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from timbrel.data.store import Store
from timbrel.errors import DataError, InputError


@dataclass(frozen=True)
class Selection:
    """Which part; smaller parts lie within larger ones of the same seed.

    Attributes:
        hours: at most; None: all.
        instruments: how many, those of which the store has most; None: all.
        seed: of the order in which timbres are taken.
    """

    hours: float | None = None
    instruments: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.hours is not None and not 0 < self.hours < math.inf:
            raise InputError(f"data.hours is {self.hours}; give a number above 0")
        if self.instruments is not None and not (
            isinstance(self.instruments, int) and self.instruments > 0
        ):
            raise InputError(f"data.instruments is {self.instruments}; give 1 or more, whole")


def select(store: Store, selection: Selection) -> Store:
    """Whole timbres, until there are enough; partners that share scores are kept together.

    Raises:
        DataError: the store has fewer hours or instruments than asked for.
    """
    hours, instruments = selection.hours, selection.instruments
    chosen = list(range(len(store)))
    if instruments is not None:
        chosen = _largest(store, instruments)
    if hours is not None:
        if sum(store.items[i].seconds for i in chosen) < 3600 * hours * 0.99:
            raise DataError(f"{store.path} has fewer than {hours:g} h to choose from")
        kept, room = [], 3600 * hours
        for items in _in_turn(store, set(chosen), selection):
            kept += items
            room -= sum(store.items[i].seconds for i in items)
            if room <= 0:
                break
        chosen = sorted(kept)
    return store if len(chosen) == len(store) else store.subset(chosen)


def _largest(store: Store, count: int) -> list[int]:
    """Items of the instruments that have most items."""
    groups: dict[str, list[int]] = {}
    for index, item in enumerate(store.items):
        groups.setdefault(item.instrument or item.identity, []).append(index)
    if len(groups) < count:
        raise DataError(f"{store.path} has {len(groups)} instruments, not {count}")
    order = sorted(groups, key=lambda name: (-len(groups[name]), name))
    return sorted(i for name in order[:count] for i in groups[name])


def _in_turn(store: Store, allowed: set[int], selection: Selection) -> Iterator[list[int]]:
    """Items of one timbre after another, first those that share scores with one before.

    With `instruments`, one timbre of each in turn, so that all of them are there.
    """
    rng = np.random.default_rng(selection.seed)
    by_identity = {
        identity: items
        for identity, all_items in sorted(store.by_identity.items())
        if (items := [i for i in all_items if i in allowed])
    }
    order = list(by_identity)
    rng.shuffle(order)
    if selection.instruments is not None:
        nth: dict[str, int] = {}
        turn = {}
        for identity in order:
            name = store.items[by_identity[identity][0]].instrument
            turn[identity] = nth[name] = nth.get(name, -1) + 1
        order.sort(key=lambda identity: turn[identity])
    waiting, seen = list(reversed(order)), set()
    while waiting:
        identity = waiting.pop()
        if identity in seen:
            continue
        seen.add(identity)
        yield by_identity[identity]
        if selection.instruments is None:
            partners = {
                store.items[j].identity
                for i in by_identity[identity]
                for j in store.by_score[store.items[i].score]
            }
            waiting += sorted(p for p in partners - seen if p in by_identity)
