"""The report of an evaluation by a random model: its numbers, its page and its files."""

import json
import shutil
from pathlib import Path

import pytest

from sounds import RATE, tone
from timbrel.audio import Audio
from timbrel.errors import InputError
from timbrel.evaluation.compare import comparison
from timbrel.evaluation.figures import case_figure, level_panels
from timbrel.evaluation.protocol import read_protocol
from timbrel.evaluation.report import write_report
from timbrel.evaluation.run import Record, keep, read_records
from timbrel.evaluation.systems import EXAMPLE, SOURCE, TRUTH
from timbrel.evaluation.tables import read_json
from timbrel.notes import Notes


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
    assert page.count("src='data:audio/mpeg;base64,") >= 4
    assert "src='data:image/png;base64," in page
    assert "http://" not in page
    assert "https://" not in page
    assert (report / "scores.csv").read_text().count("\n") == 1 + len(read_records(report))
    assert "| ground truth |" in (report / "table.md").read_text()


def test_levels_are_drawn_by_what_they_vary() -> None:
    panels = level_panels(read_protocol("midi-faults").levels)
    assert (
        True,
        ["clean", "jitter 10 ms", "jitter 20 ms", "jitter 40 ms", "jitter 100 ms"],
    ) in panels
    assert panels[-1][0] is False
    assert panels[-1][1][0] == "clean"
    assert level_panels(read_protocol("speed").levels)[0][1][0] == "1 step"
    assert level_panels(read_protocol("unseen").levels)[0][0] is False
    one_by_one = read_protocol("recorded").levels
    assert level_panels(one_by_one) == [(False, list(one_by_one))]
    drawn = {name for _, names in panels for name in names}
    assert drawn == set(read_protocol("midi-faults").levels)


def test_a_case_without_notes_is_drawn_all_the_same(tmp_path: Path) -> None:
    record = Record("c", "level", "ours", {}, "", 1.0, 1.0, {})
    keep(tmp_path, "c", "ours", Audio(tone(440, 1.0)[None], RATE))
    Notes.empty().write(tmp_path / "audio" / "c.mid")
    assert "src='data:image/png;base64," in case_figure(record, None, tmp_path)


def test_damaged_files_of_a_report_are_made_anew_or_named(report: Path, tmp_path: Path) -> None:
    folder = tmp_path / "report"
    shutil.copytree(report, folder)
    whole = write_report(folder)
    (folder / "report.json").write_text('{"settings": ')
    with pytest.raises(InputError, match=r"report\.json is missing or damaged"):
        read_json(folder / "report.json")
    (folder / "report.json").write_text('{"rows": [3]}')
    with pytest.raises(InputError, match=r"report\.json is no report"):
        read_json(folder / "report.json")
    assert len(write_report(folder)) == len(whole)
    for text in ("[]", '{"judges'):
        (folder / "settings.json").write_text(text)
        for use in (write_report, lambda folder: comparison([folder, report])):
            with pytest.raises(InputError, match=r"settings\.json is .*damaged"):
                use(folder)


def test_a_studys_judgements_make_a_report(report: Path, tmp_path: Path) -> None:
    folder = tmp_path / "judged"
    shutil.copytree(report, folder)
    (folder / "settings.json").write_text('{"protocol": "midi-to-audio", "cases": 2}')
    write_report(folder)
    assert "Timbrel evaluation: midi-to-audio" in (folder / "index.html").read_text()


def test_a_report_written_again_keeps_its_embedding(
    report: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(report, tmp_path / "report")
    asked = []
    monkeypatch.setattr(
        "timbrel.evaluation.report.rows",
        lambda records, folder, embedding: asked.append(embedding) or [],
    )
    monkeypatch.setattr("timbrel.evaluation.report.page", lambda *_: "")
    for embedding in (None, "clap:x", None):
        write_report(tmp_path / "report", embedding)
    assert asked == ["musicnn", "clap:x", "clap:x"]
