"""What the model should reach, and whether it does: a table of aims, from finished reports.

    python benchmarks/aims.py runs/report/*

Of two reports of one protocol the later counts. Ratios are of means over the cases that both sides
have, with 95 % intervals by the bootstrap. An aim is reached by the value, whatever its interval,
so mind how many cases there were.
"""

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from results import judged
from timbrel.errors import InputError
from timbrel.evaluation.run import read_records
from timbrel.evaluation.statistics import means_interval
from timbrel.evaluation.systems import CODEC, TRUTH
from timbrel.evaluation.tables import NOTHING, Interval, chance, number, read_json


class Report:
    """A finished evaluation.

    Args:
        folder: of the report.
    """

    def __init__(self, folder: Path) -> None:
        table, settings = read_json(folder / "report.json")
        protocol = settings.get("protocol")
        if not isinstance(protocol, dict):  # given cases have none
            protocol = {"name": "", "levels": {}}
        self.name, self.levels = protocol["name"], protocol["levels"]
        self.model = judged(table)
        self.rows = {(row.level, row.system): row for row in table}
        self.records = read_records(folder)

    @property
    def cases(self) -> int:
        """Of each level that were run."""
        return max(row.cases for (level, _), row in self.rows.items() if level in self.levels)

    @property
    def chance(self) -> float:
        """That an output is identified by it, on the average of the levels."""
        mine = [record for record in self.records if record.system == self.model]
        levels = ([r for r in mine if r.level == level] for level in self.levels)
        return float(np.mean([chance(part) for part in levels if part]))

    @property
    def size(self) -> str:
        """Levels, and cases of each that were run."""
        return f"{len(self.levels)} x {self.cases}"

    def value(self, system: str, score: str, level: str = "") -> Interval:
        """A number of the report; NaN three times if it has none."""
        row = self.rows.get((level, system))
        return NOTHING if row is None else row.values[score]

    def means(self, of: Callable[..., float], *columns: tuple[str, str, str]) -> Interval:
        """A function of mean scores (system, score, level) over the cases that all of them have.

        Cases of one number at different levels are the same; level "" is all of them.
        """
        found = [
            {
                record.case.removeprefix(level): record.scores[score]
                for record in self.records
                if record.system == system and level in ("", record.level)
            }
            for system, score, level in columns
        ]
        common = sorted(set.intersection(*map(set, found)))
        return means_interval(of, [[scores[case] for case in common] for scores in found])


Measure = Callable[[Report, str], Interval]  # of a system in a report


def mean(score: str) -> Measure:
    """As it stands in the report."""
    return lambda report, system: report.value(system, score)


def share_of(reference: str) -> Measure:
    """Note F1 over that of a reference."""
    return lambda report, system: report.means(
        np.divide, (system, "note_f1", ""), (reference, "note_f1", "")
    )


def identified(instruments: str = "", recordings: str = "") -> Measure:
    """Mean over the levels whose instruments or recordings are "seen", or "unseen"."""

    def measure(report: Report, system: str) -> Interval:
        pools = {level: changes["pool"] for level, changes in report.levels.items()}
        chosen = [
            level
            for level, pool in pools.items()
            if pool.startswith(f"{instruments}-" if instruments else "")
            and pool.endswith(f"-{recordings}" if recordings else "")
        ]
        found = [report.value(system, "identified", level)[0] for level in chosen]
        return float(np.mean(found)), math.nan, math.nan

    return measure


def distance(score: str) -> Measure:
    """Fréchet distance over the codec's."""

    def measure(report: Report, system: str) -> Interval:
        mine, codec = (report.value(name, score)[0] for name in (system, CODEC))
        return mine / codec, math.nan, math.nan

    return measure


def many_voices(report: Report, system: str) -> Interval:
    """Share of the truth's note F1 that eight voices keep, over that of one."""
    return report.means(
        lambda many, all_of_many, one, all_of_one: (many / all_of_many) / (one / all_of_one),
        *((who, "note_f1", level) for level in ("8 voices", "1 voice") for who in (system, TRUTH)),
    )


