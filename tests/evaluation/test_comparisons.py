"""Reports and systems compared with each other, or refused."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from evaluations import SMALL, write_manifest, write_scores
from timbrel.errors import InputError
from timbrel.evaluation.compare import beyond_chance, comparison
from timbrel.evaluation.job import Job
from timbrel.evaluation.packaged import SHA256
from timbrel.evaluation.protocol import Setting
from timbrel.evaluation.run import Record, claim


def test_a_comparison_has_the_same_intervals_whichever_report_knows_the_sounds(
    tmp_path: Path,
) -> None:
    knows, files = (tmp_path / name for name in ("knows", "files"))
    for folder, gain in ((knows, 0.0), (files, 0.1)):
        folder.mkdir()
        facts = [{"target": f"t{k % 3}"} if folder is knows else {} for k in range(12)]
        lines = [
            Record(f"c{k}", "", "ours", {"note_f1": gain + 0.01 * k}, "", 1.0, 1.0, facts[k])
            for k in range(12)
        ]
        (folder / "records.jsonl").write_text("".join(r.to_json() + "\n" for r in lines))
    for order in ((knows, files), (files, knows)):
        (verdict,) = comparison(order).verdicts
        assert not verdict.better + verdict.worse  # twelve cases of three sounds prove nothing


def test_a_report_compared_with_itself_shows_no_difference(report: Path, tmp_path: Path) -> None:
    found = comparison([report, report])
    assert "+0.000 (+0.000 to +0.000)" in found.table
    assert "**" not in found.table
    assert "in nothing by more than chance" in str(found)
    with pytest.raises(InputError, match="holds no report"):
        comparison([report, tmp_path])
    with pytest.raises(InputError, match="two or more"):
        comparison([report])


def test_systems_of_one_report_are_compared_with_each_other(tmp_path: Path) -> None:
    lines = []
    for system, shift in (("ours", 0.0), ("theirs", 0.1)):
        for k in range(12):
            scores = {
                "note_f1": 0.05 * k + shift + 0.001 * (k % 3),
                "octave_errors": 0.02 * k + shift,  # of these two, less is better
                "level_distance": 0.02 * k + shift,
                "like_example": 0.5 + 0.01 * shift * (-1) ** k,
            }
            record = Record(f"c{k}", "level", system, scores, "", 1.0, 1.0, {})
            lines.append(record.to_json() + "\n")
    (tmp_path / "records.jsonl").write_text("".join(lines))
    found = comparison([tmp_path])
    assert f"| {tmp_path}: theirs - {tmp_path}: ours | **+0.100**" in found.table
    assert "beat F1" not in found.table  # what nobody has is no column
    assert found.verdicts[0].better == ("note F1",)
    assert found.verdicts[0].worse == ("octave errors", "dB off its level")
    worse = "worse in octave errors, dB off its level than"
    assert f"{tmp_path}: theirs is better in note F1 and {worse}" in str(found)


@pytest.mark.parametrize(
    ("job", "other", "words"),
    [
        (Job(SMALL, ("a.sf2",)), Job(SMALL, ("b.sf2", "a.sf2")), "differ in fonts; "),
        (Job(SMALL), Job(replace(SMALL, seed=1, seconds=5.0)), "differ in seed, seconds; "),
        (Job(SMALL), Job(replace(SMALL, name="mine")), "differ in protocol; "),
        (
            Job(SMALL),
            Job(replace(SMALL, levels={"seen timbres": {"voices": 3}})),
            "differ in level 'seen timbres'; ",
        ),
        (Job(SMALL), Job(replace(SMALL, base=Setting(voices=3))), "differ in voices; "),
    ],
)
def test_reports_of_other_cases_are_not_compared(
    tmp_path: Path, job: Job, other: Job, words: str
) -> None:
    first, second = (write_scores(tmp_path / f"{k}", j) for k, j in enumerate((job, other)))
    with pytest.raises(InputError, match=words):
        comparison([first, first, second])


def test_reports_by_other_judges_are_not_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = write_scores(tmp_path / "now", Job(SMALL))
    old = write_scores(tmp_path / "old", Job(SMALL))
    settings = json.loads((old / "settings.json").read_text())
    del settings["judges"]  # as before they were written down
    (old / "settings.json").write_text(json.dumps(settings))
    monkeypatch.setitem(SHA256, "musicnn.npz", "another")
    other = write_scores(tmp_path / "other", Job(SMALL))
    for one in (old, other):
        with pytest.raises(InputError, match="differ in the judges; "):
            comparison([now, one])
    with pytest.raises(InputError, match="other settings"):
        claim(now, Job(SMALL).settings())  # half by one, half by another


def test_reports_of_the_same_cases_are_compared_whoever_answers_and_however_many(
    tmp_path: Path,
) -> None:
    manifest = write_manifest(tmp_path)
    more = {**SMALL.levels, "another": {"voices": 3}}
    jobs = [
        Job(SMALL, ("a.sf2",), limit=2),
        Job(replace(SMALL, cases=99, levels=more), ("b/a.sf2",), model=None),
        Job(manifest=str(manifest), outputs=(str(tmp_path / "out"),)),  # its cases, as files
    ]
    reports = [write_scores(tmp_path / f"{k}", job) for k, job in enumerate(jobs)]
    (tmp_path / "unknown").mkdir()
    shutil.copy(reports[0] / "records.jsonl", tmp_path / "unknown")
    assert len(comparison([*reports, tmp_path / "unknown"]).verdicts) == 3
    manifest.write_text(manifest.read_text() + "\n")
    other = write_scores(tmp_path / "other", jobs[2])
    with pytest.raises(InputError, match="differ in manifest; "):
        comparison([reports[2], other])


def test_one_of_many_differences_may_be_chance() -> None:
    assert beyond_chance({"a": 0.04}) == {"a"}
    assert beyond_chance({"a": 0.04, "b": 0.9}) == set()
    assert beyond_chance({"a": 0.02, "b": 0.04, "c": math.nan}) == {"a", "b"}
    assert beyond_chance({}) == set()
