"""How far structure that is heard lies from that of the written notes, and where it is said."""

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from timbrel.audio import Audio
from timbrel.errors import InputError
from timbrel.evaluation.cases import Case, draw_cases
from timbrel.evaluation.compare import comparison
from timbrel.evaluation.hearing import Memory
from timbrel.evaluation.job import Job
from timbrel.evaluation.protocol import read_protocol
from timbrel.evaluation.report import write_report
from timbrel.evaluation.run import evaluate, judge_one, read_records
from timbrel.evaluation.scores import listen_to
from timbrel.evaluation.structure import structure_apart
from timbrel.evaluation.systems import ModelRow, references
from timbrel.evaluation.tables import read_json
from timbrel.model import Timbrel, load
from timbrel.notes import Notes, Track

HEARS = replace(
    read_protocol("timbre-transfer"), seconds=4.0, levels={"seen timbres": {"pool": "seen-seen"}}
)
TUNE = Notes.from_rows([(0.25 * k, 0.25 * k + 0.2, 60 + 5 * k % 12, 90) for k in range(14)])
KIT = Notes.from_rows([(0.25 * k, 0.25 * k + 0.1, 36, 90) for k in range(14)], (Track(drums=True),))


@pytest.fixture
def apart(tiny_model: Path) -> Callable[..., float]:
    player = load(tiny_model, "cpu")
    rate = player.codec.frame_rate
    return lambda heard, written=TUNE: structure_apart(player.network, heard, written, 4.0, rate)


@pytest.fixture
def case() -> Case:
    return draw_cases(HEARS, [], 1)[0]()


@pytest.fixture
def hears(monkeypatch: pytest.MonkeyPatch) -> Callable[[Notes], None]:
    """Lets all models hear these notes in anything."""

    def these(notes: Notes) -> None:
        monkeypatch.setattr(Timbrel, "listen", lambda *_: notes)

    return these


def test_the_same_notes_are_not_apart_and_the_more_is_wrong_the_further(
    apart: Callable[..., float],
) -> None:
    later = [apart(TUNE.shift(seconds)) for seconds in (0.0, 0.025, 0.1)]
    fewer = [apart(TUNE.where(np.arange(len(TUNE)) >= count)) for count in (0, 1, 4)]
    for found in (later, fewer):
        assert found[0] == 0
        assert found[0] + 0.1 < found[1] < found[2] < 1.5
    assert apart(TUNE.where(TUNE.pitch < 0)) == 1
    assert apart(TUNE.shift(5.0)) == pytest.approx(1)  # behind the end
    assert apart(TUNE.transpose(7)) > 0.5
    assert apart(KIT, KIT) == 0
    assert apart(KIT, TUNE) > 0.5
    assert math.isnan(apart(TUNE, TUNE.where(TUNE.pitch < 0)))
    assert math.isnan(apart(TUNE, TUNE.shift(5.0)))


def test_a_model_that_hears_plays_as_before_and_says_how_far_off_it_heard(
    case: Case, tiny_model: Path, hears: Callable[[Notes], None]
) -> None:
    player = load(tiny_model, "cpu")
    row = ModelRow(player, "audio", {"steps": 1})
    assert math.isnan(row.structure_apart(case))  # nothing was played yet
    hears(case.notes)
    made = row(case)
    assert made is not None
    assert case.source is not None
    again = player.render(case.source, case.example, length=case.seconds, steps=1)
    assert np.array_equal(made.samples, again.samples)
    assert row.structure_apart(case) == 0
    hears(case.notes.shift(0.1))
    row(case)
    assert row.structure_apart(case) > 0.05
    assert math.isnan(row.structure_apart(replace(case)))  # another case
    written = ModelRow(player, "notes", {"steps": 1})
    written(case)
    assert math.isnan(written.structure_apart(case))
    assert row(replace(case, source=None)) is None


def test_a_model_that_hears_nothing_is_as_far_off_as_silence(
    case: Case, tiny_model: Path, tmp_path: Path, hears: Callable[[Notes], None]
) -> None:
    ears = listen_to(case, Memory(tmp_path / "heard"))
    hears(TUNE.where(TUNE.pitch < 0))
    for structure, apart in (("audio", 1.0), ("notes", math.nan)):
        row = ModelRow(load(tiny_model, "cpu"), structure, {"steps": 0})
        record = judge_one("m", row, case, ears, tmp_path)
        assert record is not None
        assert record.failure
        assert record.scores["structure_apart"] == pytest.approx(apart, nan_ok=True)


@pytest.fixture(scope="module")
def report(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a model that hears the same tune in all cases."""
    folder = tmp_path_factory.mktemp("evaluation") / "report"
    job = Job(HEARS, model=str(tiny_model), structure="audio", sampling=(("steps", 1),), limit=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Timbrel, "listen", lambda *_: TUNE)
        evaluate(job, folder)
    write_report(folder)
    return folder


def test_a_report_says_it_in_a_column_and_a_sentence(report: Path) -> None:
    told = [r for r in read_records(report) if r.system not in references()]
    told = [r for r in told if r.system != "codec of the ground truth"]
    assert all(r.scores["structure_apart"] > 0.5 for r in told)
    mean = sum(r.scores["structure_apart"] for r in told) / 2
    for name in ("table.md", "index.html"):
        text = (report / name).read_text()
        assert "structure off notes" in text
        assert f"the structure that it hears in recordings lies {mean:.2f}" in text
    assert "structure_apart" in (report / "scores.csv").read_text()
    table, _ = read_json(report / "report.json")
    by_system = {row.system: row.values["structure_apart"] for row in table}
    assert by_system["random, from audio"][0] == pytest.approx(mean)
    assert math.isnan(by_system["ground truth"][0])


def test_reports_of_before_it_was_measured_are_read_compared_and_written_again(
    report: Path, tmp_path: Path
) -> None:
    old = tmp_path / "old"
    shutil.copytree(report, old)
    for name in ("records.jsonl", "report.json"):
        text = (old / name).read_text()
        parts = text.splitlines() if name == "records.jsonl" else [text]
        documents = [json.loads(part) for part in parts]
        for scored in (row for document in documents for row in document.get("rows", [document])):
            del scored["scores"]["structure_apart"]
        (old / name).write_text("".join(json.dumps(document) + "\n" for document in documents))
    table, _ = read_json(old / "report.json")
    assert math.isnan(table[0].values["structure_apart"][0])
    assert "structure off notes" not in comparison([old, report]).table
    found = comparison([report, old])
    assert "structure off notes" in found.table
    assert found.verdicts[0].better == found.verdicts[0].worse == ()
    write_report(old)
    assert "structure" not in (old / "table.md").read_text()


def test_structure_is_in_no_verdict(report: Path, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in (report / "records.jsonl").read_text().splitlines()]
    line = next(line for line in lines if line["system"] == "random, from audio")
    for folder, apart in ((tmp_path / "a", 0.2), (tmp_path / "b", 0.6)):
        folder.mkdir()
        rows = [
            line
            | {"case": f"c{k}", "facts": {}, "scores": {"structure_apart": apart, "note_f1": 0}}
            for k in range(12)
        ]
        (folder / "records.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    found = comparison([tmp_path / "a", tmp_path / "b"])
    assert "**+0.400**" in found.table
    assert found.verdicts[0].worse == ()


def test_notes_in_no_recording_are_refused_as_before(case: Case, tiny_model: Path) -> None:
    silent = replace(case, source=Audio(np.zeros((1, 44_100), np.float32), 44_100))
    with pytest.raises(InputError, match="no note was found in the structure"):
        ModelRow(load(tiny_model, "cpu"), "audio", {})(silent)
