"""The tables of `benchmarks/aims.py` and `benchmarks/results.py`, from reports made up here."""

import importlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from timbrel.errors import InputError
from timbrel.evaluation.protocol import read_protocol
from timbrel.evaluation.run import Record
from timbrel.evaluation.scores import SCORE_NAMES
from timbrel.evaluation.systems import CODEC, EXAMPLE, TRUTH
from timbrel.evaluation.tables import NOTHING, SHORT, Row, read_json, write_json

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
NAMES = dict.fromkeys((*SCORE_NAMES, *(name for name, _, _ in SHORT)), NOTHING)
MODEL = "timbrel, from notes"
Values = Callable[[str, str], dict[str, float]]  # of a system at a level


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Imports a script of the benchmarks."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


def make_report(folder: Path, name: str, values: Values, cases: int = 3) -> Path:
    """A report of a protocol in which every case of a level has the same scores."""
    protocol = read_protocol(name)
    folder = folder / name
    folder.mkdir()
    table, lines = [], []
    for level in (*protocol.levels, ""):
        for system in (TRUTH, CODEC, EXAMPLE, MODEL):
            found = values(system, level)
            speed = found.pop("real_time", math.nan)
            spread = {k: (v, math.nan, math.nan) for k, v in found.items()}
            table.append(Row(system, level, NAMES | spread, cases, (), speed))
            scores = {k: v for k, v in found.items() if k in SCORE_NAMES}
            for case in range(cases if level else 0):
                facts: dict[str, Any] = {"target": str(case)}
                record = Record(f"{level}-{case:03d}", level, system, scores, "", 1.0, 8.0, facts)
                lines.append(record.to_json() + "\n")
    settings = {"protocol": {"name": name, "question": "Is it?", "levels": protocol.levels}}
    write_json(table, settings, folder / "report.json")
    (folder / "records.jsonl").write_text("".join(lines))
    return folder


def verdicts(table: str) -> dict[tuple[str, str], list[str]]:
    """(aim, protocol) -> value, truth and codec, verdict."""
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    return {(aim.split(":")[0], protocol): rest for aim, protocol, _, *rest in lines}


def test_a_table_of_rows_is_read_as_it_was_written(tmp_path: Path) -> None:
    table = [Row("a", "", NAMES | {"note_f1": (0.5, 0.4, 0.6)}, 3, ("c",), math.nan)]
    write_json(table, {"limit": 3}, tmp_path / "report.json")
    (row,), settings = read_json(tmp_path / "report.json")
    assert settings == {"limit": 3}
    assert (row.system, row.level, row.cases, row.failures) == ("a", "", 3, ("c",))
    assert row.values["note_f1"] == (0.5, 0.4, 0.6)
    assert all(math.isnan(v) for v in (row.real_time, *row.values["like_example"]))


def test_an_aim_is_reached_by_shares_of_the_truth_and_the_codec(
    tmp_path: Path, benchmark: Callable[[str], ModuleType]
) -> None:
    def values(system: str, level: str) -> dict[str, float]:
        notes = {TRUTH: 0.8, CODEC: 0.75, MODEL: 0.7}.get(system, 0.0)
        errors = 0.03 if system == MODEL else 0.01
        far = {CODEC: 2.0, MODEL: 3.9}.get(system, 0.0)
        return {
            "note_f1": notes, "octave_errors": errors, "nearer": 0.98, "frechet": far,
            "frechet_examples": 10 + far, "real_time": 14.0,
        }  # fmt: skip

    aims = benchmark("aims")
    report = aims.Report(make_report(tmp_path, "midi-to-audio", values))
    found = verdicts(aims.table({report.name: report}))
    assert len(found) == len(aims.AIMS)
    mine = {aim: cells for (aim, name), cells in found.items() if name == "midi-to-audio"}
    assert mine["note F1 over the truth's"] == ["0.88 (0.88 to 0.88)", "1.00, 0.94", "reached"]
    assert mine["note F1 over the codec's"][2] == "**not reached**"
    assert mine["octave errors"] == ["0.030", "0.010, 0.010", "**not reached**"]
    assert mine["nearer to example than source"][2] == "reached"
    assert mine["Fréchet distance over the codec's"] == ["1.95", "0.00, 1.00", "reached"]
    assert mine["the same, to the examples"] == ["1.16", "0.83, 1.00", "reached"]
    assert mine["times real time, one thread"] == ["14.0", "-", "**not reached**"]
    others = [cells for (_, name), cells in found.items() if name != "midi-to-audio"]
    assert all(cells == ["-", "-", "not measured"] for cells in others)


