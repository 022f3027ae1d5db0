"""From recordings to a store: cutting, resuming, families, copies, transcription."""

import itertools
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from miniatures import LAYOUTS, piece, slakh_track, write_audio, write_midi
from sounds import estimate_hz, pitch_hz, tone
from stores import given
from timbrel.audio import Audio
from timbrel.data import ingest
from timbrel.data.damage import damage
from timbrel.data.ingest import prepare
from timbrel.data.lock import locked
from timbrel.data.render.renditions import render_store
from timbrel.data.store import Store
from timbrel.data.variation import Augmentation, Variation
from timbrel.errors import DataError
from timbrel.notes import Notes, Track


class Killed(BaseException):
    """What a test raises in place of a kill: nothing catches it."""


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.suffix != ".tmp"}


def reasons(store: Path) -> dict[str, str]:
    lines = (store / "report.jsonl").read_text().splitlines()
    return {x["item"]: x["reason"] for x in map(json.loads, lines)}


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_passages_are_the_recording_at_the_stores_rate(rate: int, tmp_path: Path) -> None:
    write_audio(tmp_path / "in" / "a.wav", 0, rate, channels=2)
    prepare("folder", tmp_path / "in", tmp_path / "store")
    store = Store.open(tmp_path / "store")
    original = Audio.read(tmp_path / "in" / "a.wav").mono().resample(44_100).samples[0]
    assert [item.start for item in store.items] == [0.0, 12.0]
    for index, item in enumerate(store.items):
        first = round(item.start * 44_100)
        heard = store.audio(index)[: item.length - item.silence]
        part = original[first : first + len(heard)]
        assert np.corrcoef(heard, part)[0, 1] > 0.9999
        assert Audio(heard[None], 44_100).loudness() == pytest.approx(item.loudness or 0, abs=0.2)


@pytest.mark.parametrize("suffix", ["flac", "ogg", "opus", "mp3", "aiff", "caf", "w64"])
def test_every_format_keeps_time(suffix: str, tmp_path: Path) -> None:
    rate = 48_000 if suffix == "opus" else 44_100
    options = {"format": "OGG", "subtype": "OPUS"} if suffix == "opus" else {}
    samples = piece(0, rate)[0][0]
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in" / f"a.{suffix}", samples, rate, **options)
    prepare("folder", tmp_path / "in", tmp_path / "store")
    store = Store.open(tmp_path / "store")
    original = Audio(samples[None], rate).resample(44_100).samples[0]
    for index, item in enumerate(store.items):
        first = round(item.start * 44_100)
        part = original[first : first + item.length - item.silence]
        assert np.corrcoef(store.audio(index)[: len(part)], part)[0, 1] > 0.99


def test_the_rest_of_a_recording_is_kept_when_long_enough(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    samples = piece(0)[0][0]
    for name, seconds in {"one": 1.5, "rest": 16.0, "too short": 0.5, "no rest": 13.0}.items():
        soundfile.write(tmp_path / "in" / f"{name}.wav", samples[: round(seconds * 22_050)], 22_050)
    prepare("folder", tmp_path / "in", tmp_path / "store")
    items = Store.open(tmp_path / "store").items
    found = [(i.recording, i.start, (i.length - i.silence) / 44_100) for i in items]
    assert found == [
        ("no rest.wav", 0.0, 12.0),
        ("one.wav", 0.0, 1.5),
        ("rest.wav", 0.0, 12.0),
        ("rest.wav", 12.0, 4.0),
    ]
    assert set(reasons(tmp_path / "store")) == {"too short.wav", "no rest.wav"}


def test_notes_fall_where_they_sound(tmp_path: Path) -> None:
    write_audio(tmp_path / "in" / "a.wav", 0)
    write_midi(tmp_path / "in" / "a.mid", 0)
    prepare("folder", tmp_path / "in", tmp_path / "store")
    store = Store.open(tmp_path / "store")
    second, played = store.notes(1), piece(0)[1]
    expected = played.where((played.onset < 24) & (played.offset > 12))
    np.testing.assert_allclose(second.onset, expected.onset - 12, atol=2e-4)
    np.testing.assert_array_equal(second.pitch, expected.pitch)


def test_recordings_of_one_performance_share_scores(tmp_path: Path) -> None:
    LAYOUTS["guitarset"](tmp_path / "in")
    prepare("guitarset", tmp_path / "in", tmp_path / "store")
    store = Store.open(tmp_path / "store")
    for items in store.by_score.values():
        assert len({store.items[i].identity for i in items}) == 2
        first, second = (store.notes(i) for i in items)
        np.testing.assert_array_equal(first.onset, second.onset)


def test_a_kill_at_any_moment_is_continued_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "PER_SHARD", 2)
    root, replace, last = tmp_path / "in", os.replace, -1
    LAYOUTS["folder"](root)
    (root / "a.wav").touch()
    (root / "z.wav").touch()
    soundfile.write(root / "b.wav", np.zeros(40_000), 22_050)
    write_audio(root / "c.wav", 0)
    prepare("folder", root, tmp_path / "whole")
    whole = contents(tmp_path / "whole")
    for deadly in range(40):
        left = deadly

        def dying(source: Path, target: Path) -> None:
            nonlocal left
            if left == 0:
                raise Killed
            left -= 1
            replace(source, target)

        folder = tmp_path / f"killed-{deadly}"
        monkeypatch.setattr(os, "replace", dying)
        try:
            prepare("folder", root, folder)
        except Killed:
            last = deadly
        monkeypatch.setattr(os, "replace", replace)
        if last < deadly:
            break
        prepare("folder", root, folder)
        assert contents(folder) == whole
        shutil.rmtree(folder)
    # plan; report, fingerprints, audio, notes, manifest a shard; report, fingerprints
    assert last == 1 + 3 * 5 + 2 - 1


