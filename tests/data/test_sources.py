"""Every reader on a miniature of its data set, and on every fault that may be in one."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import fsspec
import numpy as np
import pytest
import soundfile
import yaml

from miniatures import LAYOUTS, SECONDS, piece, slakh_track, write_audio, write_midi, write_text
from timbrel.data.ingest import prepare
from timbrel.data.sources import SOURCES, source
from timbrel.data.sources.files import folder_at, folders, inside
from timbrel.data.sources.recording import Recording, Skipped, split_of
from timbrel.data.store import Store
from timbrel.errors import DataError


def read(name: str, root: Path) -> tuple[dict[str, Recording], dict[str, str]]:
    """Recordings and reasons, by name."""
    entries = list(source(name).read(root))
    recordings = {e.name: e for e in entries if isinstance(e, Recording)}
    return recordings, {e.name: e.reason for e in entries if isinstance(e, Skipped)}


@pytest.fixture
def layout(tmp_path: Path) -> Callable[[str], Path]:
    def make(name: str) -> Path:
        LAYOUTS[name](tmp_path / name)
        return tmp_path / name

    return make


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
    recordings, skipped = read(name, layout(name))
    found = {k: (r.identity, r.family, r.split, r.instrument) for k, r in recordings.items()}
    assert found == EXPECTED[name]
    assert not skipped
    assert all(r.drums == ("drum" in r.instrument) for r in recordings.values())


@pytest.mark.parametrize("name", [n for n in EXPECTED if n != "medleydb"])
def test_notes_are_those_that_were_played(name: str, layout: Callable[[str], Path]) -> None:
    for recording in read(name, layout(name))[0].values():
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
    recordings, skipped = read("nsynth", layout("nsynth"))
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
    recordings = read("slakh", tmp_path / "baby")[0]
    assert recordings["Track00001/S00"].split is None
    assert recordings["Track00001/S00"].family == "slakh/plugin0.nkm"
    for number in (1, 1_501, 1_876):
        slakh_track(tmp_path / "slakh2100_flac" / f"Track{number:05d}")
    recordings = read("slakh", tmp_path / "slakh2100_flac")[0]
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


# ---- faults --------------------------------------------------------------------------------


def change_yaml(path: Path, change: Callable[[dict], None]) -> None:  # type: ignore[type-arg]
    about = yaml.safe_load(path.read_text())
    change(about)
    path.write_text(yaml.safe_dump(about))


def test_faults_of_slakh_are_skipped_with_a_reason(layout: Callable[[str], Path]) -> None:
    root = layout("slakh")
    home = root / "slakh2100_flac_redux"
    first = home / "train" / "Track00001"

    def break_stems(about: dict) -> None:  # type: ignore[type-arg]
        stems = about["stems"]
        stems["S00"]["audio_rendered"] = False
        stems["S01"]["midi_saved"] = False
        stems["S02"] = dict(stems["S01"], midi_saved=True)
        stems["../../secret"] = dict(stems["S01"])
        stems["S03"] = "nothing"

    change_yaml(first / "metadata.yaml", break_stems)
    (first / "MIDI" / "S01.mid").unlink()
    (home / "test" / "Track01876" / "stems" / "S01.flac").unlink()
    write_text(home / "validation" / "Track01501" / "metadata.yaml", "stems: [unclosed")
    write_text(home / "validation" / "Track01502" / "metadata.yaml", "- a list")
    (home / "validation" / "Track01503").mkdir()
    slakh_track(home / "omitted" / "Track00049")
    recordings, skipped = read("slakh", root)
    assert set(recordings) == {"Track00001/S01", "Track01876/S00"}
    assert recordings["Track00001/S01"].notes is None
    reasons = {
        "Track00001/S00": "audio_rendered is false",
        "Track00001/S02": "S02.flac does not exist",
        "Track00001/S03": "does not describe",
        "Track00001/../../secret": "does not describe",
        "Track01876/S01": "S01.flac does not exist",
        "Track01501": "not YAML",
        "Track01502": "not a mapping",
        "Track01503": "metadata.yaml does not exist",
        "Track00049": "duplicate",
    }
    assert set(skipped) == set(reasons)
    for name, words in reasons.items():
        assert words in skipped[name]


@pytest.mark.parametrize(
    "path", ["../outside.wav", "/{outside}", "2000/../../outside.wav", "C:\\outside.wav", "link"]
)
def test_metadata_never_lead_out_of_the_data_set(
    path: str, layout: Callable[[str], Path], tmp_path: Path
) -> None:
    root = layout("maestro")
    outside = tmp_path / "outside.wav"
    write_audio(outside, 0)
    home = root / "maestro-v3.0.0"
    (home / "link").symlink_to(outside)
    named = path.replace("/{outside}", str(outside))
    table = home / "maestro-v3.0.0.csv"
    table.write_text(table.read_text().replace("2000/Étude 0.wav", named))
    recordings, skipped = read("maestro", root)
    assert set(recordings) == {"2001/Étude 1.wav"}
    assert any(words in skipped[named] for words in ("inside", "out of the data", "not exist"))


def test_faults_of_maestro_are_skipped_with_a_reason(layout: Callable[[str], Path]) -> None:
    root = layout("maestro")
    table = root / "maestro-v3.0.0" / "maestro-v3.0.0.csv"
    table.write_text(
        table.read_text()
        + "A,B,train,2000,x.midi,missing.wav,1\n"
        + "A,B,trial,2000,x.midi,odd.wav,1\n"
        + "A,B\n"
    )
    (root / "maestro-v2.0.0.csv").write_bytes(b"canonical_title,\xff\xfe\n")
    recordings, skipped = read("maestro", root)
    assert len(recordings) == 2
    assert skipped["missing.wav"] == "missing.wav does not exist"
    assert "unknown split" in skipped["odd.wav"]
    assert "no audio_filename" in skipped["maestro-v3.0.0.csv, line 6"]
    assert "CSV" in skipped["maestro-v2.0.0.csv"]


def test_faults_of_medleydb_are_skipped_with_a_reason(layout: Callable[[str], Path]) -> None:
    root = layout("medleydb")
    first = root / "Audio" / "ArtistA_Song" / "ArtistA_Song_METADATA.yaml"

    def escape(about: dict) -> None:  # type: ignore[type-arg]
        about["stems"]["S01"]["filename"] = "../ArtistA_Song_STEMS/ArtistA_Song_STEM_01.wav"
        about["stems"]["S03"] = {"instrument": "flute"}

    change_yaml(first, escape)
    change_yaml(
        root / "Metadata" / "ArtistB_Song_METADATA.yaml",
        lambda about: about.update(has_bleed="yes"),
    )
    recordings, skipped = read("medleydb", root)
    assert set(recordings) == {"ArtistA_Song/S02"}
    assert "inside the data set" in skipped["ArtistA_Song/S01"]
    assert "do not describe" in skipped["ArtistA_Song/S03"]
    assert "bleed" in skipped["ArtistB_Song"]


@pytest.mark.parametrize(
    ("name", "file", "content"),
    [
        ("guitarset", "annotation/00_BN1-129-Eb_comp.jams", '{"annotations": ['),
        ("guitarset", "annotation/00_BN1-129-Eb_comp.jams", '{"annotations": []}'),
        ("guitarset", "annotation/00_BN1-129-Eb_comp.jams",
         '{"annotations": [{"namespace": "note_midi", "data": [{"time": "x"}]}]}'),
        ("urmp", "Dataset/01_Jupiter_vn/Notes_1_vn_01_Jupiter.txt", "0.5\t-3\t1"),
        ("urmp", "Dataset/01_Jupiter_vn/Notes_1_vn_01_Jupiter.txt", ""),
        ("musicnet", "musicnet/train_labels/1727.csv", "start_time,end_time\n1,2\n"),
        ("musicnet", "musicnet/train_labels/1727.csv",
         "start_time,end_time,instrument,note\n0,44100,1,300\n"),
        ("slakh", "slakh2100_flac_redux/train/Track00001/MIDI/S00.mid", "RIFF: a wave file?"),
        ("folder", "with notes.MID", "MThd"),
    ],
)  # fmt: skip
def test_damaged_notes_are_reported_and_the_rest_is_read(
    name: str, file: str, content: str, layout: Callable[[str], Path], tmp_path: Path
) -> None:
    root = layout(name)
    before = {r.name for r in read(name, root)[0].values()}
    write_text(root / file, content)
    prepare(name, root, tmp_path / "store")
    kept = {item.recording for item in Store.open(tmp_path / "store").items}
    report = (tmp_path / "store" / "report.jsonl").read_text().splitlines()
    lost = [x for x in map(json.loads, report) if "its notes" in x["reason"]]
    assert {x["item"] for x in lost} == before - kept
    assert not [x for x in lost if str(tmp_path) in x["reason"]]
    assert kept


def test_faults_of_files_are_reported(layout: Callable[[str], Path], tmp_path: Path) -> None:
    root = layout("folder")
    good = root / "with notes.wav"
    (root / "zero.wav").touch()
    soundfile.write(root / "no samples.wav", np.zeros(0), 44_100)
    soundfile.write(root / "silent.wav", np.zeros(90_000), 44_100)
    soundfile.write(root / "nan.wav", np.full(90_000, np.nan), 44_100, subtype="FLOAT")
    soundfile.write(root / "blip.wav", piece(0)[0][0][:9_000], 22_050)
    (root / "flac as.wav").write_bytes((root / "Björk 日本" / "alone.flac").read_bytes()[:-9_000])
    (root / "text.wav").write_text("not audio")
    shutil.copy(good, root / "photo.jpg")
    shutil.copy(good, root / "copy.wav")
    write_midi(root / "lonely.mid", 0)
    (root / "loop").symlink_to(root)
    (root / "self.wav").symlink_to("self.wav")
    shutil.copy(root / "silent.wav", os.fsencode(root) + b"/\xff.wav")
    long = "x" * 240 + ".wav"
    write_audio(root / long, 1)
    prepare("folder", root, tmp_path / "store")
    store = Store.open(tmp_path / "store")
    names = {item.recording for item in store.items}
    assert {"with notes.wav", "Björk 日本/alone.flac", long} <= names
    report = [json.loads(x) for x in (store.path / "report.jsonl").read_text().splitlines()]
    reasons = {x["item"]: x["reason"] for x in report}
    for name, words in {
        "zero.wav": "empty",
        "no samples.wav": "no samples",
        "silent.wav": "silent",
        "nan.wav": "not numbers",
        "blip.wav": "too short",
        "flac as.wav": "cut short",
        "text.wav": "cannot be decoded",
        "\udcff.wav": "the same file as silent.wav",
        "photo.jpg": "not audio by its name",
        "copy.wav": "the same file as with notes.wav",
        "lonely.mid": "no audio",
        "loop": "link to a folder",
        "self.wav": "cannot be reached",
    }.items():
        assert words in reasons[name]


def test_midi_longer_than_audio_and_the_reverse(tmp_path: Path) -> None:
    root = tmp_path / "folder"
    write_audio(root / "short audio.wav", 1)
    write_midi(root / "short audio.mid", 0)
    write_audio(root / "short notes.wav", 0)
    write_midi(root / "short notes.mid", 1)
    prepare("folder", root, tmp_path / "store")
    store = Store.open(tmp_path / "store")
    reasons = (store.path / "report.jsonl").read_text()
    late = int((piece(0)[1].onset > SECONDS[1]).sum())
    assert f"{late} notes: they begin after the audio ends" in reasons
    end = piece(1)[1].seconds + 3
    assert f"audio from {end:.1f} s on: the notes end before" in reasons
    for index, item in enumerate(store.items):
        heard = (item.length - item.silence) / item.rate
        assert store.notes(index).onset.max() < heard
    ends = [
        item.start + (item.length - item.silence) / item.rate
        for item in store.items
        if item.recording == "short notes.wav"
    ]
    assert max(ends) == pytest.approx(end, abs=0.001)


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
