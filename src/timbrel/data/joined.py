"""Several stores as one, for training: renders and recordings, single sounds and whole pieces."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from timbrel.data.store import Store
from timbrel.errors import DataError
from timbrel.notes import Notes


class JoinedStore(Store):
    """The items of some stores, one store after the other.

    Timbres and scores of different stores are different, whatever their names.

    Args:
        stores: at least one.
        chosen: (number of the store, index in it) of every item; None: all of them.

    Raises:
        DataError: their audio has different rates.
    """

    def __init__(
        self, stores: Sequence[Store], chosen: Sequence[tuple[int, int]] | None = None
    ) -> None:
        self.stores = list(stores)
        if chosen is None:
            chosen = [(k, i) for k, store in enumerate(stores) for i in range(len(store))]
        self.chosen = list(chosen)
        count, items = len(self.stores), []
        for k, i in self.chosen:
            item = self.stores[k].items[i]
            # numbers of scores stay whole and distinct
            own = {"identity": f"{k}/{item.identity}", "score": item.score * count + k}
            items.append(replace(item, **own))  # type: ignore[arg-type]
        rates = {str(store.path): store.items[0].rate for store in self.stores}
        if len(set(rates.values())) > 1:
            listed = ", ".join(f"{path} at {rate} Hz" for path, rate in rates.items())
            raise DataError(f"stores of different rates cannot be trained on together: {listed}")
        super().__init__(Path("+".join(rates)), items, whole=False)

    def subset(self, indices: Sequence[int]) -> "JoinedStore":
        """See `Store`."""
        return JoinedStore(self.stores, [self.chosen[i] for i in indices])

    def audio(self, index: int, start: int = 0, length: int | None = None) -> np.ndarray:
        """See `Store`."""
        store, place = self._find(index)
        return store.audio(place, start, length)

    def is_intact(self, index: int) -> bool:
        """See `Store`."""
        store, place = self._find(index)
        return store.is_intact(place)

    def notes(self, index: int) -> Notes:
        """See `Store`."""
        store, place = self._find(index)
        return store.notes(place)

    def array(self, kind: str, index: int) -> np.ndarray:
        """See `Store`."""
        store, place = self._find(index)
        return store.array(kind, place)

    def maker(self, kind: str) -> str:
        """What made the arrays of a kind in all of the stores; "" if nothing did in all."""
        makers = {store.maker(kind) for store in self.stores}
        return makers.pop() if len(makers) == 1 else ""

    def check(self, kind: str, maker: str) -> None:
        """See `Store`; names the store that is at fault."""
        for store in self.stores:
            store.check(kind, maker)

    def _find(self, index: int) -> tuple[Store, int]:
        number, place = self.chosen[index]
        return self.stores[number], place


def held_out(
    path: str | Path, trained_on: Sequence[str | Path], say: Callable[[str], None] | None = None
) -> Store:
    """The validation part of a store.

    Args:
        path: of the store.
        trained_on: paths of other stores.
        say: told if the store holds nothing but items for training.

    Raises:
        DataError: it is no store or has no such part, or all of it is trained on.
    """
    store = Store.open(path)
    part = store.part("valid")
    if part is store and Path(path).resolve() in [Path(other).resolve() for other in trained_on]:
        raise DataError(
            f"{path} has items of one split only, so nothing of it is held out; give --valid "
            "another store, or none"
        )
    _warn(part, say)
    return part


def judged_part(store: Store, say: Callable[[str], None] | None = None) -> Store:
    """What of a store a model is judged by: the items for test, else those for validation.

    Args:
        store: of any splits; one that has one split only is returned as it is.
        say: told what is left out, or if the store holds nothing but items for training.
    """
    splits = {item.split for item in store.items}
    part = store.part("test" if "test" in splits else "valid")
    if say is not None and len(part) < len(store):
        say(
            f"{store.path}: asks {len(part)} of {len(store)} items, of the split "
            f"{part.items[0].split}; the others may have been trained on"
        )
    _warn(part, say)
    return part


def _warn(store: Store, say: Callable[[str], None] | None) -> None:
    if say is not None and {item.split for item in store.items} == {"train"}:
        say(
            f"warning: all items of {store.path} are for training; if the model learned from "
            "them, nothing of this is held out"
        )


def open_all(
    paths: Sequence[str | Path], split: str, say: Callable[[str], None] | None = None
) -> Store:
    """The part of some stores that is of one split; a single store as it is.

    Args:
        paths: of the stores.
        split: "train", "valid" or "test".
        say: told what is left out, as it is of other splits, and of a store that is of another
            split altogether.

    Raises:
        DataError: one of them is no store or has nothing for this split, is given twice, or
            their rates differ.
    """
    places = [Path(path).resolve() for path in paths]
    for path, place in zip(paths, places, strict=True):
        if places.count(place) > 1:
            raise DataError(f"{path} is given twice")
    stores = [Store.open(path) for path in paths]
    parts = [store.part(split) for store in stores]
    for store, part in zip(stores, parts, strict=True):
        if say is not None and len(part) < len(store):
            others = sorted({item.split for item in store.items} - {split})
            say(
                f"{store.path}: {len(part)} of {len(store)} items are of the split {split}; those "
                f"of {' and '.join(others)} are not learned from"
            )
        elif say is not None and (other := store.items[0].split) != split:
            say(
                f"warning: all items of {store.path} are of the split {other}, and are learned "
                "from; hold out another store"
            )
    return parts[0] if len(parts) == 1 else JoinedStore(parts)
