"""Cases and answers in files of anybody."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evaluations import band_case, write_manifest
from timbrel.errors import InputError
from timbrel.evaluation.cases import draw_cases
from timbrel.evaluation.given import structure_of, write_cases
from timbrel.evaluation.job import Job
from timbrel.evaluation.protocol import read_protocol
from timbrel.evaluation.report import write_report
from timbrel.evaluation.run import Record, evaluate, read_records

ROW = '{"output": "a", "notes": "a", "example": "b", '


def test_files_of_anybody_are_judged_and_missing_ones_count_as_failures(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path)
    folder = tmp_path / "report"
    evaluate(Job(manifest=str(manifest), outputs=(str(tmp_path / "out"),)), folder)
    write_report(folder)
    found = {r.case: r for r in read_records(folder) if r.system == "out"}
    assert found["good.wav"].scores["note_f1"] > 0.6
    assert math.isnan(found["good.wav"].scores["like_truth"])
    assert "missing.wav" in found["missing.wav"].failure
    assert found["missing.wav"].scores["note_f1"] == 0
    assert found["silent.flac"].scores["note_f1"] == 0
    assert found["silent.flac"].scores["silent_share"] == 1
    assert "missing.wav" in (folder / "index.html").read_text()
    assert all(record.seconds == 0 for record in found.values())  # reading is not making


def test_a_manifest_that_names_no_file_is_refused_before_any_work(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text('{"output": "a.wav", "notes": "a.mid", "example": "e.wav"}')
    with pytest.raises(InputError, match=r"case 'a\.wav': there is no .*a\.mid"):
        evaluate(Job(manifest=str(path), outputs=(str(tmp_path),)), tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_cases_written_as_files_are_the_cases_and_any_system_can_answer(tmp_path: Path) -> None:
    faults = replace(
        read_protocol("midi-faults"), seconds=4.0, levels={"40 % dropped": {"drop": 0.4}}
    )
    (case,) = (make() for make in draw_cases(faults, [], 1))
    manifest = write_cases([lambda: case], tmp_path / "cases", "notes")
    (read,) = (make() for make in Job(manifest=str(manifest)).cases())
    assert (read.name, read.level) == (case.name, case.level)
    assert np.allclose(read.notes.onset, case.notes.onset, atol=1e-3)
    assert len(read.given) == len(case.given) < len(case.notes)
    assert read.truth is not None
    assert case.truth is not None
    assert np.allclose(read.truth.samples, case.truth.samples, atol=1e-4)
    with pytest.raises(InputError, match="holds something"):
        write_cases([lambda: case], tmp_path / "cases", "notes")


def test_cases_written_as_files_tell_a_model_what_they_ask_of_it(tmp_path: Path) -> None:
    options = {"steps": 2, "guidance_timbre": 1.5}
    cases = [band_case(2.0, name="free"), band_case(2.0, name="fixed", sampling=options)]
    manifest = write_cases([lambda c=c: c for c in cases], tmp_path / "cases", "audio")  # type: ignore[misc]
    assert structure_of(manifest) == "audio"
    assert [make().sampling for make in Job(manifest=str(manifest)).cases()] == [{}, options]


def test_as_many_cases_of_each_level_are_asked_as_the_limit_says(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path)
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    named = [
        row | more
        for row, more in zip(rows, ({"level": "a"}, {"level": "a"}, {"case": None}), strict=True)
    ]
    manifest.write_text("\n".join(json.dumps(row) for row in named))
    asked = [make() for make in Job(manifest=str(manifest), limit=1).cases()]
    assert [(case.level, case.name) for case in asked] == [
        ("a", "good.wav"),
        ("given", "silent.flac"),
    ]


def test_answers_in_files_are_judged_by_the_clean_example_as_a_models_are(tmp_path: Path) -> None:
    levels = {"as loud as its noise": {"example_noise": 0.0}}
    protocol = replace(read_protocol("recorded"), seconds=4.0, levels=levels)
    (case,) = (make() for make in draw_cases(protocol, [], 1))
    manifest = write_cases([lambda: case], tmp_path / "cases", "notes")
    (read,) = (make() for make in Job(manifest=str(manifest)).cases())
    assert np.allclose(read.example.samples, case.example.samples, atol=1e-4)
    assert np.allclose(read.example_heard.samples, case.example_heard.samples, atol=1e-4)
    assert not np.allclose(read.example.samples, read.example_heard.samples, atol=1e-3)
    asked = [Record("c", "", "s", {}, "", 1.0, 1.0, c.facts) for c in (case, read)]
    assert asked[0].sounds == asked[1].sounds == (case.facts["target"], case.facts["source"])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("not json", "line 1 is not JSON"),
        ('{"output": "a"}', "must name"),
        ("", "lists no case"),
        ('{"output": 3, "notes": "a", "example": "b"}', "output is 3"),
        (ROW + '"beats": [-1]}', "list of seconds"),
        (ROW + '"structure": "midi"}', "line 1: structure is 'midi'; it can be notes or audio"),
        (ROW + '"sampling": 4}', "sampling is 4; it may set steps, "),
        (ROW + '"sampling": {"pool": "seen-seen"}}', "it may set steps, "),
        (ROW + '"sampling": {"steps": 1.5}}', "line 1: steps is 1.5; give a whole number"),
        (ROW + '"sampling": {"temperature": "hot"}}', "temperature is 'hot'; give a number"),
    ],
)
def test_wrong_manifests_are_named(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(line)
    with pytest.raises(InputError, match=words):
        Job(manifest=str(path), outputs=(str(tmp_path),)).cases()
    path.write_text(line, encoding="utf-8-sig")  # as some editors save it
    with pytest.raises(InputError, match=words):
        Job(manifest=str(path), outputs=(str(tmp_path),)).cases()
    path.write_bytes("fl\u00f6te.wav".encode("latin-1"))
    with pytest.raises(InputError, match="is not UTF-8"):
        Job(manifest=str(path), outputs=(str(tmp_path),)).cases()
