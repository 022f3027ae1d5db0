"""Where do notes change from one report to another: where the judge hears the truth, or not?

    python benchmarks/audible.py runs/old-report runs/report

Both reports are of one protocol. Cases are told apart by the note F1 of the true rendering, and by
whether the judge finds octave errors in it: what sounds more like a truth that the judge cannot
hear is heard less well itself.
"""

import argparse
import csv
from pathlib import Path

import numpy as np

from timbrel.evaluation.systems import REFERENCES, TRUTH

HEARD = 0.6  # note F1 of the truth, from which on it counts as heard
COLUMNS = ("note_f1", "octave_errors")
RIGHT = 0.02  # share of octave errors in the truth, below which it counts as in its octave


def scores(report: Path) -> dict[str, dict[str, dict[str, str]]]:
    """Of the truth and of the model: case -> columns."""
    found: dict[str, dict[str, dict[str, str]]] = {"truth": {}, "model": {}}
    with open(report / "scores.csv") as file:
        for row in csv.DictReader(file):
            if row["system"] == TRUTH or row["system"] not in REFERENCES:
                found["truth" if row["system"] == TRUTH else "model"][row["case"]] = row
    return found


def answered(rows: dict[str, dict[str, str]]) -> set[str]:
    """Cases with a number in all columns: an output that failed has none of octave errors."""
    return {case for case, row in rows.items() if all(row[name] for name in COLUMNS)}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reports", type=Path, nargs=2)
    before, after = map(scores, parser.parse_args().reports)
    rows_of = [before["model"], after["model"], after["truth"]]
    cases = sorted(set.intersection(*map(answered, rows_of)))

    def column(rows: dict[str, dict[str, str]], name: str) -> np.ndarray:
        return np.array([float(rows[case][name]) for case in cases])

    print("| the judge finds in the truth | cases | change of note F1 | of octave errors |")
    print("|---|---|---|---|")
    change = {
        name: column(after["model"], name) - column(before["model"], name) for name in COLUMNS
    }
    heard = column(after["truth"], "note_f1") >= HEARD
    right = column(after["truth"], "octave_errors") < RIGHT
    for text, chosen in (
        (f"note F1 of {HEARD} or more", heard),
        ("less", ~heard),
        (f"octave errors below {RIGHT}", right),
        ("more", ~right),
    ):
        means = [f"{values[chosen].mean():+.3f}" for values in change.values()]
        print(f"| {text} | {chosen.sum()} | {' | '.join(means)} |")


if __name__ == "__main__":
    main()
