"""The tables of docs/results.md, from reports: the model at every level, beside its ceiling.

for p in midi-to-audio timbre-transfer unseen range polyphony midi-faults speed; do
    timbrel evaluate default --protocol $p -o runs/report/$p
done
python benchmarks/results.py runs/report/*
"""

import json
import sys
from pathlib import Path
from typing import Any

from timbrel.evaluation.systems import CODEC, REFERENCES, TRUTH

COLUMNS = (
    ("octave_errors", "octave errors"),
    ("like_example", "like example"),
    ("like_source", "like source"),
    ("nearer", "nearer to example"),
    ("log_mel_distance", "dB off truth"),
)
FAULTS = {"jitter", "drop", "extra", "velocity", "drift"}  # settings that change what is given


def score(row: dict[str, Any] | None, name: str) -> str:
    """Mean, for people."""
    value = None if row is None else row["scores"][name][0]
    return "-" if value is None else f"{value:.2f}"


def spread(row: dict[str, Any]) -> str:
    """Mean with its interval."""
    mean, low, high = row["scores"]["note_f1"]
    return "-" if mean is None else f"{mean:.2f} ({low:.2f} to {high:.2f})"


def table(folder: Path) -> str:
    """One protocol."""
    document = json.loads((folder / "report.json").read_text())
    protocol = document["settings"]["protocol"]
    rows = {(row["level"], row["system"]): row for row in document["rows"]}
    model = next(system for _, system in rows if system not in REFERENCES)
    head = ["level", "note F1 of truth", "of codec", "**of the model**"]
    head += [heading for _, heading in COLUMNS] + ["identified (truth)"]
    if any(protocol["levels"][level].keys() & FAULTS for level in protocol["levels"]):
        head.append("F1 against given notes")
    lines = [f"### {protocol['name']}", "", protocol["question"], ""]
    lines += ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for level in [*protocol["levels"], ""]:
        mine = rows.get((level, model))
        if mine is None:
            continue
        truth, codec = rows[level, TRUTH], rows[level, CODEC]
        cells = [level or "all", score(truth, "note_f1"), score(codec, "note_f1"), spread(mine)]
        cells += [score(mine, name) for name, _ in COLUMNS]
        cells.append(f"{mine['identified']:.2f} ({truth['identified']:.2f})")
        if "F1 against given notes" in head:
            cells.append(score(mine, "given_f1"))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print("\n".join(table(Path(name)) for name in sys.argv[1:]))
