"""Every reader on a miniature of its data set, and on every fault that may be in one."""

import os
from collections.abc import Callable
from pathlib import Path

import fsspec
import numpy as np
import pytest
import soundfile

from miniatures import LAYOUTS, SECONDS, piece, read_source, slakh_track, write_text
from timbrel.data.ingest import prepare
from timbrel.data.sources import SOURCES, source
from timbrel.data.sources.files import folder_at, folders, inside
from timbrel.data.sources.recording import split_of
from timbrel.data.store import Store
from timbrel.errors import DataError

# recording -> (identity, family, split, instrument)
EXPECTED = {
    "folder": {
        "with notes.wav": ("folder/with notes.wav", "folder/with notes.wav", None, ""),
        "Björk 日本/alone.flac": (
            "folder/Björk 日本/alone.flac", "folder/Björk 日本", None, ""),
    },
    "slakh": {
        "Track00001/S00": ("slakh/plugin0.nkm", "slakh/Track00001", "train", "Guitar"),
        "Track00001/S01": ("slakh/plugin1.nkm", "slakh/Track00001", "train", "Reed"),
        "Track01876/S00": ("slakh/plugin0.nkm", "slakh/Track01876", "test", "Guitar"),
        "Track01876/S01": ("slakh/plugin1.nkm", "slakh/Track01876", "test", "Reed"),
    },
    "maestro": {
        "2000/Étude 0.wav": (
            "maestro/2000", "maestro/Frédéric Chopin/Étude, Op. 0", "train", "piano"),
        "2001/Étude 1.wav": (
            "maestro/2001", "maestro/Frédéric Chopin/Étude, Op. 1", "valid", "piano"),
    },
    "guitarset": {
        "00_BN1-129-Eb_comp_mic": ("guitarset/00/mic", "guitarset/00", "train", "guitar"),
        "00_BN1-129-Eb_comp_mix": ("guitarset/00/mix", "guitarset/00", "train", "guitar"),
        "05_Jazz2-110-A#_solo_mic": ("guitarset/05/mic", "guitarset/05", "test", "guitar"),
        "05_Jazz2-110-A#_solo_mix": ("guitarset/05/mix", "guitarset/05", "test", "guitar"),
    },
    "urmp": {
        "01_Jupiter_vn/AuSep_1_vn_01_Jupiter": (
            "urmp/01_Jupiter_vn/1_vn", "urmp/01_Jupiter_vn", "test", "violin"),
        "05_Entertainer_tpt/AuSep_1_tpt_05_Entertainer": (
            "urmp/05_Entertainer_tpt/1_tpt", "urmp/05_Entertainer_tpt", "train", "trumpet"),
    },
    "musicnet": {
        "train/1727": ("musicnet/Museum/Piano Quintet/Piano Quintet", "musicnet/1727", "train",
                       "Piano Quintet"),
        "test/2303": ("musicnet/Museum/Piano Quintet/Piano Quintet", "musicnet/2303", "test",
                      "Piano Quintet"),
    },
    "medleydb": {
        "ArtistA_Song/S01": ("medleydb/ArtistA_Song/S01", "medleydb/ArtistA", None, "violin"),
        "ArtistA_Song/S02": (
            "medleydb/ArtistA_Song/S02", "medleydb/ArtistA", None, "drum set and tambourine"),
        "ArtistB_Song/S01": ("medleydb/ArtistB_Song/S01", "medleydb/ArtistB", None, "violin"),
        "ArtistB_Song/S02": (
            "medleydb/ArtistB_Song/S02", "medleydb/ArtistB", None, "drum set and tambourine"),
    },
}  # fmt: skip


@pytest.mark.parametrize("name", EXPECTED)
def test_a_reader_gives_the_recordings_of_its_layout(
    name: str, layout: Callable[[str], Path]
) -> None:
    recordings, skipped = read_source(name, layout(name))
    found = {k: (r.identity, r.family, r.split, r.instrument) for k, r in recordings.items()}
    assert found == EXPECTED[name]
    assert not skipped
    assert all(r.drums == ("drum" in r.instrument) for r in recordings.values())


@pytest.mark.parametrize("name", [n for n in EXPECTED if n != "medleydb"])
def test_notes_are_those_that_were_played(name: str, layout: Callable[[str], Path]) -> None:
    for recording in read_source(name, layout(name))[0].values():
        if recording.notes is None:
            assert name == "folder"
            continue
        info = soundfile.info(str(recording.audio[0]))
        played = piece(SECONDS.index(info.duration))[1]
        notes = recording.notes()
        order = np.lexsort((notes.pitch, np.round(notes.onset, 3)))
        expected = np.lexsort((played.pitch, np.round(played.onset, 3)))
        np.testing.assert_array_equal(notes.pitch[order], played.pitch[expected])
        np.testing.assert_allclose(notes.onset[order], played.onset[expected], atol=1e-3)
        np.testing.assert_allclose(notes.offset[order], played.offset[expected], atol=2e-3)


