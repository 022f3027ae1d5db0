import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from stores import given
from timbrel.data import mapped
from timbrel.data.damage import damage
from timbrel.data.joined import JoinedStore
from timbrel.data.lock import locked
from timbrel.data.render.renditions import render_store
from timbrel.data.store import Item, Store
from timbrel.data.writer import StoreWriter
from timbrel.errors import DataError
from timbrel.notes import Notes


def test_audio_and_notes_of_an_item_belong_together(small_store: Store) -> None:
    for index in range(6):
        notes, audio = small_store.notes(index), small_store.audio(index)
        silent = audio[: max(int(notes.onset[0] * 44_100) - 100, 0)]
        assert np.abs(silent).max(initial=0) < 1e-3
        assert np.abs(audio).max() > 0.01


def test_a_damaged_or_missing_shard_is_named(tmp_path: Path) -> None:
    render_store(tmp_path, 1, 3, "train", [], seconds=2.0)
    (tmp_path / "audio-0.npy").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"audio-0\.npy is missing or damaged"):
        Store.open(tmp_path).audio(0)
    (tmp_path / "manifest.jsonl").write_text("{broken\n")
    with pytest.raises(DataError, match="line 1"):
        Store.open(tmp_path)
    with pytest.raises(DataError, match="not a store"):
        Store.open(tmp_path / "none")


def test_derived_arrays_know_their_maker(tmp_path: Path) -> None:
    render_store(tmp_path, 1, 3, "train", [], seconds=2.0)
    store = Store.open(tmp_path)
    with pytest.raises(DataError, match="no latents"):
        store.check("latents", "abc")
    store.attach("latents", "abc", given([np.full((4, 2), k, np.float16) for k in range(3)]))
    store.check("latents", "abc")
    assert store.array("latents", 2)[0, 0] == 2
    with pytest.raises(DataError, match="made by codec abc, not xyz"):
        store.check("latents", "xyz")


def test_the_summary_counts_what_is_there(small_store: Store) -> None:
    summary = small_store.summary()
    assert summary["items"] == 48
    assert summary["hours"] == pytest.approx(48 * 4 / 3600, abs=1e-3)
    assert summary["licences"] == {"own": 48}
    lines = (small_store.path / "manifest.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["identity"] in small_store.by_identity


def test_a_shorter_shard_than_the_manifest_says_is_named(tmp_path: Path) -> None:
    render_store(tmp_path, 1, 3, "train", [], seconds=2.0)
    np.save(tmp_path / "audio-0.npy", np.zeros((1, 88_200), np.int16))
    with pytest.raises(DataError, match=r"audio-0\.npy lacks row 2"):
        Store.open(tmp_path).audio(2)
    (tmp_path / "notes-0.npz").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"notes-0\.npz is missing or damaged"):
        Store.open(tmp_path).notes(0)


def test_too_few_derived_arrays_are_refused_and_leave_none(tmp_path: Path) -> None:
    render_store(tmp_path, 1, 3, "train", [], seconds=2.0)
    store = Store.open(tmp_path)
    with pytest.raises(DataError, match="end before its 3 items"):
        store.attach("latents", "abc", lambda _: iter([np.zeros((4, 2), np.float16)]))
    with pytest.raises(DataError, match="no latents"):
        store.check("latents", "abc")


def test_stores_of_the_first_version_are_still_read(tmp_path: Path) -> None:
    render_store(tmp_path, 1, 3, "train", [], seconds=2.0)
    manifest = tmp_path / "manifest.jsonl"
    items = [json.loads(line) for line in manifest.read_text().splitlines()]
    for item in items:
        for later in ("timbre", "low", "high", "loudness"):
            del item[later]
    manifest.write_text("".join(json.dumps(item) + "\n" for item in items))
    store = Store.open(tmp_path)
    assert len(store) == 3
    assert store.items[0].loudness is None
    assert len(store.audio(2)) == 88_200


def test_part_of_an_item_is_cut_from_the_whole_and_padded_beyond_its_end(
    small_store: Store,
) -> None:
    whole = small_store.audio(0)
    np.testing.assert_array_equal(small_store.audio(0, 1_000, 500), whole[1_000:1_500])
    beyond = small_store.audio(0, len(whole) - 100, 300)
    np.testing.assert_array_equal(beyond[:100], whole[-100:])
    assert not beyond[100:].any()


