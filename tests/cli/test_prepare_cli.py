"""`timbrel prepare SOURCE` and `timbrel info STORE` as users call them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from command_line import timbrel
from miniatures import LAYOUTS, piece
from soundfonts import write_font
from timbrel.data.store import Store


def test_a_data_set_becomes_a_store_that_info_describes(tmp_path: Path) -> None:
    LAYOUTS["maestro"](tmp_path / "in")
    done = timbrel("prepare", "maestro", tmp_path / "in", "-o", tmp_path / "store")
    assert done.returncode == 0, done.stderr
    assert "1 things were left out" not in done.stdout
    assert "1 thing was left out" in done.stdout
    facts = json.loads(timbrel("info", tmp_path / "store", "--json").stdout)
    assert facts["instruments"] == {"piano": 4}
    assert facts["splits"] == {"train": 2, "valid": 2}
    assert facts["licences"] == {"CC-BY-NC-SA-4.0": 4}
    assert facts["hours"] == pytest.approx(40 / 3600, abs=1e-3)
    assert facts["damage"] == ["none"]
    (tmp_path / "store" / "audio-0.npy").write_bytes(b"")
    assert "audio-0.npy is missing or damaged" in timbrel("info", tmp_path / "store").stdout


def test_transcription_is_near_what_was_played_and_marked(tmp_path: Path) -> None:
    LAYOUTS["folder"](tmp_path / "in")
    done = timbrel("prepare", "folder", tmp_path / "in", "-o", tmp_path / "store", "--transcribe")
    assert done.returncode == 0, done.stderr
    store = Store.open(tmp_path / "store")
    played, found, total = piece(1)[1], 0, 0
    for index, item in enumerate(store.items):
        assert item.notes == ("given" if item.recording == "with notes.wav" else "transcribed")
        if item.notes == "transcribed":
            heard = store.notes(index)
            truth = played.where((played.onset >= item.start) & (played.onset < item.start + 12))
            total += len(truth)
            for onset, pitch in zip(truth.onset - item.start, truth.pitch, strict=True):
                near = (abs(heard.onset - onset) < 0.05) & (heard.pitch == pitch)
                found += bool(near.any())
    assert found > 0.6 * total


def test_mistakes_are_one_sentence_and_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path, words in (("empty", "a slakh folder holds TrackNNNNN"), ("none", "is not a folder")):
        done = timbrel("prepare", "slakh", tmp_path / path, "-o", tmp_path / "store")
        assert done.returncode == 2
        assert words in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


def test_help_lists_every_source_and_does_not_wait_for_libraries() -> None:
    code = "import sys; import timbrel.cli.main; sys.exit(bool({'scipy', 'yaml'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    shown = timbrel("prepare", "--help").stdout
    for name in (*LAYOUTS, "render", "latents"):
        assert name in shown


def test_a_font_that_cannot_serve_is_named(tmp_path: Path) -> None:
    write_font(tmp_path / "mine.sf2")
    arguments = ("prepare", "render", "-o", tmp_path / "store", "--count", 4)
    done = timbrel(*arguments, "--font", tmp_path / "mine.sf2")
    assert (done.returncode, done.stdout) == (2, "")
    assert "mine.sf2 has nothing for --split train" in done.stderr
    assert not (tmp_path / "store").exists()
    done = timbrel(*arguments, "--seed", -1, "--synth-share", 1)
    assert (done.returncode, "seed is -1" in done.stderr) == (2, True)
