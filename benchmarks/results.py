"""The tables of docs/results.md, from reports: the model at every level, beside its ceiling.

for p in $(timbrel protocols | cut -d ' ' -f 1); do
    timbrel evaluate default --protocol $p -o runs/report/$p
done
python benchmarks/results.py runs/report/*
python benchmarks/results.py --summary runs/report/*     # of the model card: a line a protocol
"""

import argparse
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from timbrel.errors import InputError
from timbrel.evaluation.systems import CODEC, EXAMPLE, REFERENCES, TRUTH
from timbrel.evaluation.tables import Row, number, read_json

SCORES = (
    ("given_f1", "F1 against given notes"),
    ("beat_f1", "beat F1"),
    ("beats_any_level", "beats, any level"),
    ("drum_onset_f1", "drum onset F1"),
    ("found", "piece found"),
    ("note_drift", "note F1 drift"),
    ("octave_errors", "octave errors"),
    ("like_example", "like example"),
    ("like_source", "like source"),
    ("nearer", "nearer to example"),
    ("log_mel_distance", "dB off truth"),
    ("level_distance", "dB off its level"),
    ("structure_apart", "structure off notes"),
)
SUMMARY = (
    "cases",
    "note F1 of truth",
    "**of the model**",
    "octave errors",
    "like example",
    "nearer to example",
    "identified (truth)",
    "dB off truth",
    "Fréchet distance (codec's)",
)
# scores that the ground truth does not reach to the full
CEILINGS = {"identified", "beat_f1", "beats_any_level", "drum_onset_f1", "found", "like_example"}


def score(row: Row, name: str, digits: int = 2) -> str:
    """Mean, for people."""
    return number(row.values[name][0], digits)


def spread(row: Row, name: str) -> str:
    """Mean with its interval, if it has one."""
    mean, low, high = row.values[name]
    return f"{mean:.2f} ({low:.2f} to {high:.2f})" if math.isfinite(low) else number(mean)


def beside(row: Row, truth: Row, name: str) -> str:
    """Mean, with the ground truth's where that is no constant."""
    value = score(row, name)
    return f"{value} ({score(truth, name)})" if name in CEILINGS and value != "-" else value


def judged(table: Iterable[Row]) -> str:
    """What a report is about: its first row that is no reference.

    Raises:
        InputError: there is none.
    """
    found = next((row.system for row in table if row.system not in REFERENCES), None)
    if found is None:
        raise InputError("a report holds no row of a model; go on with its timbrel evaluate")
    return found


def protocol_of(folder: Path, settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """That a report is of.

    Raises:
        InputError: it is of none: its cases were given.
    """
    protocol = settings.get("protocol")
    if not isinstance(protocol, dict):
        raise InputError(f"{folder} is of no protocol, its cases were given; see its table.md")
    return protocol


def cells(by_system: Mapping[str, Row], model: str, faulty: bool) -> dict[str, str]:
    """One level: heading -> cell.

    Args:
        by_system: its rows.
        model: that is judged.
        faulty: whether examples are given with faults.
    """
    mine, truth, codec = (by_system[system] for system in (model, TRUTH, CODEC))
    found = {
        "note F1 of truth": score(truth, "note_f1"),
        "of codec": score(codec, "note_f1"),
        "**of the model**": spread(mine, "note_f1"),
        "of truth's": spread(mine, "relative"),
    }
    for name, heading in SCORES:
        found[heading] = beside(mine, truth, name)
        if name == "like_example" and faulty:
            found["of the example as given"] = score(by_system[EXAMPLE], name)
    distance = score(mine, "frechet", 1)
    if distance != "-":
        distance += f" ({score(codec, 'frechet', 1)})"
    found["Fréchet distance (codec's)"] = distance
    found["identified (truth)"] = beside(mine, truth, "identified")
    found["times real time"] = number(mine.real_time, 1)
    return found


def table(folder: Path) -> str:
    """One protocol; columns without any number are left out."""
    rows, settings = read_json(folder / "report.json")
    protocol, model = protocol_of(folder, settings), judged(rows)
    faulty = any(
        key.startswith("example_") for changes in protocol["levels"].values() for key in changes
    )
    lines = {
        level or "all": cells({r.system: r for r in rows if r.level == level}, model, faulty)
        for level in dict.fromkeys(row.level for row in rows)
    }
    headings = [
        heading
        for heading in next(iter(lines.values()))
        if any(line[heading] != "-" for line in lines.values())
    ]
    return "\n".join(
        [f"### {protocol['name']}", "", protocol["question"], "", grid("level", headings, lines)]
    )


def summary(folders: Iterable[Path]) -> str:
    """A line a protocol, over all its levels and cases."""
    lines = {}
    for folder in folders:
        rows, settings = read_json(folder / "report.json")
        whole = {row.system: row for row in rows if not row.level} or {r.system: r for r in rows}
        model = judged(rows)
        lines[protocol_of(folder, settings)["name"]] = {
            "cases": str(whole[model].cases),
            **cells(whole, model, faulty=False),
        }
    return grid("protocol", SUMMARY, lines)


def grid(first: str, headings: Sequence[str], lines: Mapping[str, Mapping[str, str]]) -> str:
    """A table in Markdown."""
    out = ["| " + " | ".join([first, *headings]) + " |", "|---" * (len(headings) + 1) + "|"]
    for name, line in lines.items():
        out.append("| " + " | ".join([name, *(line[heading] for heading in headings)]) + " |")
    return "\n".join(out) + "\n"


def main() -> None:
    """Print them."""
    parser = argparse.ArgumentParser(description="Tables of finished reports.")
    parser.add_argument("reports", type=Path, nargs="+")
    parser.add_argument("--summary", action="store_true", help="one table, a line a protocol")
    options = parser.parse_args()
    try:
        print(
            summary(options.reports) if options.summary else "\n".join(map(table, options.reports))
        )
    except InputError as error:
        sys.exit(f"results.py: {error}")


if __name__ == "__main__":
    main()
