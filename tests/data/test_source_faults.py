"""Every fault that may be in a data set: skipped with a reason, and the rest is read."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from miniatures import (
    LAYOUTS,
    SECONDS,
    piece,
    read_source,
    slakh_track,
    write_audio,
    write_midi,
    write_text,
)
from timbrel.data.ingest import prepare
from timbrel.data.sources.metadata import read_rows, read_yaml
from timbrel.data.store import Store
from timbrel.errors import DataError, TimbrelError


def change_yaml(path: Path, change: Callable[[dict], None]) -> None:  # type: ignore[type-arg]
    about = yaml.safe_load(path.read_text())
    change(about)
    path.write_text(yaml.safe_dump(about))


def refuse(monkeypatch: pytest.MonkeyPatch, method: str, which: Callable[[Path], bool]) -> None:
    """A method of some paths fails as without the right to it, which tests as root have."""
    allowed = getattr(Path, method)

    def refusing(path: Path, *args: object, **options: object) -> object:
        if which(path):
            raise PermissionError(13, "Permission denied")
        return allowed(path, *args, **options)

    monkeypatch.setattr(Path, method, refusing)


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
    recordings, skipped = read_source("slakh", root)
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
    recordings, skipped = read_source("maestro", root)
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
    recordings, skipped = read_source("maestro", root)
    assert len(recordings) == 2
    assert skipped["missing.wav"] == "missing.wav does not exist"
    assert "unknown split" in skipped["odd.wav"]
    assert "no audio_filename" in skipped["maestro-v3.0.0.csv, line 6"]
    assert "CSV" in skipped["maestro-v2.0.0.csv"]


def test_a_table_that_is_a_link_to_elsewhere_or_to_nothing_is_not_read(
    layout: Callable[[str], Path], tmp_path: Path
) -> None:
    root = layout("maestro")
    table = root / "maestro-v3.0.0" / "maestro-v3.0.0.csv"
    table.rename(tmp_path / "outside.csv")
    table.symlink_to(tmp_path / "outside.csv")
    (table.parent / "maestro-v2.0.0.csv").symlink_to("nothing.csv")
    recordings, skipped = read_source("maestro", root)
    assert not recordings
    assert skipped == {
        "maestro-v3.0.0.csv": "maestro-v3.0.0.csv is a link that leads out of the data set",
        "maestro-v2.0.0.csv": "maestro-v2.0.0.csv does not exist",
    }


@pytest.mark.parametrize("name", ["folder", "slakh", "urmp"])
@pytest.mark.parametrize("right", ["to list", "to look"])
def test_a_folder_that_may_not_be_read_is_left_out_and_the_rest_is_read(
    name: str, right: str, layout: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = layout(name)
    whole = set(read_source(name, root)[0])
    write_text(root / "closed" / "below" / "a.txt", "x")
    if right == "to list":
        refuse(monkeypatch, "iterdir", lambda path: path == root / "closed")
    else:
        for method in ("exists", "is_dir"):
            refuse(monkeypatch, method, lambda path: path.parent == root / "closed")
    recordings, skipped = read_source(name, root)
    assert set(recordings) == whole
    assert skipped == ({"closed": "a folder that cannot be read"} if name == "folder" else {})


def test_metadata_that_may_not_be_read_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for method in ("open", "read_bytes"):
        refuse(monkeypatch, method, lambda path: path.parent == tmp_path)
    for read in (read_yaml, lambda path: list(read_rows(path))):
        with pytest.raises(DataError, match=r"a\.b may not be read"):
            read(tmp_path / "a.b")


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
    recordings, skipped = read_source("medleydb", root)
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
    before = {r.name for r in read_source(name, root)[0].values()}
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
    soundfile.write(root / "ogg.ogg", piece(0)[0][0], 22_050)
    (root / "ogg.ogg").write_bytes((root / "ogg.ogg").read_bytes()[:-9])
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
        "ogg.ogg": "ogg.ogg is damaged after",
        "text.wav": "cannot be decoded",
        "\udcff.wav": "the same file as silent.wav",
        "photo.jpg": "of no audio format",
        "copy.wav": "the same file as with notes.wav",
        "lonely.mid": "no audio",
        "loop": "link to a folder",
        "self.wav": "cannot be reached",
    }.items():
        assert words in reasons[name]


@pytest.mark.parametrize("name", [n for n in LAYOUTS if n != "nsynth"])
def test_metadata_damaged_at_random_never_crash_a_reader(
    name: str, layout: Callable[[str], Path], rng: np.random.Generator
) -> None:
    root = layout(name)
    kinds = (".yaml", ".csv", ".jams", ".txt", ".mid")
    files = sorted(p for p in root.rglob("*") if p.suffix.lower() in kinds)
    pieces = (b"null", b"[", b"{", b"-1", b"1e999", b"NaN", b"9" * 30, b"\0", b"'", b"../", b"\xff")
    for _ in range(60):
        path = files[int(rng.integers(len(files)))]
        whole = path.read_bytes()
        place, length = int(rng.integers(len(whole))), int(rng.integers(20))
        damage = pieces[int(rng.integers(len(pieces)))]
        path.write_bytes(whole[:place] + damage + whole[place + length :])
        try:
            for recording in read_source(name, root)[0].values():
                if recording.notes is not None:
                    recording.notes()
        except TimbrelError:
            pass
        path.write_bytes(whole)


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
