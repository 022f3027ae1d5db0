"""Reports side by side: is the difference more than chance?"""

import math
from collections.abc import Sequence
from pathlib import Path

from timbrel.errors import InputError
from timbrel.evaluation.run import Record, read_records
from timbrel.evaluation.statistics import paired_difference
from timbrel.evaluation.systems import REFERENCES
from timbrel.evaluation.tables import SHORT, number

SIGNIFICANT = 0.05


def comparison(folders: Sequence[Path]) -> str:
    """A Markdown table: each model against the first, on the cases that both have.

    Differences are (other - first), with their 95 % interval by a paired bootstrap; bold
    where chance would give that sign with p < 0.05.

    Raises:
        InputError: fewer than two reports, a folder without one, or no case in common.
    """
    if len(folders) < 2:
        raise InputError("give two or more reports to compare")
    first = _judged(folders[0])
    lines = ["| | " + " | ".join(heading for _, heading in SHORT) + " | cases |"]
    lines.append("|" + "---|" * (len(SHORT) + 2))
    means = [_mean([r.scores[name] for r in first.values()]) for name, _ in SHORT]
    lines.append(_line(str(folders[0]), [number(m) for m in means], len(first)))
    for folder in folders[1:]:
        other = _judged(folder)
        common = sorted(set(first) & set(other))
        if not common:
            raise InputError(
                f"{folders[0]} and {folder} have no case in common: evaluate both under one "
                "protocol, with the same fonts"
            )
        cells = []
        for name, _ in SHORT:
            before, after = ([part[c].scores[name] for c in common] for part in (first, other))
            difference, low, high, p = paired_difference(before, after)
            if not math.isfinite(difference):
                cells.append("-")
                continue
            mark = "**" if p < SIGNIFICANT else ""
            cells.append(f"{mark}{difference:+.3f}{mark} ({low:+.3f} to {high:+.3f})")
        lines.append(_line(f"{folder} - {folders[0]}", cells, len(common)))
    return "\n".join(lines) + "\n"


def _judged(folder: Path) -> dict[str, Record]:
    """The model's records by case; reference rows are the same in every report."""
    found = {r.case: r for r in read_records(folder) if r.system not in REFERENCES}
    if not found:
        raise InputError(f"{folder} holds no report of a model; make one with timbrel evaluate")
    return found


def _mean(values: Sequence[float]) -> float:
    kept = [v for v in values if math.isfinite(v)]
    return sum(kept) / len(kept) if kept else math.nan


def _line(name: str, cells: Sequence[str], cases: int) -> str:
    return f"| {name} | " + " | ".join(cells) + f" | {cases} |"
