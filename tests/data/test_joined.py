"""Several stores as one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from command_line import timbrel
from stores import ITEM, draw, store_of
from timbrel.data.joined import JoinedStore, held_out, judged_part, open_all
from timbrel.errors import DataError


def test_timbres_of_different_stores_are_different_whatever_their_names(tmp_path: Path) -> None:
    item = replace(ITEM, identity="a", score=3)
    for name in ("one", "two"):
        store_of(tmp_path / name, item, item)
    joined = open_all([tmp_path / "one", tmp_path / "two"], "train")
    assert [len(items) for items in joined.by_identity.values()] == [2, 2]
    assert [len(items) for items in joined.by_score.values()] == [2, 2]
    alone = open_all([tmp_path / "one"], "train")
    assert len(alone) == 2
    assert "a" in alone.by_identity


def test_items_come_from_their_own_store(tmp_path: Path) -> None:
    first = store_of(tmp_path / "one", *(replace(ITEM, identity="a") for _ in range(3)))
    second = store_of(tmp_path / "two", *(replace(ITEM, identity="b") for _ in range(2)))
    joined = JoinedStore([first, second])
    # the latents of store_of are the number of the item in its store
    assert [float(joined.array("latents", k)[0, 0]) for k in range(5)] == [0, 1, 2, 0, 1]
    some = joined.subset([4, 0]).with_notes()
    assert [float(some.array("latents", k)[0, 0]) for k in range(2)] == [1, 0]
    assert [item.identity for item in some.items] == ["1/b", "0/a"]
    assert len(joined.notes(4).pitch) == 1
    np.testing.assert_array_equal(joined.audio(3, 0, 10), second.audio(0, 0, 10))


def test_an_example_is_never_of_another_store(tmp_path: Path) -> None:
    first = store_of(tmp_path / "one", *(replace(ITEM, identity="a") for _ in range(2)))
    second = store_of(tmp_path / "two", *(replace(ITEM, identity="a") for _ in range(4)))
    target, example = draw(JoinedStore([first, second.subset([2, 3])]))
    met = {(int(a), int(b)) for a, b in zip(target[:, 0, 0], example[:, 0, 0], strict=True)}
    assert met == {(0, 1), (1, 0), (2, 3), (3, 2)}


def test_what_one_of_the_stores_lacks_is_said_with_its_name(tmp_path: Path) -> None:
    first = store_of(tmp_path / "one", ITEM, ITEM)
    store_of(tmp_path / "two", ITEM, ITEM)
    (tmp_path / "two" / "latents.json").unlink()
    joined = open_all([tmp_path / "one", tmp_path / "two"], "train")
    assert first.maker("latents") == "abc"
    assert joined.maker("latents") == ""
    with pytest.raises(DataError, match="two has no latents"):
        joined.check("latents", "abc")
    with pytest.raises(DataError, match="single store"):
        joined.attach("latents", "abc", lambda _: iter([]))
    with pytest.raises(DataError, match="one is given twice"):
        open_all([tmp_path / "one", f"{tmp_path}/two/../one"], "train")
    store_of(tmp_path / "slow", replace(ITEM, rate=22_050), replace(ITEM, rate=22_050))
    with pytest.raises(DataError, match="22050 Hz"):
        open_all([tmp_path / "one", tmp_path / "slow"], "train")


def test_a_store_beside_rendering_is_refused_in_one_sentence(tmp_path: Path) -> None:
    done = timbrel(
        "train", "codec", "--data", "render", "--data", "x", "-o", str(tmp_path), "--steps", "1"
    )
    assert done.returncode == 2
    assert "stands alone" in done.stderr


def test_what_is_trained_on_is_not_held_out(tmp_path: Path) -> None:
    store_of(tmp_path / "one", *(replace(ITEM, split="train") for _ in range(2)))
    store_of(tmp_path / "both", *(replace(ITEM, split=s) for s in ("train", "valid")))
    with pytest.raises(DataError, match="nothing of it is held out"):
        held_out(tmp_path / "one", [tmp_path / "both", tmp_path / "one"])
    assert len(held_out(tmp_path / "one", [tmp_path / "both"])) == 2
    assert [i.split for i in held_out(tmp_path / "both", [tmp_path / "both"]).items] == ["valid"]


def test_a_store_for_training_is_taken_for_held_out_with_a_warning(tmp_path: Path) -> None:
    store = store_of(tmp_path / "one", *(replace(ITEM, split="train") for _ in range(2)))
    said: list[str] = []
    assert len(held_out(tmp_path / "one", [], said.append)) == 2
    assert len(judged_part(store, said.append)) == 2
    assert said == [said[0]] * 2
    assert said[0].startswith(f"warning: all items of {tmp_path}/one are for training")


def test_a_model_is_judged_by_what_is_for_test_or_else_for_validation(tmp_path: Path) -> None:
    train, valid, test = (replace(ITEM, split=split) for split in ("train", "valid", "test"))
    said: list[str] = []
    one = store_of(tmp_path / "one", train, valid, test, test)
    assert judged_part(one, said.append).items == [one.items[2], one.items[3]]
    two = store_of(tmp_path / "two", train, valid)
    assert judged_part(two, said.append).items == [two.items[1]]
    assert "asks 2 of 4 items, of the split test;" in said[0]
    assert "asks 1 of 2 items, of the split valid;" in said[1]
    assert len(judged_part(store_of(tmp_path / "three", valid), said.append)) == 1
    assert len(said) == 2


def test_what_is_of_other_splits_is_left_out_and_said(tmp_path: Path) -> None:
    train, valid = ITEM, replace(ITEM, split="valid")
    store_of(tmp_path / "one", train, valid, valid)
    store_of(tmp_path / "two", valid)  # of one split: taken as it is
    said: list[str] = []
    assert len(open_all([tmp_path / "one", tmp_path / "two"], "train", said.append)) == 2
    assert said == [
        f"{tmp_path}/one: 1 of 3 items are of the split train; those of valid are not learned from",
        f"warning: all items of {tmp_path}/two are of the split valid, and are learned from; hold "
        "out another store",
    ]
