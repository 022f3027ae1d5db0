import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from soundfonts import write_font
from timbrel.data.render import renditions
from timbrel.data.render.renditions import Plan, play, render_store, timbres_needed
from timbrel.data.render.soundfont import SoundFont
from timbrel.data.render.timbres import HELD_OUT, draw_timbres, in_split
from timbrel.data.store import Store
from timbrel.errors import DataError


def test_every_timbre_plays_several_scores_and_every_score_has_two_timbres(
    small_store: Store,
) -> None:
    for items in small_store.by_identity.values():
        assert len({small_store.items[i].score for i in items}) >= 3
    pairs = [len(items) for items in small_store.by_score.values()]
    assert np.mean(np.array(pairs) >= 2) > 0.7


def test_renditions_of_one_score_have_the_same_notes(small_store: Store) -> None:
    for items in small_store.by_score.values():
        onsets = [small_store.notes(i).onset for i in items]
        for other in onsets[1:]:
            np.testing.assert_array_equal(onsets[0], other)


def test_audio_and_notes_of_an_item_belong_together(small_store: Store) -> None:
    for index in range(6):
        notes, audio = small_store.notes(index), small_store.audio(index)
        silent = audio[: max(int(notes.onset[0] * 44_100) - 100, 0)]
        assert np.abs(silent).max(initial=0) < 1e-3
        assert np.abs(audio).max() > 0.01


def test_a_killed_rendering_continues_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renditions, "PER_SHARD", 4)
    render_store(tmp_path / "a", 1, 10, "train", [], 1.0, seconds=2.0)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    manifest = tmp_path / "b" / "manifest.jsonl"
    lines = manifest.read_text().splitlines(keepends=True)
    manifest.write_text("".join(lines[:4]))
    for shard in (1, 2):
        (tmp_path / "b" / f"audio-{shard}.npy").unlink()
    render_store(tmp_path / "b", 1, 10, "train", [], 1.0, seconds=2.0)
    for path in (tmp_path / "a").iterdir():
        assert (
            path.suffix == ".npz" or path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
        )
    assert len(Store.open(tmp_path / "b")) == 10


def test_a_rendition_is_a_pure_function_of_its_index() -> None:
    timbres = tuple(draw_timbres(0, timbres_needed(12), "train", [], 1.0))
    plan = Plan(0, 12, timbres, 2.0)
    first, second = play(plan, 5), play(plan, 5)
    np.testing.assert_array_equal(first[0], second[0])


def test_splits_never_share_a_recording_family_or_preset(tmp_path: Path) -> None:
    names = ("MuseScore_General_Lite.sf2", "TimGM6mb.sf2", "OPL-3_FM_128M.sf2")
    for name in names:
        write_font(tmp_path / name)
    fonts = [SoundFont(tmp_path / name) for name in names]
    for font in fonts:
        for preset in font.presets():
            owners = [s for s in ("train", "valid", "test") if in_split(font, preset, s)]
            assert len(owners) <= 1
    families = {
        split: {t.family for t in draw_timbres(0, 60, split, fonts, 0.5)}
        for split in ("train", "valid", "test")
    }
    assert families["train"] <= {"fluid", "synth-train"}
    assert not families["train"] & families["valid"]


def test_held_out_programs_are_never_trained_on(tmp_path: Path) -> None:
    write_font(tmp_path / "MuseScore_General.sf2")
    font = SoundFont(tmp_path / "MuseScore_General.sf2")
    from dataclasses import replace

    for program in range(112):
        preset = replace(font.presets()[0], program=program)
        assert in_split(font, preset, "train") == (program not in HELD_OUT)
        assert in_split(font, preset, "test") == (program in HELD_OUT)


def test_a_damaged_or_missing_shard_is_named(tmp_path: Path) -> None:
    render_store(tmp_path, 1, 3, "train", [], 1.0, seconds=2.0)
    (tmp_path / "audio-0.npy").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"audio-0\.npy is missing or damaged"):
        Store.open(tmp_path).audio(0)
    (tmp_path / "manifest.jsonl").write_text("{broken\n")
    with pytest.raises(DataError, match="line 1"):
        Store.open(tmp_path)
    with pytest.raises(DataError, match="not a store"):
        Store.open(tmp_path / "none")


def test_derived_arrays_know_their_maker(tmp_path: Path) -> None:
    render_store(tmp_path, 1, 3, "train", [], 1.0, seconds=2.0)
    store = Store.open(tmp_path)
    with pytest.raises(DataError, match="no latents"):
        store.check("latents", "abc")
    store.attach("latents", "abc", iter([np.full((4, 2), k, np.float16) for k in range(3)]))
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