def test_single_notes_stand_in_a_row_and_their_instrument_decides_the_split(
    layout: Callable[[str], Path],
) -> None:
    recordings, skipped = read_source("nsynth", layout("nsynth"))
    assert not skipped
    assert sorted(len(r.audio) for r in recordings.values()) == [1, 1, 1, 3, 3, 3]
    splits: dict[str, set[str | None]] = {}
    for recording in recordings.values():
        splits.setdefault(recording.family, set()).add(recording.split)
        assert recording.notes is not None
        notes = recording.notes()
        assert notes.onset.tolist() == [0.0, 4.0, 8.0][: len(recording.audio)]
        assert [f"{p:03d}" in path.name for p, path in zip(notes.pitch, recording.audio)]  # noqa: B905
    assert splits["nsynth/guitar_acoustic_000"] == {"train"}
    assert len(splits["nsynth/synth_lead_synthetic_011"]) == 1


def test_babyslakh_is_split_by_its_sampled_instruments_and_the_original_by_number(
    tmp_path: Path,
) -> None:
    slakh_track(tmp_path / "baby" / "babyslakh_16k" / "Track00001", "wav")
    recordings = read_source("slakh", tmp_path / "baby")[0]
    assert recordings["Track00001/S00"].split is None
    assert recordings["Track00001/S00"].family == "slakh/plugin0.nkm"
    for number in (1, 1_501, 1_876):
        slakh_track(tmp_path / "slakh2100_flac" / f"Track{number:05d}")
    recordings = read_source("slakh", tmp_path / "slakh2100_flac")[0]
    splits = [r.split for k, r in sorted(recordings.items()) if k.endswith("S00")]
    assert splits == ["train", "valid", "test"]


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_source_becomes_a_store(
    name: str, layout: Callable[[str], Path], tmp_path: Path
) -> None:
    prepare(name, layout(name), tmp_path / "store")
    store = Store.open(tmp_path / "store")
    assert {item.source for item in store.items} == {name}
    families: dict[str, set[str]] = {}
    for item in store.items:
        families.setdefault(item.family, set()).add(item.split)
    assert max(len(splits) for splits in families.values()) == 1
    for index, item in enumerate(store.items):
        assert (item.length, item.rate) == (12 * 44_100, 44_100)
        assert not store.audio(index)[item.length - item.silence :].any()
        assert -33 < (item.loudness or 0) < -15
        known = name != "medleydb" and item.recording != "Björk 日本/alone.flac"
        assert (item.notes == "given") == known == (len(store.notes(index)) > 0)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_source_at_a_url_becomes_the_same_store(
    name: str, layout: Callable[[str], Path], tmp_path: Path
) -> None:
    root = layout(name)
    (root / "zero.wav").touch()
    write_text(root / "with notes.MID", "damaged")
    memory = fsspec.filesystem("memory")
    memory.put(str(root), f"/{name}", recursive=True)
    prepare(name, root, tmp_path / "here")
    prepare(name, f"memory://{name}", tmp_path / "there")
    memory.rm(f"/{name}", recursive=True)
    here, there = (
        {p.name: p.read_bytes() for p in (tmp_path / place).iterdir()}
        for place in ("here", "there")
    )
    assert here == there


def test_urls_that_lead_nowhere_are_refused(tmp_path: Path) -> None:
    for place, words in (
        ("memory://nothing", "not a folder"),
        ("warp://x/y", "warp://x/y"),
        (str(tmp_path / "no"), "not a folder"),
    ):
        with pytest.raises(DataError, match=words):
            folder_at(place)
    assert folder_at(f"file://{tmp_path}") == tmp_path.resolve()


def test_there_is_a_miniature_and_a_layout_text_for_every_source() -> None:
    assert set(LAYOUTS) == set(SOURCES)
    assert all(source(name).LAYOUT for name in SOURCES)


def test_a_path_is_taken_only_inside(tmp_path: Path) -> None:
    root = tmp_path / "set"
    write_text(root / "a" / "b.txt", "x")
    assert inside(root, "a/b.txt") == root / "a" / "b.txt"
    (root / "loop").symlink_to(root / "loop")
    for path in ("", "/etc/hostname", "a/../../x", "..\\x", "a", "nothing", "loop", "a\0b"):
        with pytest.raises(DataError):
            inside(root, path)


def test_links_are_not_followed_in_circles(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    os.symlink(tmp_path, tmp_path / "a" / "b" / "up")
    assert list(folders(tmp_path, 9)) == [tmp_path, tmp_path / "a", tmp_path / "a" / "b"]


def test_families_spread_over_splits_and_always_alike() -> None:
    splits = [split_of(f"family {k}") for k in range(2_000)]
    assert splits == [split_of(f"family {k}") for k in range(2_000)]
    assert splits.count("valid") == pytest.approx(200, abs=50)
    assert splits.count("test") == pytest.approx(200, abs=50)
