"""Evaluations that are stopped and go on, and the files that a kill may leave."""

import errno
import json
import shutil
from pathlib import Path

import pytest

from evaluations import SMALL, write_manifest
from sounds import RATE, tone
from timbrel.audio import Audio
from timbrel.data.files import begin_line
from timbrel.data.lock import locked
from timbrel.errors import DataError, TimbrelError
from timbrel.evaluation.hearing import Memory
from timbrel.evaluation.job import Job
from timbrel.evaluation.run import Record, claim, evaluate, read_records


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


def test_two_evaluations_of_one_folder_at_once_are_refused(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(DataError, match="another process is writing"):
        evaluate(Job(SMALL, limit=1), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_whose_settings_a_kill_cut_short_is_claimed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(_: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", killed)
        with pytest.raises(KeyboardInterrupt):
            claim(tmp_path, {"limit": 1})
    assert not (tmp_path / "settings.json").exists()
    claim(tmp_path, {"limit": 1})
    assert json.loads((tmp_path / "settings.json").read_text())["limit"] == 1


SHORT = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")


@pytest.mark.parametrize(
    ("workers", "error", "words"),
    [
        (1, OSError(errno.ENOSPC, "No space left on device"), "No space left"),
        (2, OSError(errno.ENOSPC, "No space left on device"), "No space left"),
        (1, SHORT, "can't allocate memory"),
    ],
)
def test_a_machine_that_fails_ends_the_run_and_is_no_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int, error: Exception, words: str
) -> None:
    manifest = write_manifest(tmp_path)
    job = Job(manifest=str(manifest), outputs=(str(tmp_path / "out"),))

    def full(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("timbrel.evaluation.run.score", full)
        with pytest.raises(TimbrelError, match=f"stopped: .*{words}.*run again to go on"):
            evaluate(job, tmp_path / "report", workers)
    found = {r.case: r for r in evaluate(job, tmp_path / "report") if r.system == "out"}
    assert found["good.wav"].scores["note_f1"] > 0.6


def test_records_are_read_whatever_a_case_is_called_and_damaged_lines_are_left_out(
    tmp_path: Path,
) -> None:
    names = ("next\x85line", "line\u2028separator", "flöte")
    lines = [Record(name, "", "s", {}, "", 1.0, 1.0, {}).to_json().encode() for name in names]
    damaged = [b"[]", b'{"scores": []}', b"null", lines[2].replace(b"\xc3", b"\xff")]
    path = tmp_path / "records.jsonl"
    path.write_bytes(b"\n".join([*damaged, *lines]))
    with open(path, "a+") as file:
        begin_line(file)
        file.write(lines[0].decode() + "\n")
    assert [r.case for r in read_records(tmp_path)] == [*names, names[0]]
    manifest = write_manifest(tmp_path)
    row = json.loads(manifest.read_text().splitlines()[0]) | {"case": names[0]}
    manifest.write_text(json.dumps(row, ensure_ascii=False))
    (case,) = Job(manifest=str(manifest)).cases()
    assert case().name == names[0]


def test_a_record_after_one_that_a_kill_cut_short_is_not_lost(
    report: Path, tiny_model: Path, tmp_path: Path
) -> None:
    shutil.copytree(report, tmp_path / "report")
    path = tmp_path / "report" / "records.jsonl"
    whole = read_records(report)
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:2]) + "\n" + lines[2][:40])
    with open(path, "a+") as file:
        begin_line(file)
        file.write(lines[3] + "\n")
    assert [r.system for r in read_records(tmp_path / "report")] == [
        whole[k].system for k in (0, 1, 3)
    ]
    before = path.read_text()
    with open(path, "a+") as file:
        begin_line(file)  # nothing was cut short this time
    assert path.read_text() == before


def test_what_was_heard_is_heard_again_if_its_file_is_damaged(tmp_path: Path) -> None:
    memory, sound = Memory(tmp_path), Audio(0.3 * tone(440.0, 1.0)[None], RATE)
    name, heard = memory.listen(sound)
    path = tmp_path / f"{name}.npz"
    whole = path.read_bytes()
    for kept in (0, 3, len(whole) // 2):
        path.write_bytes(whole[:kept])
        assert memory.recall(name) is None
        assert len(memory.listen(sound)[1].notes) == len(heard.notes)
    path.write_bytes(whole.replace(whole[300:340], bytes(40)))
    assert len(memory.listen(sound)[1].notes) == len(heard.notes)
