"""The tables of a study: one row a recipe and door of structure."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

from timbrel.ablation.study import Setting, Study, recipes_of
from timbrel.evaluation.compare import SIGNIFICANT, difference
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
    "fresh adversary",
    "of the sound",
    "instrument in timbre",
    "pitch in timbre",
    "held-out loss",
    "of the guess",
    "steps",
    "minutes",
)
DOORS = ("notes", "audio")
# What the same probes find where no code is; the same for all recipes.
CONTROLS = {
    "sound": "probe of the sound itself",
    "notes": "probe of the written notes",
    "noise": "probe of noise, at most",
}
COMPARED = {
    "note_f1": "note F1",
    "like_example": "like example",
    "log_mel_distance": "dB off truth",
}


def table(study: Study, setting: Setting, folder: Path) -> str:
    """Markdown of what is done so far; the first line is the ground truth's.

    Columns: scores as of `timbrel evaluate`; "instrument in structure" is the accuracy of a
    linear probe on structure codes of audio, "instrument in timbre" the same on timbre codes;
    "fresh adversary" is the error over chance of an adversary that is trained on structure codes
    of audio when all else is done, "of the sound" the same on the sound itself;
    "pitch in timbre" is the share of the variance of pitch within an instrument that a probe
    finds in timbre codes. "held-out loss" is the denoiser's, on the same items for all recipes
    and to be compared within one objective, "of the guess" the outline's. Rows of their own say
    what the same probes find in the sound itself, in the written notes and in noise. A second
    table compares recipes case by case.
    """
    judged = folder / "judged"
    records = read_records(judged)
    found = {row.system: row for row in _over_all_levels(records, judged)}
    lines = ["| " + " | ".join(HEADINGS) + " |", "|" + "---|" * len(HEADINGS)]
    if TRUTH in found:
        lines.append(_line([TRUTH, "", *_scores(found[TRUTH])]))
    recipes = recipes_of(study, setting)
    lines += _controls([folder / recipe.name for recipe in recipes])
    for recipe in recipes:
        home = folder / recipe.name
        failure = home / "failure.txt"
        if failure.is_file():
            lines.append(_line([recipe.name, failure.read_text().strip()]))
        for door in DOORS:
            row = found.get(f"{recipe.name}, from {door}")
            if row is not None:
                lines.append(_line([recipe.name, door, *_scores(row), *_facts(home, door)]))
    compared = against_first(records, [recipe.name for recipe in recipes])
    notes = [f"* {r.name}: {r.question}" for r in recipes if r.question]
    return "\n".join([*lines, "", *compared, *notes]) + "\n"


def against_first(records: Sequence[Record], names: Sequence[str]) -> list[str]:
    """Markdown: recipes less the first one, through the same door, on the cases of both.

    Args:
        records: of the study.
        names: of the recipes.

    Returns:
        A sentence and a table, or nothing if there is nothing to compare.
    """
    judged: dict[str, dict[str, Record]] = {}
    for record in records:
        judged.setdefault(record.system, {})[record.case] = record
    first, *others = names
    lines = []
    for name, door in ((name, door) for name in others for door in DOORS):
        before, after = (judged.get(f"{system}, from {door}", {}) for system in (first, name))
        common = sorted(set(before) & set(after))
        if common:
            scores = [
                [[part[case].scores[score] for case in common] for part in (before, after)]
                for score in COMPARED
            ]
            groups = [before[case].sounds for case in common]
            found = (difference(old, new, groups) for old, new in scores)
            cells = [name, door, *found, str(len(common))]
            lines.append("| " + " | ".join(cells) + " |")
    if not lines:
        return []
    headings = ["recipe", "structure from", *COMPARED.values(), "cases"]
    return [
        f"Recipe less `{first}`, case by case (95 % interval by a paired bootstrap; bold where "
        f"chance would give that sign with p < {SIGNIFICANT}):",
        "",
        "| " + " | ".join(headings) + " |",
        "|" + "---|" * len(headings),
        *lines,
        "",
    ]


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
        exact = name == "note_f1" and math.isfinite(low)
        cells.append(f"{mean:.2f} ({low:.2f} to {high:.2f})" if exact else number(mean))
    return [*cells, number(row.values["identified"][0])]


def _measured(home: Path, name: str) -> dict[str, float]:
    path = home / name
    found: dict[str, float] = json.loads(path.read_text()) if path.is_file() else {}
    return found


def _controls(homes: Sequence[Path]) -> list[str]:
    """Rows of what the probes find where no code is, from any recipe that was probed."""
    probed = (_measured(home, "probe.json") for home in homes)
    found = next((found for found in probed if "sound/instrument" in found), {})
    lines = []
    for control, title in CONTROLS.items() if found else ():
        instrument = number(found.get(f"{control}/instrument", math.nan))
        pitch = number(found.get(f"{control}/pitch", math.nan))
        blank = [""] * (HEADINGS.index("instrument in structure") - 1)
        # an adversary guesses vectors, which are each recipe's own
        lines.append(_line([title, *blank, instrument, "", "", instrument, pitch]))
    return lines


def _facts(home: Path, door: str) -> list[str]:
    """Probe, losses, steps and minutes of one recipe."""
    found, losses = _measured(home, "probe.json"), _measured(home, "losses.json")
    leaks = [
        number(found.get(name, math.nan))
        for name in ("structure/instrument", "structure/error_over_chance")
    ]
    last = last_line(home / "run", "progress")
    minutes = last.get("seconds", math.nan) / 60
    return [
        *(leaks if door == "audio" else ["as the notes"] * len(leaks)),
        number(found.get("sound/error_over_chance", math.nan)),
        number(found.get("timbre/instrument", math.nan)),
        number(found.get("timbre/pitch", math.nan)),
        number(losses.get("valid/both", math.nan), 3),
        number(losses.get("valid/guess", math.nan), 3),
        f"{last.get('step', 0):g}",
        number(minutes, 1),
    ]
