"""Reports side by side: is the difference more than chance?"""

import math
from collections.abc import Sequence
from pathlib import Path

from timbrel.errors import InputError
from timbrel.evaluation.run import Record, read_records
from timbrel.evaluation.scores import SCORE_NAMES
from timbrel.evaluation.statistics import paired_difference
from timbrel.evaluation.systems import REFERENCES
from timbrel.evaluation.tables import SHORT, number, systems_of

SIGNIFICANT = 0.05
PER_CASE = [(name, heading) for name, heading, _ in SHORT if name in SCORE_NAMES]


def comparison(folders: Sequence[Path]) -> str:
    """A Markdown table: all that was judged against the first, on the cases that both have.

    Differences are (other - first), with their 95 % interval by a paired bootstrap; bold
    where chance would give that sign with p < 0.05.

    Raises:
        InputError: less than two judged systems, a folder without a report, or no case in
            common.
    """
    judged = [entry for folder in folders for entry in _judged(folder)]
    if len(judged) < 2:
        raise InputError("give two or more reports to compare")
    (name, first), *others = judged
    columns = [c for c in PER_CASE if math.isfinite(_mean(_scores(first, c[0])))]
    lines = ["| | " + " | ".join(heading for _, heading in columns) + " | cases |"]
    lines.append("|" + "---|" * (len(columns) + 2))
    means = [number(_mean(_scores(first, column))) for column, _ in columns]
    lines.append(_line(name, means, len(first)))
    for other_name, other in others:
        common = sorted(set(first) & set(other))
        if not common:
            raise InputError(
                f"{name} and {other_name} have no case in common: evaluate both under one "
                "protocol, with the same fonts"
            )
        cells = []
        for column, _ in columns:
            before, after = ([part[c].scores[column] for c in common] for part in (first, other))
            cells.append(difference(before, after))
        lines.append(_line(f"{other_name} - {name}", cells, len(common)))
    return "\n".join(lines) + "\n"


def difference(before: Sequence[float], after: Sequence[float]) -> str:
    """The table's cell of (after - before) on the same cases."""
    mean, low, high, p = paired_difference(before, after)
    if not math.isfinite(mean):
        return "-"
    mark = "**" if p < SIGNIFICANT else ""
    return f"{mark}{mean:+.3f}{mark} ({low:+.3f} to {high:+.3f})"


def _judged(folder: Path) -> list[tuple[str, dict[str, Record]]]:
    """Name and records by case of all that was judged; reference rows are the same anywhere."""
    records = [r for r in read_records(folder) if r.system not in REFERENCES]
    systems = systems_of(records)
    if not systems:
        raise InputError(f"{folder} holds no report of a model; make one with timbrel evaluate")
    return [
        (
            str(folder) if len(systems) == 1 else f"{folder}: {system}",
            {r.case: r for r in records if r.system == system},
        )
        for system in systems
    ]


def _scores(records: dict[str, Record], name: str) -> list[float]:
    return [r.scores[name] for r in records.values()]


def _mean(values: Sequence[float]) -> float:
    kept = [v for v in values if math.isfinite(v)]
    return sum(kept) / len(kept) if kept else math.nan


def _line(name: str, cells: Sequence[str], cases: int) -> str:
    return f"| {name} | " + " | ".join(cells) + f" | {cases} |"
