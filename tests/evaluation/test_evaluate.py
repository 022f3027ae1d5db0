"""An evaluation from the question to the report, by a random model and by given files."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sounds import RATE, pitch_hz, tone
from timbrel.audio import Audio
from timbrel.data.store import Store
from timbrel.errors import DataError, InputError
from timbrel.evaluation.cases import draw_cases, pool
from timbrel.evaluation.compare import comparison
from timbrel.evaluation.protocol import Setting, protocol_names, read_protocol, slowed
from timbrel.evaluation.report import write_report
from timbrel.evaluation.run import Job, evaluate, read_records
from timbrel.evaluation.systems import EXAMPLE, SOURCE, TRUTH, model_rows
from timbrel.model import load
from timbrel.notes import Notes

SMALL = replace(
    read_protocol("midi-to-audio"), seconds=4.0, levels={"seen timbres": {"pool": "seen-seen"}}
)


@pytest.mark.parametrize("name", protocol_names())
def test_every_protocol_can_be_read_and_asks_something(name: str) -> None:
    protocol = read_protocol(name)
    assert protocol.question.endswith("?")
    for level in protocol.levels:
        assert isinstance(protocol.setting(level), Setting)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("question = ", "not a protocol"),
        ("question = 'x'", "not a protocol"),
        (
            "question='?'\nstructure='notes'\ncases=1\nseed=0\nseconds=4.0\n[levels]\na={wrong=1}",
            "unknown 'wrong'",
        ),
        ("question='?'\nstructure='notes'\ncases=1\nseed=0\nseconds=4.0\n[levels]", "asks nothing"),
    ],
)
def test_wrong_protocols_are_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        read_protocol(str(path))
    with pytest.raises(InputError, match="choose one of"):
        read_protocol("none")


def test_cases_are_the_same_each_time_and_differ_from_each_other() -> None:
    first, again = (draw_cases(SMALL, [], limit=2) for _ in range(2))
    a, b = first[0](), again[0]()
    assert a.truth is not None
    assert b.truth is not None
    assert np.array_equal(a.truth.samples, b.truth.samples)
    assert np.array_equal(a.notes.onset, b.notes.onset)
    assert not np.array_equal(a.notes.onset, first[1]().notes.onset)


def test_levels_share_notes_where_only_the_given_ones_are_damaged() -> None:
    faults = replace(read_protocol("midi-faults"), seconds=4.0)
    by_level = {case.level: case for case in (make() for make in draw_cases(faults, [], limit=1))}
    clean, dropped = by_level["clean"], by_level["40 % dropped"]
    assert clean.given is clean.notes
    assert np.array_equal(clean.notes.pitch, dropped.notes.pitch)
    assert len(dropped.given) < len(dropped.notes)


def test_notes_that_jitter_before_the_beginning_are_no_failure(tmp_path: Path) -> None:
    faults = read_protocol("midi-faults")
    level = {"jitter 100 ms": faults.levels["jitter 100 ms"]}
    job = Job(replace(faults, seconds=4.0, levels=level), limit=2)
    assert any(make().given.onset.min() < 0 for make in job.cases())
    assert not [r for r in evaluate(job, tmp_path / "report") if r.failure]


def test_registers_lie_as_far_apart_as_the_protocol_says() -> None:
    protocol = replace(
        read_protocol("range"),
        seconds=4.0,
        levels={"up": {"octave_gap": 1}, "same": {"octave_gap": 0}},
    )
    for case in (make() for make in draw_cases(protocol, [], limit=2)):
        example = np.median(hz_of(case.example))
        notes = np.median([pitch_hz(p) for p in case.notes.pitch])
        octaves = math.log2(notes / example)
        assert abs(octaves - (1 if case.level == "up" else 0)) < 1.2


def hz_of(audio: Audio) -> list[float]:
    """Frequencies of the lowest strong partial, frame by frame (rough)."""
    frames = audio.samples[0][: len(audio.samples[0]) // 8192 * 8192].reshape(-1, 8192)
    spectra = np.abs(np.fft.rfft(frames * np.hanning(8192), axis=1))
    strong = spectra > 0.3 * spectra.max(1, keepdims=True)
    return [float(row.argmax() * RATE / 8192) for row in strong if row.any()]


def test_sounds_that_are_not_there_are_asked_for_in_words() -> None:
    with pytest.raises(DataError, match="install more sound fonts"):
        draw_cases(replace(SMALL, levels={"x": {"pool": "unseen-seen"}}), [])[0]()
    assert len(pool("unseen-unseen", [])) > 10


def test_a_case_may_say_how_many_steps_are_taken(tiny_model: Path) -> None:
    player = load(tiny_model, "cpu")
    asked: list[int | None] = []
    original = player.render

    def watch(*args: Any, steps: int | None = None, **options: Any) -> Audio:
        asked.append(steps)
        return original(*args, steps=steps, **options)

    player.render = watch  # type: ignore[method-assign]
    protocol = replace(read_protocol("speed"), seconds=4.0)
    first = next(iter(protocol.levels))
    case = draw_cases(replace(protocol, levels={first: protocol.levels[first]}), [], 1)[0]()
    play = list(model_rows(player, "notes", steps=3).values())[-1]
    assert play(case) is not None
    assert play(replace(case, steps=None)) is not None
    assert asked == [1, 3]


def test_a_tempo_that_drifts_ends_slower_by_its_share() -> None:
    notes = Notes.from_rows([(k, k + 0.5, 60, 90) for k in range(100)])
    gaps = np.diff(slowed(notes, 0.1).onset)
    assert gaps[0] == pytest.approx(1, abs=0.01)
    assert gaps[-1] == pytest.approx(1.1, abs=0.01)


def test_the_ceiling_is_high_and_the_floors_are_low(report: Path) -> None:
    table = {row["system"]: row for row in json.loads((report / "report.json").read_text())["rows"]}
    truth, source, example = (table[name]["scores"] for name in (TRUTH, SOURCE, EXAMPLE))
    assert truth["note_f1"][0] > 0.5
    assert truth["log_mel_distance"][0] == pytest.approx(0, abs=1e-6)
    assert truth["like_truth"][0] == pytest.approx(1, abs=1e-5)
    assert source["nearer"][0] == 0
    assert source["note_f1"][0] > example["note_f1"][0]
    assert example["like_example"][0] > 0.9


def test_a_report_is_one_page_with_its_sounds_and_nothing_from_the_network(report: Path) -> None:
    page = (report / "index.html").read_text()
    assert "src='data:audio/flac;base64," in page
    assert "src='data:image/png;base64," in page
    assert "http://" not in page
    assert "https://" not in page
    assert (report / "scores.csv").read_text().count("\n") == 1 + len(read_records(report))
    assert "| ground truth |" in (report / "table.md").read_text()


def test_a_stopped_evaluation_goes_on_and_ends_the_same(
    tiny_model: Path, report: Path, tmp_path: Path
) -> None:
    job = Job(SMALL, model=str(tiny_model), sampling=(("steps", 1),), limit=2)
    records = report / "records.jsonl"
    lines = records.read_text().splitlines(keepends=True)
    folder = tmp_path / "half"
    (folder / "audio").mkdir(parents=True)
    (folder / "settings.json").write_text((report / "settings.json").read_text())
    (folder / "records.jsonl").write_text("".join(lines[:4]) + lines[4][:20] + "\n")
    again = evaluate(job, folder, workers=2)
    before = {(r.case, r.system): r.scores for r in read_records(report)}
    after = {(r.case, r.system): r.scores for r in again}
    assert set(before) == set(after)
    for key, scores in before.items():
        assert after[key] == pytest.approx(scores, abs=1e-4, nan_ok=True)


def test_another_question_in_the_same_folder_is_refused(tiny_model: Path, report: Path) -> None:
    with pytest.raises(InputError, match="other settings"):
        evaluate(Job(SMALL, model=str(tiny_model), sampling=(("steps", 2),), limit=2), report)
    with pytest.raises(InputError, match="something else"):
        evaluate(Job(SMALL, limit=1), report / "audio")


def write_manifest(folder: Path) -> Path:
    notes = Notes.from_rows([(0.2, 0.9, 60, 90), (1.0, 1.8, 67, 90)])
    (folder / "out").mkdir()
    rows = []
    for number, name in enumerate(("good.wav", "missing.wav", "silent.flac")):
        notes.write(folder / f"{number}.mid")
        Audio(tone(330, 2.0)[None], RATE).write(folder / f"{number}-example.wav")
        rows.append({"output": name, "notes": f"{number}.mid", "example": f"{number}-example.wav"})
    sound = np.concatenate(
        [np.zeros(8820), tone(pitch_hz(60), 0.7), np.zeros(4410), tone(pitch_hz(67), 0.8)]
    )
    Audio(np.stack([sound, sound]).astype(np.float32), RATE).write(folder / "out" / "good.wav")
    Audio(np.zeros((1, 16_000), np.float32), 16_000).write(folder / "out" / "silent.flac")
    path = folder / "manifest.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


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


@pytest.mark.parametrize(
    ("line", "words"),
    [("not json", "line 1 is not JSON"), ('{"output": "a"}', "must name"), ("", "lists no case")],
)
def test_wrong_manifests_are_named(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(line)
    with pytest.raises(InputError, match=words):
        Job(manifest=str(path), outputs=(str(tmp_path),)).cases()


def test_cases_come_from_a_store_too(small_store: Store, tmp_path: Path) -> None:
    job = Job(store=str(small_store.path), limit=2)
    records = evaluate(job, tmp_path / "report")
    truth = [r for r in records if r.system == TRUTH]
    assert len(truth) == 2
    assert np.mean([r.scores["note_f1"] for r in truth]) > 0.3


def test_a_report_compared_with_itself_shows_no_difference(report: Path, tmp_path: Path) -> None:
    table = comparison([report, report])
    assert "+0.000 (+0.000 to +0.000)" in table
    assert "**" not in table
    with pytest.raises(InputError, match="holds no report"):
        comparison([report, tmp_path])
    with pytest.raises(InputError, match="two or more"):
        comparison([report])
