"""`timbrel evaluate` and its kin as users call them."""

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from command_line import ENVIRONMENT, timbrel
from sounds import RATE, pitch_hz, tone
from timbrel.audio import Audio
from timbrel.evaluation.protocol import protocol_names
from timbrel.notes import Notes


def test_protocols_are_listed_with_their_questions() -> None:
    done = timbrel("protocols")
    assert done.returncode == 0
    assert all(name in done.stdout for name in protocol_names())
    assert done.stdout.count("?") == len(protocol_names())


@pytest.mark.slow
def test_a_folder_of_files_gets_a_report_and_a_comparison(tmp_path: Path) -> None:
    Notes.from_rows([(0.3, 1.1, 60, 90)]).write(tmp_path / "a.mid")
    Audio(tone(330, 2.0)[None], RATE).write(tmp_path / "example.wav")
    for folder, pitch in (("right", 60), ("wrong", 61)):
        (tmp_path / folder).mkdir()
        note = np.pad(tone(pitch_hz(pitch), 0.8), round(0.3 * RATE))
        Audio(note[None], RATE).write(tmp_path / folder / "a.wav")
    row = {"output": "a.wav", "notes": "a.mid", "example": "example.wav"}
    manifest = tmp_path / "manifest.jsonl"  # fewer cases could differ by chance
    manifest.write_text("\n".join(json.dumps(row | {"case": f"c{k}"}) for k in range(10)))
    reports = []
    for folder in ("right", "wrong"):
        report = tmp_path / f"report-{folder}"
        done = timbrel(
            "evaluate", "--outputs", tmp_path / folder, "--manifest", manifest, "-o", report,
            "--workers", 1,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "| right" in done.stdout or "| wrong" in done.stdout
        assert (report / "index.html").exists()
        reports.append(report)
    done = timbrel("compare", *reports)
    assert done.returncode == 0
    assert f"{reports[1]} - {reports[0]} | **-" in done.stdout
    assert f"{reports[1]} is worse in note F1" in done.stdout
    assert timbrel("compare", *reports, "--fail-if-worse").returncode == 1
    assert timbrel("compare", *reversed(reports), "--fail-if-worse").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["evaluate"], "say what to judge"),
        (["evaluate", "default", "--steps", "0"], "steps is 0"),
        (["evaluate", "default", "--protocol", "none"], "choose one of"),
        (["evaluate", "--outputs", "."], "needs --manifest"),
        (["evaluate", "--outputs", "nowhere", "--manifest", "m"], "is not a folder"),
        (["evaluate", "nowhere"], "no model at nowhere"),
        (["evaluate", "default", "--data", "nowhere"], "nowhere"),
        (["evaluate", "default", "--data", "x", "--manifest", "m"], "give one of them"),
        (["evaluate", "default", "--data", "x", "--protocol", "cover"], "--protocol says how"),
        (["evaluate", "default", "--manifest", "m", "--font", "x"], "--font says how"),
        (["evaluate", "--outputs", ".", "--manifest", "m", "--steps", "2"], "--steps is about"),
        (["evaluate", "default", "--embedding", "vggish:nowhere"], "does not exist"),
        (["protocols", "speed"], "say where the cases go"),
        (["listen", "nowhere"], "no report"),
        (["compare", "nowhere", "nowhere"], "no report"),
    ],
)
def test_bad_questions_get_one_sentence_and_leave_nothing_behind(
    tmp_path: Path,
    arguments: list[str],
    words: str,
    timbrel_here: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    output = ["-o", tmp_path / "report"] if arguments[0] == "evaluate" else []
    done = timbrel_here(*arguments, *output)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "report").exists()


def test_a_listening_test_is_served_until_ctrl_c(report: Path) -> None:
    command = [sys.executable, "-m", "timbrel.cli", "listen", str(report), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as running:
        assert running.stdout is not None
        address = running.stdout.readline().split()[2]
        with urllib.request.urlopen(f"{address}trials") as reply:
            assert b"stimuli" in reply.read()
        running.send_signal(signal.SIGINT)
        assert "report with all answers" in running.stdout.read()
        assert running.wait(timeout=60) == 0
