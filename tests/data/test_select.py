from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from timbrel.data.select import Selection, select
from timbrel.data.store import Item, Store
from timbrel.errors import DataError

RATE = 1000
ITEM = Item(0, 0, 60 * RATE, RATE, "", 0, "family", "train", "own", False)


def store_of(items: list[Item]) -> Store:
    return Store(Path("nowhere"), items)


def timbres(count: int, instruments: int = 3) -> Store:
    """`count` timbres of 4 items of a minute; timbres 2k and 2k + 1 share their scores."""
    return store_of(
        [
            replace(
                ITEM,
                row=number,
                identity=f"t{number // 4:03d}",
                instrument=f"i{number // 4 % instruments}",
                score=number // 8 * 4 + number % 4,
            )
            for number in range(4 * count)
        ]
    )


def test_hours_are_kept_and_timbres_stay_whole() -> None:
    part = select(timbres(60), Selection(hours=1.0))
    assert part.hours == pytest.approx(1.0, abs=4 / 60)
    assert {len(items) for items in part.by_identity.values()} == {4}


def test_partners_that_share_scores_are_kept_together() -> None:
    part = select(timbres(60), Selection(hours=1.0))
    paired = [len(items) == 2 for items in part.by_score.values()]
    assert np.mean(paired) > 0.85


def test_less_lies_within_more() -> None:
    store = timbres(60)
    one, two = (select(store, Selection(hours=h)) for h in (0.5, 2.0))
    assert set(one.by_identity) < set(two.by_identity)


def test_instruments_are_counted_and_all_of_them_are_there() -> None:
    store = timbres(60, instruments=10)
    part = select(store, Selection(hours=1.0, instruments=4))
    assert {item.instrument for item in part.items} == {"i0", "i1", "i2", "i3"}
    assert part.hours == pytest.approx(1.0, abs=4 / 60)


def test_more_than_there_is_cannot_be_had() -> None:
    with pytest.raises(DataError, match="fewer than 100 h"):
        select(timbres(8), Selection(hours=100.0))
    with pytest.raises(DataError, match="3 instruments, not 9"):
        select(timbres(8), Selection(instruments=9))
    store = timbres(8)
    assert select(store, Selection()) is store