def jitter_cost(score: str) -> Measure:
    """Share of the note F1 of clean notes that is lost with onsets 40 ms off."""
    return lambda report, system: report.means(
        lambda off, clean: 1 - off / clean,
        (system, score, "jitter 40 ms"),
        (system, "note_f1", "clean"),
    )


def speed(report: Report, system: str) -> Interval:
    """Median; of one thread if there were several workers, or OMP_NUM_THREADS was 1."""
    row = report.rows.get(("", system))
    return NOTHING if row is None else (row.real_time, math.nan, math.nan)


@dataclass(frozen=True)
class Aim:
    """What a measure should come to under a protocol.

    Attributes:
        words: what is measured.
        protocol: by whose report.
        measure: how.
        least: value that reaches the aim.
        most: likewise.
        digits: to print.
        beside: reference rows whose numbers mean something here.
        choice: whether one of a level's cases is chosen, so that chance is 1 of their number.
    """

    words: str
    protocol: str
    measure: Measure
    least: float = -math.inf
    most: float = math.inf
    digits: int = 2
    beside: tuple[str, ...] = (TRUTH, CODEC)
    choice: bool = False

    def line(self, report: Report | None) -> str:
        """A row of the table."""
        bound = f"at least {self.least:g}" if self.most == math.inf else f"at most {self.most:g}"
        cells = [f"{self.words}: {bound}", self.protocol, "-", "-", "-", "not measured"]
        if report is not None:
            value, low, high = self.measure(report, report.model)
            cells[2:4] = [report.size, number(value, self.digits)]
            if math.isfinite(low):
                cells[3] += f" ({number(low, self.digits)} to {number(high, self.digits)})"
            beside = [number(self.measure(report, s)[0], self.digits) for s in self.beside]
            beside += [f"chance {number(report.chance, self.digits)}"] * self.choice
            cells[4] = ", ".join(beside) or "-"
            if math.isfinite(value):
                cells[5] = "reached" if self.least <= value <= self.most else "**not reached**"
        return "| " + " | ".join(cells) + " |"


BOTH = ("midi-to-audio", "timbre-transfer")
AIMS = (
    *(Aim("note F1 over the truth's", name, share_of(TRUTH), least=0.85) for name in BOTH),
    *(Aim("note F1 over the codec's", name, share_of(CODEC), least=0.95) for name in BOTH),
    *(Aim("octave errors", name, mean("octave_errors"), most=0.02, digits=3) for name in BOTH),
    Aim("octave errors", "cross-register", mean("octave_errors"), most=0.03, digits=3),
    *(Aim("nearer to example than source", name, mean("nearer"), least=0.97) for name in BOTH),
    Aim(
        "identified, seen instruments", "unseen", identified(instruments="seen"),
        least=0.8, choice=True,
    ),
    Aim(
        "identified, seen recordings", "unseen", identified(recordings="seen"),
        least=0.85, choice=True,
    ),
    Aim(
        "identified, unseen recordings", "unseen", identified(recordings="unseen"),
        least=0.65, choice=True,
    ),
    *(Aim("Fréchet distance over the codec's", name, distance("frechet"), most=2) for name in BOTH),
    *(Aim("the same, to the examples", p, distance("frechet_examples"), most=2) for p in BOTH),
    Aim("of truth's note F1, 8 voices over 1", "polyphony", many_voices, least=0.85),
    Aim(
        "share of note F1 lost to 40 ms jitter", "midi-faults", jitter_cost("note_f1"),
        most=0.05, digits=3, beside=(),
    ),
    Aim(
        "the same, against the given notes", "midi-faults", jitter_cost("given_f1"),
        most=0.05, digits=3, beside=(),
    ),
    Aim("times real time, one thread", "midi-to-audio", speed, least=15, digits=1, beside=()),
)  # fmt: skip


def table(reports: Mapping[str, Report]) -> str:
    """All aims; reports by the name of their protocol."""
    head = ["aim", "protocol", "levels x cases", "value", "truth, codec", ""]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return "\n".join(lines + [aim.line(reports.get(aim.protocol)) for aim in AIMS])


if __name__ == "__main__":
    try:
        given = [Report(Path(name)) for name in sys.argv[1:]]
    except InputError as error:
        sys.exit(f"aims.py: {error}")
    print(table({report.name: report for report in given}))
