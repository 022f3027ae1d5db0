"""Reports side by side: is the difference more than chance?"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from timbrel.errors import InputError
from timbrel.evaluation.run import SETTINGS, Record, read_records, read_settings
from timbrel.evaluation.scores import SCORE_NAMES
from timbrel.evaluation.statistics import Groups, paired_difference
from timbrel.evaluation.systems import REFERENCES
from timbrel.evaluation.tables import SHORT, number, systems_of

SIGNIFICANT = 0.05
PER_CASE = [(name, heading) for name, heading, _ in SHORT if name in SCORE_NAMES]
LESS_IS_BETTER = frozenset(
    {"octave_errors", "like_source", "log_mel_distance", "level_distance", "structure_apart"}
)
# Of codes, whose space is each model's own, and not of what is heard in outputs.
NO_VERDICT = frozenset({"structure_apart"})


@dataclass(frozen=True)
class Verdict:
    """In what one system differs from another by more than chance, all columns together.

    Attributes:
        system: its name.
        first: name of what it was compared with.
        better: headings of what it does better.
        worse: headings of what it does worse.
    """

    system: str
    first: str
    better: tuple[str, ...]
    worse: tuple[str, ...]

    def __str__(self) -> str:
        """One sentence."""
        if not self.better and not self.worse:
            return f"{self.system} differs from {self.first} in nothing by more than chance."
        parts = [
            f"{how} in {', '.join(names)}"
            for how, names in (("better", self.better), ("worse", self.worse))
            if names
        ]
        return f"{self.system} is {' and '.join(parts)} than {self.first}."


@dataclass(frozen=True)
class Comparison:
    """Systems side by side.

    Attributes:
        table: in Markdown.
        verdicts: on all but the first.
    """

    table: str
    verdicts: tuple[Verdict, ...]

    def __str__(self) -> str:
        """Table and verdicts, in Markdown."""
        return "\n".join([self.table, *(f"{verdict}\n" for verdict in self.verdicts)])


def comparison(folders: Sequence[Path]) -> Comparison:
    """All that was judged against the first, on the cases that both have.

    Differences are (other - first), with their 95 % interval by a paired bootstrap that draws
    cases of the same sounds together; bold where chance would give that sign with p < 0.05. A
    verdict is on what is heard in outputs, and counts a difference only if chance would give any
    as large with p < 0.05, as many columns as there are (Holm, 1979).

    Raises:
        InputError: less than two judged systems, a folder without a report, reports of other
            cases, or no case in common.
    """
    judged = [entry for folder in folders for entry in _judged(folder)]
    if len(judged) < 2:
        raise InputError("give two or more reports to compare")
    _check_cases(folders)
    (name, first), *others = judged
    columns = [c for c in PER_CASE if math.isfinite(_mean(_scores(first, c[0])))]
    lines = ["| | " + " | ".join(heading for _, heading in columns) + " | cases |"]
    lines.append("|" + "---|" * (len(columns) + 2))
    means = [number(_mean(_scores(first, column))) for column, _ in columns]
    lines.append(_line(name, means, len(first)))
    verdicts = []
    for other_name, other in others:
        common = sorted(set(first) & set(other))
        if not common:
            raise InputError(
                f"{name} and {other_name} have no case in common: evaluate both under one "
                "protocol, with the same fonts"
            )
        cells, found = [], {}
        groups = [_sounds(first[c], other[c]) for c in common]
        for column, _ in columns:
            before, after = ([part[c].scores[column] for c in common] for part in (first, other))
            cells.append(difference(before, after, groups))
            mean, _, _, p = paired_difference(before, after, groups)
            found[column] = (-mean if column in LESS_IS_BETTER else mean, p)
        lines.append(_line(f"{other_name} - {name}", cells, len(common)))
        certain = beyond_chance({c: p for c, (_, p) in found.items() if c not in NO_VERDICT})
        gains = [(heading, found[column][0]) for column, heading in columns if column in certain]
        better = tuple(heading for heading, gain in gains if gain > 0)
        worse = tuple(heading for heading, gain in gains if gain < 0)
        verdicts.append(Verdict(other_name, name, better, worse))
    return Comparison("\n".join(lines) + "\n", tuple(verdicts))


def beyond_chance(chances: Mapping[str, float]) -> set[str]:
    """Those of many tests whose result chance does not explain, by Holm's step-down procedure.

    Args:
        chances: p of each; what is not finite was no test.
    """
    tests = sorted((p, name) for name, p in chances.items() if math.isfinite(p))
    passed = set()
    for rank, (p, name) in enumerate(tests):
        if p * (len(tests) - rank) >= SIGNIFICANT:
            break
        passed.add(name)
    return passed


def difference(before: Sequence[float], after: Sequence[float], groups: Groups = None) -> str:
    """The table's cell of (after - before) on the same cases, see `paired_difference`."""
    mean, low, high, p = paired_difference(before, after, groups)
    if not math.isfinite(mean):
        return "-"
    mark = "**" if p < SIGNIFICANT else ""
    spread = f" ({low:+.3f} to {high:+.3f})" if math.isfinite(low) else ""
    return f"{mark}{mean:+.3f}{mark}{spread}"


def _sounds(one: Record, other: Record) -> tuple[str, ...]:
    """What a case asks of whom: files that were given may not tell, so whichever report does."""
    return other.sounds if one.sounds == (one.case,) else one.sounds


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


def _check_cases(folders: Sequence[Path]) -> None:
    """Raise InputError if cases of one name are not the same, or not judged alike."""
    first, *others = folders
    known = _origin(first)
    for other in others:
        found = _origin(other)
        differ = [name for name in known if name in found and known[name] != found[name]]
        if differ:
            raise InputError(
                f"{first} and {other} cannot be compared: they differ in "
                f"{', '.join(differ)}; evaluate both with the same"
            )


def _origin(folder: Path) -> dict[str, Any]:
    """Where a report's cases and judges come from, by names for people; the unknown is left out.

    Files that were given may be cases of a protocol, written: nobody knows.
    """
    if not (folder / SETTINGS).is_file():
        return {}
    settings = read_settings(folder)
    found: dict[str, Any] = {"the judges": settings.get("judges", "earlier ones")}
    if settings.get("store"):
        found["store"] = settings["store"]
    if settings.get("manifest"):
        found["manifest"] = settings["manifest"]
    protocol = settings.get("protocol")
    if isinstance(protocol, str):  # a study's
        found["protocol"] = Path(protocol).stem
    elif protocol:
        found |= {"protocol": protocol["name"], "fonts": settings["fonts"], **protocol["base"]}
        found["the version that drew them"] = settings.get("drawn", 1)
        found |= {name: protocol[name] for name in ("structure", "seed", "seconds")}
        found |= {f"level '{name}'": level for name, level in protocol["levels"].items()}
    return found


def _scores(records: dict[str, Record], name: str) -> list[float]:
    return [r.scores[name] for r in records.values()]


def _mean(values: Sequence[float]) -> float:
    kept = [v for v in values if math.isfinite(v)]
    return sum(kept) / len(kept) if kept else math.nan


def _line(name: str, cells: Sequence[str], cases: int) -> str:
    return f"| {name} | " + " | ".join(cells) + f" | {cases} |"
