"""From records to numbers: means with intervals, distances between sets, retrieval."""

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from timbrel.data.files import read_object, write_text
from timbrel.errors import InputError
from timbrel.evaluation.embeddings import Embedded
from timbrel.evaluation.frechet import frechet_distance, frechet_infinity, song_distances
from timbrel.evaluation.hearing import Hearing
from timbrel.evaluation.retrieval import reciprocal_ranks
from timbrel.evaluation.run import Record, memory_of
from timbrel.evaluation.scores import ALL_FAILED, SCORE_NAMES, WHY
from timbrel.evaluation.statistics import mean_interval, ratio_interval
from timbrel.evaluation.systems import EXAMPLE, REFERENCES, SOURCE, TRUTH

# Columns of the short table: name in `Row.values`, heading, what it is.
SHORT = (
    ("note_f1", "note F1", "notes heard with the right pitch and onset (50 ms)"),
    ("relative", "of truth's", "note F1, as a share of the ground truth's on the same cases"),
    ("given_f1", "given F1", "note F1 against the notes as given, faults included"),
    ("pitch_class_f1", "pitch-class F1", "note F1 with octaves folded"),
    ("octave_errors", "octave errors", "share of notes heard only in another octave"),
    ("beat_f1", "beat F1", "beats found within 70 ms"),
    ("beats_any_level", "beats, any level", "beats followed, also at half or twice the tempo"),
    ("drum_onset_f1", "drum onset F1", "drum hits found within 50 ms"),
    ("found", "piece found", "mean reciprocal rank of the piece among all of the level, by chroma"),
    ("note_drift", "note F1 drift", "note F1 of the last third less that of the first"),
    ("like_example", "like example", "cosine with the example, by the timbre judge"),
    ("like_source", "like source", "cosine with the source: timbre that leaked"),
    ("nearer", "nearer to example", "share of outputs more like the example than the source"),
    ("log_mel_distance", "dB off truth", "RMS difference of log-mel spectra to the ground truth"),
    ("level_distance", "dB off its level", "mean difference of levels, second by second"),
    (
        "structure_apart",
        "structure off notes",
        "structure heard in the source, off that of its written notes; 1: as if nothing were heard",
    ),
    ("identified", "identified", "share of outputs whose nearest example is of their own sound"),
    ("song_frechet", "FAD per song", "Fréchet distance of each output to all ground truths"),
    ("frechet", "FAD", "Fréchet distance of all outputs to all ground truths"),
    ("frechet_infinity", "FAD-inf", "the same, extrapolated to infinitely many samples"),
    (
        "frechet_examples",
        "FAD to examples",
        "Fréchet distance of all outputs to all examples: real sounds that play something else",
    ),
)
LEAST_FILES = 4  # for a distance between sets, or a search among them
FEW = f"fewer than {LEAST_FILES} files"
REASONS = {
    **WHY,
    "relative": "nothing is heard in the ground truth, or there is none",
    "found": f"no whole pieces, or {FEW}",
    "identified": "there is no output",
    "song_frechet": f"{FEW}, or no ground truth",
    "frechet": f"{FEW}, or no ground truth",
    "frechet_infinity": f"{FEW}, or no ground truth",
    "frechet_examples": f"{FEW}, or no examples",
}
COLUMNS = {*SCORE_NAMES, *(name for name, _, _ in SHORT)}
Interval = tuple[float, float, float]
NOTHING: Interval = (math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class Row:
    """One system at one level (or at all: level "").

    Attributes:
        values: name -> (mean, low, high) of a 95 % interval; all scores, and of sets those
            in `SHORT`. What is one number for a set has no interval: low and high are NaN.
        cases: how many.
        failures: names of cases without output.
        real_time: seconds of audio per second of computing, median.
    """

    system: str
    level: str
    values: dict[str, Interval]
    cases: int
    failures: tuple[str, ...]
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
    heard = recall_all(records, folder)
    by_case = {(r.system, r.case): r for r in records}
    levels = levels_of(records)
    return [
        _row([r for r in records if r.system == system and level in ("", r.level)], level,
             embedded, heard, by_case)
        for level in (levels if len(levels) == 1 else [*levels, ""])
        for system in systems_of(records)
        if any(r.system == system and level in ("", r.level) for r in records)
    ]  # fmt: skip


def recall_all(records: Iterable[Record], folder: Path) -> dict[str, Hearing]:
    """What was heard in all outputs and examples, by its name in the memory."""
    memory = memory_of(folder)
    names = {name for r in records for name in (r.heard, r.example)}
    found = {name: memory.recall(name) for name in names}
    return {name: heard for name, heard in found.items() if heard is not None}


def _row(
    mine: list[Record],
    level: str,
    embedded: Embedded,
    heard: Mapping[str, Hearing],
    by_case: Mapping[tuple[str, str], Record],
) -> Row:
    speeds = [r.length / r.seconds for r in mine if r.seconds > 1e-3]
    truth = [by_case.get((TRUTH, r.case)) for r in mine]
    sources = [by_case.get((SOURCE, r.case)) for r in mine]
    right = [math.nan if t is None else t.scores["note_f1"] for t in truth]
    # levels may share examples and pieces, so each is searched on its own
    parts = [[k for k, r in enumerate(mine) if r.level == name] for name in levels_of(mine)]
    own = [identified([mine[k] for k in part], heard) for part in parts]
    ranks = [_found([mine[k] for k in part], [sources[k] for k in part], heard) for part in parts]
    beside = _embeddings(mine, truth, embedded)
    examples = _embeddings(mine, [by_case.get((EXAMPLE, r.case)) for r in mine], embedded)
    groups = [r.sounds for r in mine]
    in_parts = [groups[k] for part, found in zip(parts, ranks, strict=True) if found for k in part]
    values = {name: mean_interval([r.scores[name] for r in mine], groups) for name in SCORE_NAMES}
    values |= {
        "relative": ratio_interval([r.scores["note_f1"] for r in mine], right, groups),
        "found": mean_interval([rank for part in ranks for rank in part], in_parts),
        "identified": _alone(float(np.mean(own))),
        "song_frechet": mean_interval(_songs(beside, len(mine)), groups),
        "frechet": _alone(_distance(frechet_distance, beside)),
        "frechet_infinity": _alone(_distance(frechet_infinity, beside)),
        "frechet_examples": _alone(_distance(frechet_distance, examples)),
    }
    return Row(
        system=mine[0].system,
        level=level,
        values=values,
        cases=len(mine),
        failures=tuple(r.case for r in mine if r.failure),
        real_time=float(np.median(speeds)) if speeds else math.nan,
    )


def _alone(value: float) -> Interval:
    return float(value), math.nan, math.nan


def vectors(names: Sequence[str], heard: Mapping[str, Hearing]) -> np.ndarray | None:
    """(n, dim) unit vectors of the judge, or None if a memory is missing."""
    found = [heard.get(name) for name in names]
    if not found or any(f is None for f in found):
        return None
    table = np.stack([f.timbre.judge for f in found if f is not None])
    unit: np.ndarray = table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-9)
    return unit