def test_a_full_disk_leaves_a_store_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "PER_SHARD", 2)
    root = tmp_path / "in"
    LAYOUTS["folder"](root)
    prepare("folder", root, tmp_path / "whole")
    fsync, written = os.fsync, 0

    def filling(handle: int) -> None:
        nonlocal written
        written += 1
        if written == 7:  # within the second shard
            raise OSError(28, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", filling)
    with pytest.raises(OSError, match="No space"):
        prepare("folder", root, tmp_path / "store")
    monkeypatch.setattr(os, "fsync", fsync)
    assert len(Store.open(tmp_path / "store")) == 2
    assert not damage(Store.open(tmp_path / "store"))
    prepare("folder", root, tmp_path / "store")
    assert contents(tmp_path / "store") == contents(tmp_path / "whole")


def test_what_was_mended_or_came_later_is_added_and_nothing_twice(tmp_path: Path) -> None:
    root, store = tmp_path / "in", tmp_path / "store"
    write_audio(root / "b.wav", 0)
    (root / "c.wav").touch()
    prepare("folder", root, store)
    assert "c.wav" in reasons(store)
    write_audio(root / "c.wav", 1)
    write_audio(root / "a.wav", 1)
    prepare("folder", root, store)
    prepare("folder", root, store)
    found = [(item.recording, item.start) for item in Store.open(store).items]
    assert sorted(found) == sorted(set(found))
    assert {name for name, _ in found} == {"a.wav", "b.wav", "c.wav"}
    assert "c.wav" not in reasons(store) or "too short" in reasons(store)["c.wav"]


def test_a_mended_file_is_the_same_recording_even_if_it_adds_nothing(tmp_path: Path) -> None:
    path, store = tmp_path / "in" / "a.wav", tmp_path / "store"
    write_audio(path, 0)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 97 // 100])
    prepare("folder", tmp_path / "in", store)
    assert "is damaged" in reasons(store)["a.wav"]
    path.write_bytes(whole)
    for _ in range(3):
        prepare("folder", tmp_path / "in", store)
        assert "too short" in reasons(store)["a.wav"]


def test_a_file_that_cannot_be_opened_is_not_called_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_audio(tmp_path / "in" / "a.wav", 0)
    write_audio(tmp_path / "in" / "b.wav", 1)
    prepare("folder", tmp_path / "in", tmp_path / "store")
    monkeypatch.setattr("timbrel.data.ingest.fingerprint", lambda path: "")
    prepare("folder", tmp_path / "in", tmp_path / "store")
    assert not any("another file" in reason for reason in reasons(tmp_path / "store").values())


def test_another_file_of_a_name_that_is_there_is_named_and_not_taken_for_it(
    tmp_path: Path,
) -> None:
    store = tmp_path / "store"
    for number, folder in enumerate(("one", "two")):
        write_audio(tmp_path / folder / "01.wav", number)
        write_audio(tmp_path / folder / f"{folder}.wav", number)
        prepare("folder", tmp_path / folder, store)
    found = Store.open(store)
    assert {item.recording for item in found.items} == {"01.wav", "one.wav", "two.wav"}
    assert "another file of this name" in reasons(store)["01.wav"]
    prepare("folder", tmp_path / "one", store)  # what it was made from is no other
    assert "another file" not in reasons(store)["01.wav"]


def test_files_of_one_instrument_are_takes_of_one_timbre(tmp_path: Path) -> None:
    for number in (0, 1):
        write_audio(tmp_path / "in" / f"{number}.wav", number)
    prepare("folder", tmp_path / "in", tmp_path / "apart", split="train")
    assert len(Store.open(tmp_path / "apart").by_identity) == 2
    prepare("folder", tmp_path / "in", tmp_path / "one", split="train", instrument="oboe")
    items = Store.open(tmp_path / "one").items
    assert {(item.identity, item.instrument) for item in items} == {("folder/oboe", "oboe")}
    with pytest.raises(DataError, match="instrument"):
        prepare("folder", tmp_path / "in", tmp_path / "one", split="train", instrument="flute")
    with pytest.raises(DataError, match="has no name"):
        prepare("folder", tmp_path / "in", tmp_path / "two", split="train", instrument=" ")


def test_all_of_a_folder_can_be_put_into_one_split(tmp_path: Path) -> None:
    for name in ("piano", "oboe", "flute"):  # two of them would be held out
        write_audio(tmp_path / "in" / name / "a.wav", 0)
    prepare("folder", tmp_path / "in", tmp_path / "some")
    assert len(Store.open(tmp_path / "some").part("train")) < len(Store.open(tmp_path / "some"))
    prepare("folder", tmp_path / "in", tmp_path / "all", split="train")
    assert {item.split for item in Store.open(tmp_path / "all").items} == {"train"}
    with pytest.raises(DataError, match="split"):
        prepare("folder", tmp_path / "in", tmp_path / "some", split="train")
    with pytest.raises(DataError, match="there is no split 'tset'"):
        prepare("folder", tmp_path / "in", tmp_path / "all", split="tset")


def test_a_recording_that_is_cut_short_is_named(tmp_path: Path) -> None:
    path = tmp_path / "in" / "a.wav"
    write_audio(path, 0)
    write_audio(tmp_path / "in" / "b.wav", 1)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    prepare("folder", tmp_path / "in", tmp_path / "store")
    assert "a.wav is damaged after" in reasons(tmp_path / "store")["a.wav"]


def test_a_recording_of_which_a_part_would_be_read_is_left_out_by_name(tmp_path: Path) -> None:
    for name in ("a.mp3", "b.mp3"):
        write_audio(tmp_path / "in" / f"{name}.wav", 1)
        samples, rate = soundfile.read(tmp_path / "in" / f"{name}.wav")
        soundfile.write(tmp_path / "in" / name, samples, rate, format="MP3")
        (tmp_path / "in" / f"{name}.wav").unlink()
    path = tmp_path / "in" / "a.mp3"
    path.write_bytes(2 * path.read_bytes())
    prepare("folder", tmp_path / "in", tmp_path / "store")
    assert {item.recording for item in Store.open(tmp_path / "store").items} == {"b.mp3"}
    assert "holds more sound than is read of it" in reasons(tmp_path / "store")["a.mp3"]


def test_an_mp3_that_is_cut_short_is_named(tmp_path: Path) -> None:
    path, sound = tmp_path / "in" / "a.mp3", tmp_path / "a.wav"
    write_audio(sound, 0)
    write_audio(tmp_path / "in" / "b.wav", 1)
    soundfile.write(path, *soundfile.read(sound), format="MP3")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    prepare("folder", tmp_path / "in", tmp_path / "store")
    assert "a.mp3 is damaged after" in reasons(tmp_path / "store")["a.mp3"]


def test_another_sound_with_the_same_silence_is_no_moved_file(tmp_path: Path) -> None:
    root, store = tmp_path / "in", tmp_path / "store"
    root.mkdir()
    for name, hz in (("kick.wav", 200), ("snare.wav", 333)):
        sound = np.zeros(8 * 44_100, np.float32)
        sound[: 2 * 44_100] = tone(hz, 2.0)
        soundfile.write(root / name, sound, 44_100)
        prepare("folder", root, store)
        assert name in {item.recording for item in Store.open(store).items}
        (root / name).unlink()


def test_a_copy_that_comes_later_is_left_out_whatever_its_name(tmp_path: Path) -> None:
    root, store = tmp_path / "in", tmp_path / "store"
    write_audio(root / "b.wav", 1)
    prepare("folder", root, store)
    shutil.copy(root / "b.wav", root / "a.wav")
    prepare("folder", root, store)
    assert {item.recording for item in Store.open(store).items} == {"b.wav"}
    assert reasons(store) == {"a.wav": "the same file as b.wav"}


def test_a_file_that_was_moved_is_not_added_again(tmp_path: Path) -> None:
    root, store = tmp_path / "in", tmp_path / "store"
    write_audio(root / "a.wav", 0)
    write_audio(root / "b.wav", 1)
    prepare("folder", root, store)
    (root / "sub").mkdir()
    for name in ("a.wav", "b.wav"):
        (root / name).rename(root / "sub" / name)
    write_audio(root / "c.wav", 1)
    moved = {
        f"sub/{name}": f"the store holds this file already, as {name}"
        for name in ("a.wav", "b.wav")
    }
    for _ in range(2):  # it stays known
        prepare("folder", root, store)
        recordings = {item.recording for item in Store.open(store).items}
        assert recordings == {"a.wav", "b.wav", "c.wav"}
        assert moved.items() <= reasons(store).items()
    for name in ("a.wav", "b.wav"):
        (root / "sub" / name).rename(root / name)
    prepare("folder", root, store)
    assert not [name for name in reasons(store) if name.startswith("sub/")]


def test_a_family_in_two_splits_is_refused(tmp_path: Path) -> None:
    """Two rows of a table claim one composition for two splits."""
    LAYOUTS["maestro"](tmp_path / "in")
    table = tmp_path / "in" / "maestro-v3.0.0" / "maestro-v3.0.0.csv"
    table.write_text(table.read_text().replace("Étude, Op. 1", "Étude, Op. 0"))
    prepare("maestro", tmp_path / "in", tmp_path / "store")
    assert {item.split for item in Store.open(tmp_path / "store").items} == {"train"}
    assert "already in the split train" in reasons(tmp_path / "store")["2001/Étude 1.wav"]


def test_only_one_process_writes_a_store(tmp_path: Path) -> None:
    LAYOUTS["folder"](tmp_path / "in")
    (tmp_path / "store").mkdir()
    with (
        locked(tmp_path / "store"),
        pytest.raises(DataError, match="another process is writing"),
    ):
        prepare("folder", tmp_path / "in", tmp_path / "store")
    with locked(tmp_path / "store"), pytest.raises(DataError, match="another process"):
        render_store(tmp_path / "store", 0, 4, "train", [])
    prepare("folder", tmp_path / "in", tmp_path / "store")


def test_a_store_of_another_source_is_refused(tmp_path: Path) -> None:
    LAYOUTS["folder"](tmp_path / "in")
    prepare("folder", tmp_path / "in", tmp_path / "store")
    slakh_track(tmp_path / "slakh" / "Track00001")
    with pytest.raises(DataError, match="begun with another source"):
        prepare("slakh", tmp_path / "slakh", tmp_path / "store")


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_folder_with_nothing_usable_is_refused_with_the_layout(name: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(DataError, match=r"could be used|holds no"):
        prepare(name, tmp_path / "in", tmp_path / "store")
    with pytest.raises(DataError, match="is not a folder"):
        prepare(name, tmp_path / "none", tmp_path / "store")


def test_notes_are_heard_only_where_there_are_none_and_drums_never(tmp_path: Path) -> None:
    def hear(samples: np.ndarray, rate: int) -> Notes:
        return Notes.from_rows([(0.5, len(samples) / rate, 60, 80)])

    LAYOUTS["medleydb"](tmp_path / "medleydb")
    prepare("medleydb", tmp_path / "medleydb", tmp_path / "one", hear)
    one = Store.open(tmp_path / "one")
    for index, item in enumerate(one.items):
        assert item.notes == ("none" if item.drums else "transcribed")
        assert len(one.notes(index)) == (0 if item.drums else 1)
    LAYOUTS["folder"](tmp_path / "folder")
    prepare("folder", tmp_path / "folder", tmp_path / "two", hear)
    origins = {item.recording: item.notes for item in Store.open(tmp_path / "two").items}
    assert origins == {"with notes.wav": "given", "Björk 日本/alone.flac": "transcribed"}


def test_an_item_is_drums_or_pitched(tmp_path: Path) -> None:
    kinds = {"both": (False, True), "drums": (True,), "pitched": (False,)}
    for name, drums in kinds.items():
        write_audio(tmp_path / "in" / f"{name}.wav", 0)
        rows = [(t, t + 0.3, 40 + k, 90, k) for k in range(len(drums)) for t in range(23)]
        tracks = tuple(Track("", 0, d) for d in drums)
        Notes.from_rows(rows, tracks).write(tmp_path / "in" / f"{name}.mid")
    prepare("folder", tmp_path / "in", tmp_path / "store")
    store = Store.open(tmp_path / "store")
    for index, item in enumerate(store.items):
        assert item.drums == (item.recording == "drums.wav")
        assert set(store.notes(index).pitch) == {40}


def test_variants_are_timbres_of_their_own_with_notes_that_fit(tmp_path: Path) -> None:
    time_axis = np.arange(26 * 22_050) / 22_050
    swell = np.minimum(time_axis % 1, 0.01) * 30  # a stroke each second
    strokes = np.sin(2 * np.pi * 440 * time_axis) * swell * np.exp(-3 * (time_axis % 1))
    for split, level in (("train", 0.9), ("test", 0.8)):
        home = tmp_path / "in" / split / "Track00001"
        slakh_track(home)
        soundfile.write(home / "stems" / "S00.flac", level * strokes, 22_050)
        Notes.from_rows([(t, t + 0.5, 69, 80) for t in range(26)]).write(home / "MIDI" / "S00.mid")
    (tmp_path / "in" / "test" / "Track00001").rename(tmp_path / "in" / "test" / "Track01900")
    prepare("slakh", tmp_path / "in", tmp_path / "store", augmentation=Augmentation(variants=2))
    store = Store.open(tmp_path / "store")
    train, test = (
        {i.identity for i in store.items if i.split == split and i.instrument == "Guitar"}
        for split in ("train", "test")
    )
    assert train == {"slakh/plugin0.nkm", "slakh/plugin0.nkm ~1", "slakh/plugin0.nkm ~2"}
    assert test == {"slakh/plugin0.nkm"}
    assert len({item.score for item in store.items}) == len(store)
    for index, item in enumerate(store.items):
        if item.identity in train and item.split == "train":
            notes, audio = store.notes(index), store.audio(index)
            pitch = int(notes.pitch[0])
            assert (pitch != 69) == ("~" in item.identity)
            found = estimate_hz(audio[: 5 * 44_100], 300, 600)
            assert abs(12 * np.log2(found / pitch_hz(pitch))) < 0.1
            for onset in notes.onset[notes.onset > 9][:1]:  # late: a drift would show
                places = (round((onset + offset) * 44_100) for offset in (-0.012, 0.01))
                before, after = (np.abs(audio[place:][:441]).mean() for place in places)
                assert after > 3 * before


def test_each_augmentation_can_be_left_out_or_made_larger() -> None:
    def drawn(augmentation: Augmentation, pitched: bool = True) -> list[Variation]:
        rng = np.random.default_rng(0)
        return [Variation.draw(rng, augmentation, pitched) for _ in range(60)]

    def gains(versions: list[Variation]) -> list[float]:
        return [abs(db) for version in versions for _, db, _ in version.bands]

    usual = drawn(Augmentation())
    assert {abs(v.semitones) for v in usual} == {1, 2, 3}
    assert 5 < max(gains(usual)) <= 7
    assert {abs(v.semitones) for v in drawn(Augmentation(transpose=12))} == set(range(1, 13))
    assert {v.semitones for v in drawn(Augmentation(transpose=0))} == {0}
    assert {v.semitones for v in drawn(Augmentation(), pitched=False)} == {0}
    assert 10 < max(gains(drawn(Augmentation(equalise_db=14)))) <= 14
    assert {v.bands for v in drawn(Augmentation(equalise_db=0))} == {()}


def test_the_level_of_passages_spreads_as_asked_for(tmp_path: Path) -> None:
    for number, rate in itertools.product((0, 1), (22_050, 44_100)):
        write_audio(tmp_path / "in" / f"{number} {rate}.wav", number, rate)
    for level in (0.0, 6.0):
        store = tmp_path / str(level)
        prepare("folder", tmp_path / "in", store, augmentation=Augmentation(level_db=level))
        loudness = [item.loudness or 0 for item in Store.open(store).items]
        assert len(loudness) == 8
        assert (np.std(loudness) > 1.5) == (level > 0)
        assert level > 0 or np.allclose(loudness, -23, atol=0.1)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"transpose": 13}, "more than an octave"),
        ({"level_db": -1.0}, "level must be a number from 0 up"),
        ({"level_db": float("nan")}, "level must be a number from 0 up"),
        ({"variants": 1, "transpose": 0, "equalise_db": 0.0}, "would not differ"),
    ],
)
def test_augmentations_that_cannot_be_are_refused(
    wrong: dict[str, float], words: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=words):
        prepare("folder", tmp_path, tmp_path / "store", augmentation=Augmentation(**wrong))  # type: ignore[arg-type]