def test_a_store_is_only_continued_with_its_own_plan(tmp_path: Path) -> None:
    render_store(tmp_path, 1, 3, "train", [], seconds=2.0)
    plan = json.loads((tmp_path / "plan.json").read_text())
    StoreWriter(tmp_path, dict(reversed(plan.items())))
    with pytest.raises(DataError, match="begun with another seed"):
        StoreWriter(tmp_path, {**plan, "seed": 2})
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(DataError, match=r"plan\.json is damaged"):
        StoreWriter(tmp_path, plan)


def test_changed_bytes_in_the_middle_of_audio_are_found_when_all_is_read(tmp_path: Path) -> None:
    render_store(tmp_path, 1, 4, "train", [], seconds=1.5)
    store = Store.open(tmp_path)
    assert damage(store, thorough=True) == []
    path = tmp_path / "audio-0.npy"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert damage(Store.open(tmp_path)) == []
    assert damage(Store.open(tmp_path), thorough=True) == [
        f"{path} was changed; prepare the store again"
    ]


def test_a_store_without_checksums_is_not_called_damaged(tmp_path: Path) -> None:
    render_store(tmp_path, 1, 4, "train", [], seconds=1.5)
    manifest = tmp_path / "manifest.jsonl"
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    assert all(line.pop("checksum") for line in lines)
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert damage(Store.open(tmp_path), thorough=True) == []


def test_a_disk_that_fills_while_arrays_are_added_leaves_a_store_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    render_store(tmp_path, 1, 4, "train", [], seconds=1.5)
    store = Store.open(tmp_path)
    arrays = [np.full((3, 2), k, np.float16) for k in range(4)]
    store.attach("latents", "abc", given(arrays))

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        store.attach("latents", "def", given(arrays))
    monkeypatch.undo()
    for maker in ("abc", "def"):
        with pytest.raises(DataError, match="run `timbrel prepare latents` first"):
            Store.open(tmp_path).check("latents", maker)
    assert damage(Store.open(tmp_path)) == []
    store.attach("latents", "def", given(arrays))
    Store.open(tmp_path).check("latents", "def")


def test_arrays_that_were_stopped_are_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timbrel.data.render.renditions.PER_SHARD", 2)
    render_store(tmp_path, 1, 6, "train", [], seconds=2.0)
    shares: list[float] = []

    def attach(way: str, value: float, until: int = 6, maker: str = "abc") -> list[int]:
        """Stopped before the item `until`. Returns the items whose arrays were derived."""
        asked: list[int] = []

        def derive(items: list[int]) -> Iterator[np.ndarray]:
            for index in items:
                if index == until:
                    raise KeyboardInterrupt
                asked.append(index)
                yield np.full((4, 2), index + value)

        with contextlib.suppress(KeyboardInterrupt):
            Store.open(tmp_path).attach("latents", maker, derive, way, shares.append)
        return asked

    def values() -> list[float]:
        store = Store.open(tmp_path)
        store.check("latents", "abc")
        return [float(store.array("latents", index)[0, 0]) for index in range(6)]

    assert attach("a", 0.0, until=5) == [0, 1, 2, 3, 4]
    with pytest.raises(DataError, match="no latents"):
        Store.open(tmp_path).check("latents", "abc")
    assert damage(Store.open(tmp_path)) == []
    shares.clear()
    assert attach("a", 0.0) == [4, 5]  # a shard that was not whole, and what follows
    assert shares == pytest.approx([5 / 6, 1])
    assert values() == [0, 1, 2, 3, 4, 5]
    assert attach("a", 0.5) == [*range(6)]  # what is whole is made anew

    attach("a", 0.0, until=3)
    assert attach("b", 0.25) == [*range(6)]  # in another way
    attach("a", 0.0, until=3)
    assert attach("a", 0.25, maker="xyz") == [*range(6)]  # by another
    attach("a", 0.0, until=3)
    (tmp_path / "latents-0.npy").unlink()
    assert attach("a", 0.0) == [*range(6)]
    attach("a", 0.0, until=3)
    (tmp_path / "latents.begun").write_text("{")
    assert attach("a", 0.0) == [*range(6)]
    attach("a", 0.0, until=3)
    with monkeypatch.context() as patch:

        def killed(path: Path, data: bytes) -> None:
            raise KeyboardInterrupt

        patch.setattr("timbrel.data.store.replace_file", killed)  # before it notes its first shard
        assert attach("b", 0.5) == [0, 1]
    assert attach("a", 0.0) == [*range(6)]
    attach("a", 0.0, until=3)
    lines = (tmp_path / "manifest.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "manifest.jsonl").write_text("".join(lines[1:]))  # another first shard
    assert attach("a", 0.0) == [*range(5)]


def test_arrays_are_not_added_while_another_process_writes(tmp_path: Path) -> None:
    render_store(tmp_path, 1, 4, "train", [], seconds=1.5)
    with locked(tmp_path), pytest.raises(DataError, match="another process is writing"):
        Store.open(tmp_path).attach("latents", "abc", lambda _: iter([]))


def test_a_store_of_many_shards_keeps_few_files_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timbrel.data.mapped.most_open", lambda: 2)
    monkeypatch.setattr("timbrel.data.render.renditions.PER_SHARD", 1)
    render_store(tmp_path, 1, 5, "train", [], seconds=2.0)
    store = Store.open(tmp_path)
    first = [store.audio(k) for k in range(5)]
    for k in (4, 0, 3, 1, 2):
        np.testing.assert_array_equal(store.audio(k), first[k])
    assert len(mapped._open) == 2


@pytest.mark.skipif(os.name == "nt", reason="there files are not limited so")
def test_stores_that_are_read_together_keep_as_few(tmp_path: Path) -> None:
    import resource

    writer = StoreWriter(tmp_path / "one")
    for shard in range(80):
        item = Item(shard, 0, 10, 44_100, str(shard), shard, "family", "train", "own", False)
        writer.write_shard(shard, np.zeros((1, 10)), [Notes.empty()], [item])
    for name in ("two", "three"):
        shutil.copytree(tmp_path / "one", tmp_path / name)
    joined = JoinedStore([Store.open(tmp_path / name) for name in ("one", "two", "three")])
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, limits[1]))
    try:
        for index in range(len(joined)):
            assert len(joined.audio(index)) == 10
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_arrays_stay_with_their_items_when_others_were_taken_out(tmp_path: Path) -> None:
    render_store(tmp_path, 1, 4, "train", [], seconds=2.0)
    manifest = tmp_path / "manifest.jsonl"
    lines = manifest.read_text().splitlines(keepends=True)
    manifest.write_text("".join([lines[1], lines[3]]))
    store = Store.open(tmp_path)
    store.attach("latents", "abc", given([np.full((4, 2), item.row) for item in store.items]))
    assert [int(store.array("latents", k)[0, 0]) for k in range(2)] == [1, 3]
    assert damage(store) == []