def identified(mine: Sequence[Record], heard: Mapping[str, Hearing]) -> float:
    """Share of outputs whose nearest example is of their own sound; by chance it is `chance`.

    Several cases may ask for one sound, each with an example of its own: all of these are right.
    An output that failed is not identified, but its example is one of those searched.
    """
    made, searched = [r for r in mine if not r.failure], [r for r in mine if r.example]
    examples = vectors([r.example for r in searched], heard)
    outputs = vectors([r.heard for r in made], heard)
    if outputs is None or examples is None:
        return 0.0 if mine and not made else math.nan
    nearest = (outputs @ examples.T).argmax(1)
    right = [_sound(searched[k]) == _sound(r) for k, r in zip(nearest, made, strict=True)]
    return sum(right) / len(mine)


def chance(mine: Sequence[Record]) -> float:
    """What `identified` is if outputs are nearest to any example: a little over 1 / cases."""
    sounds = [_sound(record) for record in mine]
    return float(np.mean([sounds.count(sound) / len(sounds) for sound in sounds]))


def _sound(record: Record) -> object:
    """What tells the sound that a case asks for: its timbre, or an example that is unique."""
    return record.facts.get("target", record.example)


def _found(
    mine: Sequence[Record], sources: Sequence[Record | None], heard: Mapping[str, Hearing]
) -> list[float]:
    """1 / rank of each output's piece among the sources of all cases, if they are pieces.

    In the order of `mine`; none at all if they are no pieces.
    """
    pieces = [None if s is None else heard.get(s.heard) for s in sources]
    whole = all(math.isfinite(r.scores["beat_f1"]) or r.failure for r in mine)
    if len(mine) < LEAST_FILES or not whole or any(p is None for p in pieces):
        return []
    made = {k: heard[r.heard].chroma for k, r in enumerate(mine) if r.heard in heard}
    searched = [p.chroma for p in pieces if p is not None]
    ranks = dict(
        zip(made, reciprocal_ranks(list(made.values()), list(made), searched), strict=True)
    )
    return [ranks.get(k, 0.0) for k in range(len(mine))]


