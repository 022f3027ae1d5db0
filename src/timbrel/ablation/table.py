"""The table of a study: one row a recipe and door of structure."""

import json
import math
from pathlib import Path

from timbrel.ablation.study import Setting, Study, recipes_of
from timbrel.evaluation.run import Record, read_records
from timbrel.evaluation.systems import TRUTH
from timbrel.evaluation.tables import Row, number, rows
from timbrel.training.run import last_line

SCORES = ("note_f1", "pitch_class_f1", "octave_errors", "like_example", "like_source", "nearer")
HEADINGS = (
    "recipe",
    "structure from",
    "note F1",
    "pitch-class F1",
    "octave errors",
    "like example",
    "like source",
    "nearer to example",
    "identified",
    "instrument in structure",
    "instrument in timbre",
    "pitch in timbre",
    "steps",
    "minutes",
)


def table(study: Study, setting: Setting, folder: Path) -> str:
    """Markdown of what is done so far; the first line is the ground truth's.

    Columns: scores as of `timbrel evaluate`; "instrument in structure" is the accuracy of a
    linear probe on structure codes of audio (in brackets: on the written notes alone, where
    register gives much away); "pitch in timbre" is the share of the variance of pitch within
    an instrument that a probe finds in timbre codes.
    """
    judged = folder / "judged"
    records = read_records(judged)
    found = {row.system: row for row in _over_all_levels(records, judged)}
    lines = ["| " + " | ".join(HEADINGS) + " |", "|" + "---|" * len(HEADINGS)]
    if TRUTH in found:
        lines.append(_line([TRUTH, "", *_scores(found[TRUTH])]))
    for recipe in recipes_of(study, setting):
        home = folder / recipe.name
        failure = home / "failure.txt"
        if failure.is_file():
            lines.append(_line([recipe.name, failure.read_text().strip()]))
        for door in ("notes", "audio"):
            row = found.get(f"{recipe.name}, from {door}")
            if row is not None:
                lines.append(_line([recipe.name, door, *_scores(row), *_facts(home, door)]))
    notes = [f"* {r.name}: {r.question}" for r in recipes_of(study, setting) if r.question]
    return "\n".join([*lines, "", *notes]) + "\n"


def _over_all_levels(records: list[Record], judged: Path) -> list[Row]:
    table_rows = rows(records, judged)
    several = any(row.level == "" for row in table_rows)
    return [row for row in table_rows if row.level == "" or not several]


def _line(cells: list[str]) -> str:
    return "| " + " | ".join([*cells, *[""] * (len(HEADINGS) - len(cells))]) + " |"


def _scores(row: Row) -> list[str]:
    cells = []
    for name in SCORES:
        mean, low, high = row.values[name]
        exact = name == "note_f1" and math.isfinite(mean)
        cells.append(f"{mean:.2f} ({low:.2f} to {high:.2f})" if exact else number(mean))
    return [*cells, number(row.values["identified"][0])]


def _facts(home: Path, door: str) -> list[str]:
    """Probe, steps and minutes of one recipe."""
    path = home / "probe.json"
    found = json.loads(path.read_text()) if path.is_file() else {}
    inside = found.get("structure/instrument", math.nan)
    fair = found.get("structure/instrument_from_notes", math.nan)
    leak = f"{number(inside)} ({number(fair)})" if door == "audio" else "as the notes"
    last = last_line(home / "run", "progress")
    minutes = last.get("seconds", math.nan) / 60
    return [
        leak,
        number(found.get("timbre/instrument", math.nan)),
        number(found.get("timbre/pitch", math.nan)),
        f"{last.get('step', 0):g}",
        number(minutes, 1),
    ]