def test_a_store_beside_the_recordings_is_not_read_as_recordings(tmp_path: Path) -> None:
    write_audio(tmp_path / "a.wav", 1)
    for _ in range(2):
        prepare("folder", tmp_path, tmp_path / "store")
    assert not [name for name in reasons(tmp_path / "store") if "store" in name]


def test_damage_names_every_shard_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "PER_SHARD", 1)
    LAYOUTS["folder"](tmp_path / "in")
    prepare("folder", tmp_path / "in", tmp_path / "store")
    store = Store.open(tmp_path / "store")
    store.attach("latents", "abc", given([np.zeros((4, 2), np.float16)] * len(store)))
    assert damage(store) == []
    whole = (store.path / "audio-1.npy").read_bytes()
    (store.path / "audio-1.npy").write_bytes(whole[: len(whole) // 2])
    notes = (store.path / "notes-2.npz").read_bytes()
    (store.path / "notes-2.npz").write_bytes(notes[: len(notes) // 2])
    (store.path / "latents-3.npy").unlink()
    (store.path / "basis.json").write_text("{")
    found = " ".join(damage(Store.open(store.path)))
    for name in ("audio-1.npy", "notes-2.npz", "latents-3.npy", "basis.json"):
        assert name in found
    assert "audio-0.npy" not in found


def test_parts_of_a_store(tmp_path: Path) -> None:
    LAYOUTS["maestro"](tmp_path / "in")
    prepare("maestro", tmp_path / "in", tmp_path / "store")
    store = Store.open(tmp_path / "store")
    train = store.part("train")
    assert {item.split for item in train.items} == {"train"}
    assert train.part("valid") is train  # one split only: taken as it is
    np.testing.assert_array_equal(train.audio(1), store.audio(1))
    with pytest.raises(DataError, match="no items for test, only for train, valid"):
        store.part("test")
    with pytest.raises(DataError, match="single store and all of it"):
        train.attach("latents", "abc", lambda _: iter([]))
    assert len(store.with_notes()) == len(store)


def test_a_recording_that_was_cut_short_goes_on_when_it_is_mended(tmp_path: Path) -> None:
    whole = np.concatenate([piece(0)[0][0]] * 2)
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in" / "a.flac", whole, 22_050)
    write_audio(tmp_path / "in" / "b.wav", 1)
    good = (tmp_path / "in" / "a.flac").read_bytes()
    (tmp_path / "in" / "a.flac").write_bytes(good[: len(good) * 5 // 8])
    prepare("folder", tmp_path / "in", tmp_path / "store")

    def starts() -> list[float]:
        items = Store.open(tmp_path / "store").items
        return [item.start for item in items if item.recording == "a.flac"]

    some = starts()
    assert 0 < len(some) < 5
    assert "a.flac" in reasons(tmp_path / "store")
    prepare("folder", tmp_path / "in", tmp_path / "store")
    assert starts() == some
    (tmp_path / "in" / "a.flac").write_bytes(good)
    prepare("folder", tmp_path / "in", tmp_path / "store")
    assert starts() == [0.0, 12.0, 24.0, 36.0, 48.0]
    assert "cut short" not in reasons(tmp_path / "store").get("a.flac", "")


def test_a_copy_whose_original_is_of_no_use_is_kept(tmp_path: Path) -> None:
    write_audio(tmp_path / "in" / "a.wav", 0)
    shutil.copy(tmp_path / "in" / "a.wav", tmp_path / "in" / "b.wav")
    (tmp_path / "in" / "a.mid").write_bytes(b"MThd")
    write_midi(tmp_path / "in" / "b.mid", 0)
    prepare("folder", tmp_path / "in", tmp_path / "store")
    assert {item.recording for item in Store.open(tmp_path / "store").items} == {"b.wav"}