Pairs = dict[int, tuple[np.ndarray, np.ndarray]]


def _embeddings(
    mine: Sequence[Record], others: Sequence[Record | None], embedded: Embedded
) -> Pairs:
    """Of outputs, each beside another sound of its case, by place; none at all if few have both."""
    found = [embedded.of(r) for r in mine]
    right = [None if r is None else embedded.of(r) for r in others]
    both = enumerate(zip(found, right, strict=True))
    pairs = {k: (f, r) for k, (f, r) in both if f is not None and r is not None}
    return pairs if len(pairs) >= LEAST_FILES else {}


def _distance(measure: Callable[[np.ndarray, np.ndarray], float], pairs: Pairs) -> float:
    """Between all outputs and all sounds beside them; NaN if there are none."""
    if not pairs:
        return math.nan
    first, second = (np.concatenate(part) for part in zip(*pairs.values(), strict=True))
    return measure(first, second)


def _songs(pairs: Pairs, count: int) -> list[float]:
    """Of each of so many outputs to all sounds beside them; NaN where one is missing."""
    if not pairs:
        return [math.nan] * count
    songs, right = zip(*pairs.values(), strict=True)
    found = dict(zip(pairs, song_distances(songs, np.concatenate(right)), strict=True))
    return [found.get(k, math.nan) for k in range(count)]


def number(value: float, digits: int = 2) -> str:
    """For people; a dash where there is none."""
    return f"{value:.{digits}f}" if math.isfinite(value) else "-"


def shown(table: Sequence[Row]) -> list[tuple[str, str, str]]:
    """The columns of `SHORT` in which there is anything."""
    return [c for c in SHORT if any(math.isfinite(row.values[c[0]][0]) for row in table)]


def missing(table: Sequence[Row]) -> list[str]:
    """Why some cells hold no number: a sentence for each reason."""
    reasons: dict[str, list[str]] = {}
    for name, heading, _ in shown(table):
        empty = [row for row in table if not math.isfinite(row.values[name][0])]
        for row in empty:
            why = ALL_FAILED if len(row.failures) == row.cases else REASONS.get(name, ALL_FAILED)
            found = reasons.setdefault(why, [])
            if heading not in found:
                found.append(heading)
    return [f"no {', '.join(headings)}: {why}" for why, headings in reasons.items()]