def test_levels_of_one_report_are_compared_with_each_other(
    tmp_path: Path, benchmark: Callable[[str], ModuleType]
) -> None:
    def voices(system: str, level: str) -> dict[str, float]:
        truth = {"1 voice": 0.8, "8 voices": 0.4}.get(level, 0.6)
        kept = {"1 voice": 1.0, "8 voices": 0.9}.get(level, 0.95)
        return {"note_f1": truth * (kept if system == MODEL else 1.0)}

    def faults(system: str, level: str) -> dict[str, float]:
        off = level == "jitter 40 ms" and system == MODEL
        return {"note_f1": 0.72 if off else 0.8, "given_f1": 0.78 if off else math.nan}

    def sounds(system: str, level: str) -> dict[str, float]:
        seen = {
            "seen instrument, seen recording": 1.0, "unseen instrument, seen recording": 0.8,
            "seen instrument, unseen recording": 0.6, "unseen instrument, unseen recording": 0.5,
        }  # fmt: skip
        return {"identified": seen.get(level, 0.7) if system == MODEL else 1.0}

    aims = benchmark("aims")
    made = {"polyphony": voices, "midi-faults": faults, "unseen": sounds}
    reports = {name: aims.Report(make_report(tmp_path, name, how)) for name, how in made.items()}
    found = {aim: cells for (aim, _), cells in verdicts(aims.table(reports)).items()}
    voiced = found["of truth's note F1, 8 voices over 1"]
    assert voiced == ["0.90 (0.90 to 0.90)", "1.00, 1.00", "reached"]
    lost = found["share of note F1 lost to 40 ms jitter"]
    assert lost == ["0.100 (0.100 to 0.100)", "-", "**not reached**"]
    assert found["the same, against the given notes"][0].startswith("0.025")
    assert found["the same, against the given notes"][2] == "reached"
    assert found["identified, seen instruments"][0] == "0.80"  # of 1.0 and 0.6
    assert found["identified, seen recordings"] == ["0.90", "1.00, 1.00, chance 0.33", "reached"]
    missed = ["0.55", "1.00, 1.00, chance 0.33", "**not reached**"]
    assert found["identified, unseen recordings"] == missed


def test_the_later_report_of_a_protocol_counts_and_given_cases_are_no_protocol(
    tmp_path: Path, benchmark: Callable[[str], ModuleType]
) -> None:
    folder = make_report(tmp_path, "polyphony", lambda system, level: {"note_f1": 0.5})
    document = json.loads((folder / "report.json").read_text())
    document["settings"]["protocol"] = None
    (folder / "report.json").write_text(json.dumps(document))
    aims, results = benchmark("aims"), benchmark("results")
    for make in (results.table, lambda folder: results.summary([folder])):
        with pytest.raises(InputError, match="is of no protocol"):
            make(folder)
    report = aims.Report(folder)
    assert "reached" not in aims.table({report.name: report})


def test_tables_show_the_distance_beside_the_codecs_and_only_columns_with_numbers(
    tmp_path: Path, benchmark: Callable[[str], ModuleType]
) -> None:
    def values(system: str, level: str) -> dict[str, float]:
        far = {CODEC: 2.1, MODEL: 11.1}.get(system, 0.0)
        like = {TRUTH: 0.9, EXAMPLE: 0.4 if level == "a room" else 1.0}.get(system, 0.5)
        return {"note_f1": 0.5, "like_example": like} | ({} if level else {"frechet": far})

    results = benchmark("results")
    lines = results.table(make_report(tmp_path, "recorded", values)).splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "|" in line]
    head, room, everything = rows[0], next(r for r in rows if r[0] == "a room"), rows[-1]
    distance = head.index("Fréchet distance (codec's)")
    assert (room[distance], everything[distance]) == ("-", "11.1 (2.1)")
    given = head.index("of the example as given")
    assert (room[given - 1], room[given]) == ("0.50 (0.90)", "0.40")
    assert "beat F1" not in head
    plain = results.table(make_report(tmp_path, "polyphony", lambda s, _: {"note_f1": 0.5}))
    assert "Fréchet" not in plain
    assert "as given" not in plain


def test_a_summary_has_a_line_for_each_protocol_over_all_its_cases(
    tmp_path: Path, benchmark: Callable[[str], ModuleType]
) -> None:
    def values(system: str, level: str) -> dict[str, float]:
        return {"note_f1": 0.8 if system == TRUTH else 0.6, "like_example": 0.5}

    names = ("polyphony", "range")
    folders = [make_report(tmp_path, name, values) for name in names]
    text = benchmark("results").summary(folders)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    assert [row[0] for row in rows[2:]] == list(names)
    for row in rows[2:]:
        found = dict(zip(rows[0], row, strict=True))
        assert found["note F1 of truth"] == "0.80"
        assert found["**of the model**"].startswith("0.60")
        assert found["cases"] == "3"
