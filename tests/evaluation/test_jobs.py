"""Jobs that cannot be done or would mix up their rows, refused before any work."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from evaluations import SMALL, band_case, write_manifest
from timbrel.errors import InputError
from timbrel.evaluation.given import write_cases
from timbrel.evaluation.job import Job
from timbrel.evaluation.protocol import protocol_names, read_protocol
from timbrel.evaluation.run import evaluate


def test_folders_of_one_name_would_be_one_row_and_are_refused(tmp_path: Path) -> None:
    for name in ("a/out", "b/out"):
        (tmp_path / name).mkdir(parents=True)
    job = Job(SMALL, outputs=(str(tmp_path / "a/out"), str(tmp_path / "b/out")), limit=1)
    with pytest.raises(InputError, match="called 'out'"):
        evaluate(job, tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_rows_and_cases_that_would_share_files_are_refused(tmp_path: Path) -> None:
    for name in ("a b", "a_b", "example", "ground_truth"):
        (tmp_path / name).mkdir()

    def job(*folders: str) -> Job:
        return Job(SMALL, outputs=tuple(str(tmp_path / name) for name in folders), limit=1)

    with pytest.raises(InputError, match="rows 'a b' and 'a_b' would share their files"):
        job("a b", "a_b").check()
    with pytest.raises(InputError, match="rows 'ground truth' and 'ground_truth'"):
        job("ground_truth").check()
    with pytest.raises(InputError, match="is called 'example'"):
        job("example").check()
    with pytest.raises(InputError, match="cases 'x y-000' and 'x_y-000'"):
        Job(replace(SMALL, levels={"x y": {}, "x_y": {}})).check()
    for name in protocol_names():
        Job(read_protocol(name)).check()
    manifest = write_manifest(tmp_path)
    rows = [json.loads(line) for line in manifest.read_text().splitlines()[:2]]
    rows = [row | {"case": name} for row, name in zip(rows, ("c 1", "c_1"), strict=True)]
    manifest.write_text("\n".join(json.dumps(row) for row in rows))
    with pytest.raises(InputError, match="cases 'c 1' and 'c_1'"):
        Job(manifest=str(manifest)).check()
    with pytest.raises(InputError, match="cases 'c 1' and 'c_1'"):
        write_cases(
            [lambda k=k: band_case(2.0, name=k) for k in ("c 1", "c_1")], tmp_path / "w", "notes"
        )


def test_a_model_is_given_what_it_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = SimpleNamespace(
        reads_notes=False, listener=None, about={"name": "m"}, sampling=lambda **_: None
    )
    monkeypatch.setattr(Job, "player", lambda *_: reads)
    manifest = str(write_manifest(tmp_path))
    assert "m, from audio" in Job(manifest=manifest, model="m", structure="").systems()
    with pytest.raises(InputError, match="the model m reads audio alone"):
        Job(SMALL, model="m").check()
    with pytest.raises(InputError, match="names no source, which the model m has to hear"):
        Job(manifest=manifest, model="m", structure="").check()
    reads.reads_notes = True
    (tmp_path / "m, from notes").mkdir()
    with pytest.raises(InputError, match="is called 'm, from notes', as another row"):
        Job(SMALL, outputs=(str(tmp_path / "m, from notes"),), model="m").check()
    assert "m, from notes" in Job(manifest=manifest, model="m", structure="").systems()
    with pytest.raises(InputError, match="the model m reads notes alone"):
        Job(SMALL, model="m", structure="audio").check()
    Job(SMALL, model="m").check()


def test_a_model_is_given_what_the_manifest_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = SimpleNamespace(
        reads_notes=True, listener=object(), about={"name": "m"}, sampling=lambda **_: None
    )
    monkeypatch.setattr(Job, "player", lambda *_: reads)
    case = band_case(2.0, source=band_case(2.0).truth)
    manifest = write_cases([lambda: case], tmp_path / "cases", "audio")
    job = Job(manifest=str(manifest), model="m", structure="")
    job.check()
    assert "m, from audio" in job.systems()
    reads.listener = None
    with pytest.raises(InputError, match="the model m reads notes alone"):
        job.check()
    row = json.loads(manifest.read_text())
    other = row | {"case": "other", "structure": "notes"}
    manifest.write_text("\n".join(json.dumps(each) for each in (row, other)))
    with pytest.raises(InputError, match="differ in structure"):
        job.check()
    Job(manifest=str(manifest), outputs=(str(tmp_path),)).check()  # files are given nothing


def test_sampling_that_a_model_cannot_do_is_refused_before_any_work(
    tiny_model: Path, tmp_path: Path
) -> None:
    job = Job(SMALL, model=str(tiny_model), sampling=(("steps", 0),), limit=1)
    with pytest.raises(InputError, match="steps is 0"):
        evaluate(job, tmp_path / "report")
    assert not (tmp_path / "report").exists()