def test_what_cannot_say_who_made_arrays_is_named(tmp_path: Path) -> None:
    render_store(tmp_path, 1, 3, "train", [], seconds=2.0)
    Store.open(tmp_path).attach("latents", "abc", given([np.zeros((4, 2))] * 3))
    for broken in ("", "[]", "{}"):
        (tmp_path / "latents.json").write_text(broken)
        with pytest.raises(DataError, match=r"latents\.json is damaged; run `timbrel prepare lat"):
            Store.open(tmp_path).check("latents", "abc")


def test_arrays_that_are_there_stay_good_until_new_ones_are_made(tmp_path: Path) -> None:
    render_store(tmp_path, 1, 3, "train", [], seconds=2.0)
    store = Store.open(tmp_path)
    store.attach("latents", "abc", given([np.zeros((4, 2))] * 3))
    with pytest.raises(DataError, match="end before"):
        store.attach("latents", "xyz", lambda _: iter([]))
    Store.open(tmp_path).check("latents", "abc")


def test_items_that_came_after_the_latents_are_noticed(tmp_path: Path) -> None:
    render_store(tmp_path, 1, 3, "train", [], seconds=2.0)
    store = Store.open(tmp_path)
    store.attach("latents", "abc", given([np.zeros((4, 2))] * 3))
    (tmp_path / "latents-0.npy").unlink()
    with pytest.raises(DataError, match=r"latents-0\.npy is missing"):
        store.check("latents", "abc")


def test_a_manifest_that_is_no_text_is_refused(tmp_path: Path) -> None:
    render_store(tmp_path, 1, 3, "train", [], seconds=2.0)
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_bytes(manifest.read_bytes().replace(b"own", b"\xff\xfe\xff", 1))
    with pytest.raises(DataError, match="line 1"):
        Store.open(tmp_path)


def test_a_folder_in_which_nothing_was_rendered_takes_other_options(tmp_path: Path) -> None:
    StoreWriter(tmp_path, {"count": 3})
    StoreWriter(tmp_path, {"count": 4})
    assert json.loads((tmp_path / "plan.json").read_text()) == {"count": 4}
