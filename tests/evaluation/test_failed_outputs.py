"""Outputs that are odd, cut short, silent or not there, and how they are scored."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluations import band_case
from sounds import RATE, tone
from timbrel.audio import Audio
from timbrel.evaluation.cases import Case
from timbrel.evaluation.hearing import Memory
from timbrel.evaluation.job import Job
from timbrel.evaluation.report import write_report
from timbrel.evaluation.run import audio_path, claim, judge
from timbrel.evaluation.scores import LIKENESSES, LOST, NEARER, WHY, failed, listen_to, score
from timbrel.notes import Notes, Track


def odd_outputs() -> dict[str, Audio]:
    note = 0.3 * tone(440.0, 2.0)
    nan = note.copy()
    nan[100] = np.nan
    return {
        "a sample": Audio(note[None, :1], RATE),
        "twice as long, 8 kHz": Audio(np.tile(note[::5], 2)[None], 8_820),
        "six channels, 96 kHz": Audio(np.stack([note] * 6), 96_000),
        "nine channels, 192 kHz": Audio(np.stack([note] * 9), 192_000),
        "silence": Audio(np.zeros((1, 2 * RATE), np.float32), RATE),
        "constant": Audio(np.full((1, 2 * RATE), 0.5, np.float32), RATE),
        "no samples": Audio(np.zeros((1, 0), np.float32), RATE),
        "not numbers": Audio(nan[None], RATE),
    }


def test_any_output_is_judged_or_named_as_a_failure_and_a_crash_ends_nothing(
    tmp_path: Path,
) -> None:
    note = Audio(0.3 * tone(440.0, 2.0)[None], RATE)
    notes = Notes.from_rows([(0.1, 1.9, 69, 90)])
    case = Case("odd", "level", notes, notes, note, note, note)

    def crash(case: Case) -> Audio:
        raise IndexError("list index out of range")

    claim(tmp_path, Job().settings())
    systems: dict[str, Any] = {
        name: (lambda _, sound=sound: sound) for name, sound in odd_outputs().items()
    }
    found = {r.system: r for r in judge(lambda: case, systems | {"crash": crash}, tmp_path, set())}
    assert set(found) == {*systems, "crash"}
    assert "IndexError: list index out of range" in found["crash"].failure
    assert "not numbers" in found["not numbers"].failure
    assert "empty" in found["no samples"].failure
    judged = [r for r in found.values() if not r.failure]
    assert len(judged) == len(systems) - 2
    for record in judged:
        missing = {k for k, v in record.scores.items() if not math.isfinite(v)}
        assert missing <= set(WHY), record.system
        json.loads(record.to_json())
    assert found["crash"].scores["note_f1"] == 0
    assert {r.example for r in found.values()} == {judged[0].example}
    for name, channels in (("six channels, 96 kHz", 6), ("nine channels, 192 kHz", 1)):
        assert Audio.read(audio_path(tmp_path, "odd", name)).samples.shape[0] == channels
    (tmp_path / "records.jsonl").write_text("".join(r.to_json() + "\n" for r in found.values()))
    write_report(tmp_path)
    players = (tmp_path / "index.html").read_text().count("src='data:audio/mpeg;base64,")
    assert players == 2 * len(judged)  # each beside the example


@pytest.mark.parametrize("seconds", [4.0, 11.0])
@pytest.mark.parametrize("whole", [True, False])
def test_an_output_that_fails_loses_what_others_can_have_and_nothing_else(
    tmp_path: Path, seconds: float, whole: bool
) -> None:
    case = band_case(seconds)
    if whole:
        case = replace(case, given=case.notes.shift(0.2), source=case.truth)
    assert case.truth is not None
    scores, _ = score(case.truth, case, listen_to(case, Memory(tmp_path)))
    lost = {name for name, value in failed(case).items() if value == 0}
    assert lost == {name for name in LOST if math.isfinite(getattr(scores, name))}
    assert ("nearer" in lost, "given_f1" in lost) == (whole, whole)
    assert ("beat_f1" in lost, "drum_onset_f1" in lost) == (seconds > 10, seconds > 10)


def test_an_output_that_is_cut_short_is_judged_as_what_it_lacks(tmp_path: Path) -> None:
    case = band_case(21.0, source=Audio(0.3 * tone(660.0, 21.0)[None], RATE))
    ears = listen_to(case, Memory(tmp_path))
    short, _ = score(Audio(0.3 * tone(440.0, 4.0)[None], RATE), case, ears)
    assert short.beat_f1 == short.beats_any_level == short.drum_onset_f1 == 0
    assert math.isfinite(short.note_drift)
    assert math.isnan(short.timbre_drift)
    assert short.nearer == 1  # what there is of it


@pytest.mark.parametrize("sourced", [True, False])
def test_silence_is_like_nothing(tmp_path: Path, sourced: bool) -> None:
    case = band_case(21.0, source=Audio(0.3 * tone(660.0, 21.0)[None], RATE) if sourced else None)
    silence = Audio(np.zeros((1, 21 * RATE), np.float32), RATE)
    scores, _ = score(silence, case, listen_to(case, Memory(tmp_path)))
    assert all(math.isnan(getattr(scores, name)) for name in set(LIKENESSES) - set(NEARER))
    lost = {name: value for name, value in failed(case).items() if name in NEARER}
    assert {name: getattr(scores, name) for name in NEARER} == pytest.approx(lost, nan_ok=True)


def test_drums_alone_are_the_notes_given_too(tmp_path: Path) -> None:
    drums = Notes.from_rows([(0.2, 0.3, 36, 90)], (Track(drums=True),))
    case = band_case(4.0, notes=drums, given=drums.shift(0.2))
    silence = Audio(np.zeros((1, 4 * RATE), np.float32), RATE)
    scores, _ = score(silence, case, listen_to(case, Memory(tmp_path)))
    assert scores.note_f1 == scores.given_f1 == 0
