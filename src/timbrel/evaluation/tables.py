"""From records to numbers: means with intervals, distances between sets, retrieval."""

import csv
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from timbrel.evaluation.embeddings import Embedded
from timbrel.evaluation.frechet import frechet_distance, frechet_infinity
from timbrel.evaluation.run import Record, read_embedding
from timbrel.evaluation.scores import SCORE_NAMES
from timbrel.evaluation.statistics import mean_interval
from timbrel.evaluation.systems import TRUTH
from timbrel.evaluation.timbre_embedding import Heard

# Columns of the short table: score, heading.
SHORT = (
    ("note_f1", "note F1"),
    ("pitch_class_f1", "pitch-class F1"),
    ("octave_errors", "octave errors"),
    ("like_example", "like example"),
    ("like_source", "like source"),
    ("nearer", "nearer to example"),
    ("log_mel_distance", "dB off truth"),
)
LEAST_FILES = 4  # for a distance between sets


@dataclass(frozen=True)
class Row:
    """One system at one level (or at all: level "").

    Attributes:
        scores: name -> (mean, low, high) of a 95 % interval.
        cases: how many.
        failures: names of cases without output.
        identified: share of outputs whose nearest example, of all cases', is their own.
        frechet: to the ground truth of the same cases, (as it is, FAD-infinity).
        real_time: seconds of audio per second of computing, median.
    """

    system: str
    level: str
    scores: dict[str, tuple[float, float, float]]
    cases: int
    failures: tuple[str, ...]
    identified: float
    frechet: tuple[float, float]
    real_time: float


def systems_of(records: Iterable[Record]) -> list[str]:
    """In the order in which they ran."""
    return list(dict.fromkeys(r.system for r in records))


def levels_of(records: Iterable[Record]) -> list[str]:
    """In the order in which they ran."""
    return list(dict.fromkeys(r.level for r in records))


def rows(records: Sequence[Record], folder: Path, embedding: str = "musicnn") -> list[Row]:
    """All systems at all levels, then over all levels.

    Args:
        records: of an evaluation.
        folder: of the evaluation.
        embedding: for Fréchet distances, see `embeddings.embedder`.
    """
    embedded = Embedded(folder, embedding)
    levels = levels_of(records)
    return [
        _row([r for r in records if r.system == system and level in ("", r.level)], level, embedded)
        for level in (levels if len(levels) == 1 else [*levels, ""])
        for system in systems_of(records)
        if any(r.system == system and level in ("", r.level) for r in records)
    ]


def _row(mine: list[Record], level: str, embedded: Embedded) -> Row:
    speeds = [r.length / r.seconds for r in mine if r.seconds > 1e-3]
    return Row(
        system=mine[0].system,
        level=level,
        scores={name: mean_interval([r.scores[name] for r in mine]) for name in SCORE_NAMES},
        cases=len(mine),
        failures=tuple(r.case for r in mine if r.failure),
        # levels may share examples, so each is searched on its own
        identified=float(
            np.mean(
                [
                    identified([r for r in mine if r.level == name], embedded.folder)
                    for name in levels_of(mine)
                ]
            )
        ),
        frechet=_frechet(mine, embedded),
        real_time=float(np.median(speeds)) if speeds else math.nan,
    )


def vectors(mine: Sequence[Record], name: str, folder: Path) -> np.ndarray | None:
    """(n, dim) unit vectors of the discriminant, or None if an embedding is missing."""
    found = [read_embedding(folder, name, r.case) for r in mine]
    if not found or any(f is None for f in found):
        return None
    table = np.stack([Heard(f).discriminant for f in found if f is not None])
    unit: np.ndarray = table / np.linalg.norm(table, axis=1, keepdims=True)
    return unit


def identified(mine: Sequence[Record], folder: Path) -> float:
    """Share of outputs that are nearest to their own example; chance is 1 / cases."""
    mine = [r for r in mine if not r.failure]
    outputs = vectors(mine, mine[0].system, folder) if mine else None
    examples = vectors(mine, "example", folder)
    if outputs is None or examples is None:
        return math.nan
    return float(((outputs @ examples.T).argmax(1) == np.arange(len(mine))).mean())


def _frechet(mine: Sequence[Record], embedded: Embedded) -> tuple[float, float]:
    """To the ground truth of the same cases."""
    found = [embedded.of(r.system, r.case) for r in mine]
    truth = [embedded.of(TRUTH, r.case) for r in mine]
    if len(mine) < LEAST_FILES or any(f is None for f in (*found, *truth)):
        return math.nan, math.nan
    first, second = (np.concatenate([f for f in part if f is not None]) for part in (found, truth))
    return frechet_distance(first, second), frechet_infinity(first, second)


def number(value: float, digits: int = 2) -> str:
    """For people; a dash where there is none."""
    return f"{value:.{digits}f}" if math.isfinite(value) else "-"


def markdown(table: Sequence[Row]) -> str:
    """The short table, one for each level, for papers and docs."""
    lines: list[str] = []
    for level in dict.fromkeys(row.level for row in table):
        if lines:
            lines.append("")
        headings = ["", *(heading for _, heading in SHORT), "identified", "FAD", "FAD-inf"]
        lines += [f"{level or 'all levels'}", "", "| " + " | ".join(headings) + " |"]
        lines.append("|" + "---|" * len(headings))
        for row in table:
            if row.level == level:
                lines.append("| " + " | ".join(_cells(row)) + " |")
    return "\n".join(lines) + "\n"


def _cells(row: Row) -> list[str]:
    cells = [row.system + (f" ({len(row.failures)} failed)" if row.failures else "")]
    for name, _ in SHORT:
        mean, low, high = row.scores[name]
        exact = name == "note_f1" and math.isfinite(mean)
        cells.append(f"{mean:.2f} ({low:.2f} to {high:.2f})" if exact else number(mean))
    return [*cells, number(row.identified), *(number(v) for v in row.frechet)]


def write_json(table: Sequence[Row], settings: dict[str, Any], path: Path) -> None:
    """All rows, for machines; what does not exist is null."""

    def plain(value: float) -> float | None:
        return value if math.isfinite(value) else None

    document = {
        "settings": settings,
        "rows": [
            {
                "system": row.system,
                "level": row.level,
                "cases": row.cases,
                "failures": list(row.failures),
                "identified": plain(row.identified),
                "frechet": [plain(v) for v in row.frechet],
                "real_time": plain(row.real_time),
                "scores": {k: [plain(v) for v in values] for k, values in row.scores.items()},
            }
            for row in table
        ],
    }
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def write_csv(records: Sequence[Record], path: Path) -> None:
    """One line for each output."""
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["case", "level", "system", "failure", "seconds", *SCORE_NAMES])
        for r in records:
            values = (r.scores[name] for name in SCORE_NAMES)
            cells = (f"{v:.5g}" if math.isfinite(v) else "" for v in values)
            writer.writerow([r.case, r.level, r.system, r.failure, f"{r.seconds:.3f}", *cells])
