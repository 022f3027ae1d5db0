"""What makes two evaluations the same question."""

import json
import shutil
from pathlib import Path

import pytest

from evaluations import SMALL, write_manifest, write_scores
from sounds import RATE, tone
from timbrel.audio import Audio
from timbrel.data.store import Store
from timbrel.errors import InputError
from timbrel.evaluation.compare import comparison
from timbrel.evaluation.identity import weights_id
from timbrel.evaluation.job import Job
from timbrel.evaluation.run import claim, evaluate


def test_another_question_in_the_same_folder_is_refused(tiny_model: Path, report: Path) -> None:
    with pytest.raises(InputError, match="other settings"):
        evaluate(Job(SMALL, model=str(tiny_model), sampling=(("steps", 2),), limit=2), report)
    with pytest.raises(InputError, match="something else"):
        evaluate(Job(SMALL, limit=1), report / "audio")


def test_an_option_that_older_versions_did_not_have_and_nobody_asks_for_is_no_other_question(
    tmp_path: Path,
) -> None:
    older, newer = (("steps", None), ("temperature", 0.5)), (("texture", None),)
    claim(tmp_path, Job(None, sampling=older).settings())
    claim(tmp_path, Job(None, sampling=older + newer).settings())
    for other in ((*older, ("texture", 1.5)), older[:1] + newer):
        with pytest.raises(InputError, match="other settings"):
            claim(tmp_path, Job(None, sampling=other).settings())


def test_files_made_anew_are_not_taken_for_those_that_were_judged(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path)
    folder, outputs = tmp_path / "report", tmp_path / "out"
    job = Job(manifest=str(manifest), outputs=(str(outputs),))
    claim(folder, job.settings())
    claim(folder, job.settings())
    Audio(tone(440, 2.0)[None], RATE).write(outputs / "good.wav")
    with pytest.raises(InputError, match="other settings"):
        claim(folder, job.settings())


@pytest.mark.parametrize("changed", ["manifest.jsonl", "0.mid", "0-example.wav", "out/deep/a.wav"])
def test_the_same_files_are_the_same_question_wherever_they_lie_and_others_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    manifest = write_manifest(tmp_path)
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    rows[0]["output"] = "deep/a.wav"
    manifest.write_text("\n".join(json.dumps(row) for row in rows))
    (tmp_path / "out" / "deep").mkdir()
    (tmp_path / "out" / "good.wav").rename(tmp_path / "out" / "deep" / "a.wav")
    before = Job(manifest=str(manifest), outputs=(str(tmp_path / "out"),)).settings()
    monkeypatch.chdir(tmp_path)
    near = Job(manifest="manifest.jsonl", outputs=("out",))
    (tmp_path / "out" / "unasked.wav").write_bytes(b"")
    assert near.settings() == before
    with open(tmp_path / changed, "ab") as file:
        file.write(b"\n")
    assert near.settings() != before


def test_a_store_that_was_added_to_is_another_question(small_store: Store, tmp_path: Path) -> None:
    lines = (small_store.path / "manifest.jsonl").read_text().splitlines(keepends=True)
    reports = []
    for name, kept in (("a", lines), ("copy", lines), ("b", lines[:9])):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.jsonl").write_text("".join(kept))
        reports.append(write_scores(tmp_path / f"of-{name}", Job(store=str(tmp_path / name))))
    comparison(reports[:2])
    with pytest.raises(InputError, match="differ in store; "):
        comparison(reports[1:])


def test_a_model_that_samples_otherwise_is_another_model(tiny_model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_model, copy)
    before = weights_id(str(copy))
    assert before == weights_id(str(tiny_model))
    config = json.loads((copy / "config.json").read_text())
    config["about"]["sampling"] = {"temperature": 0.5}
    (copy / "config.json").write_text(json.dumps(config))
    assert weights_id(str(copy)) != before