def heard_structure(table: Sequence[Row]) -> list[str]:
    """How far structure from audio lies from that of its notes: a sentence for each system."""
    found: dict[str, str] = {}
    for row in table:  # all levels come last
        mean, low, high = row.values["structure_apart"]
        if math.isfinite(mean):
            spread = f" ({low:.2f} to {high:.2f})" if math.isfinite(low) else ""
            found[row.system] = (
                f"{row.system}: the structure that it hears in recordings lies {mean:.2f}{spread} "
                "off that of their written notes (0: the same, 1: as if nothing had been heard)"
            )
    return list(found.values())


def markdown(table: Sequence[Row]) -> str:
    """The short table, one for each level, for papers and docs."""
    columns = shown(table)
    lines: list[str] = []
    for level in dict.fromkeys(row.level for row in table):
        if lines:
            lines.append("")
        headings = ["", *(heading for _, heading, _ in columns), "times real time", "cases"]
        lines += [f"{level or 'all levels'}", "", "| " + " | ".join(headings) + " |"]
        lines.append("|" + "---|" * len(headings))
        for row in table:
            if row.level == level:
                cells = [_cell(row, name) for name, _, _ in columns]
                speed = "" if row.system in REFERENCES else number(row.real_time, 1)
                lines.append("| " + " | ".join([title(row), *cells, speed, str(row.cases)]) + " |")
    notes = [*heard_structure(table), *missing(table)]
    lines += ["", *(f"\\- {note}.  " for note in notes)]
    return "\n".join(lines).rstrip() + "\n"


def title(row: Row) -> str:
    """The system, and how often it failed."""
    return row.system + (f" ({len(row.failures)} failed)" if row.failures else "")


def _cell(row: Row, name: str) -> str:
    mean, low, high = row.values[name]
    exact = name == "note_f1" and math.isfinite(low)
    return f"{mean:.2f} ({low:.2f} to {high:.2f})" if exact else number(mean)


def write_json(table: Sequence[Row], settings: dict[str, Any], path: Path) -> None:
    """All rows, for machines; what does not exist is null, and "reasons" says why."""

    def plain(value: float) -> float | None:
        return value if math.isfinite(value) else None

    document = {
        "settings": settings,
        "reasons": REASONS,
        "rows": [
            {
                "system": row.system,
                "level": row.level,
                "cases": row.cases,
                "failures": list(row.failures),
                "real_time": plain(row.real_time),
                "scores": {k: [plain(v) for v in values] for k, values in row.values.items()},
            }
            for row in table
        ],
    }
    write_text(path, json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> tuple[list[Row], dict[str, Any]]:
    """The inverse of `write_json`: all rows, and the settings.

    Raises:
        InputError: there is no such file, or it is damaged.
    """
    cure = "`timbrel evaluate` writes it when it is done"
    if not path.is_file():
        raise InputError(f"{path} is not there; {cure}")
    document = read_object(path, cure)

    def exact(value: float | None) -> float:
        return math.nan if value is None else value

    try:
        table = [
            Row(
                system=row["system"],
                level=row["level"],
                values=dict.fromkeys(COLUMNS, NOTHING)  # an older report may lack some
                | {k: (exact(a), exact(b), exact(c)) for k, (a, b, c) in row["scores"].items()},
                cases=row["cases"],
                failures=tuple(row["failures"]),
                real_time=exact(row["real_time"]),
            )
            for row in document["rows"]
        ]
        return table, dict(document["settings"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is no report, or is damaged; {cure}") from error


def write_csv(records: Sequence[Record], path: Path) -> None:
    """One line for each output."""
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(["case", "level", "system", "failure", "seconds", *SCORE_NAMES])
    for r in records:
        values = (r.scores[name] for name in SCORE_NAMES)
        cells = (f"{v:.5g}" if math.isfinite(v) else "" for v in values)
        writer.writerow([r.case, r.level, r.system, r.failure, f"{r.seconds:.3f}", *cells])
    write_text(path, file.getvalue())
