"""The tables of docs/results.md, from reports: the model at every level, beside its ceiling.

for p in midi-to-audio timbre-transfer unseen range polyphony midi-faults example speed genre cover
do
    timbrel evaluate default --protocol $p -o runs/report/$p
done
python benchmarks/results.py runs/report/*
"""

import json
import sys
from pathlib import Path
from typing import Any

from timbrel.evaluation.systems import CODEC, REFERENCES, TRUTH

COLUMNS = (  # those without any number are left out
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
)
# scores that the ground truth does not reach to the full
CEILINGS = {"identified", "beat_f1", "beats_any_level", "drum_onset_f1", "found", "like_example"}


def score(row: dict[str, Any], name: str) -> str:
    """Mean, for people."""
    value = row["scores"][name][0]
    return "-" if value is None else f"{value:.2f}"


def spread(row: dict[str, Any], name: str) -> str:
    """Mean with its interval."""
    mean, low, high = row["scores"][name]
    return "-" if mean is None else f"{mean:.2f} ({low:.2f} to {high:.2f})"


def beside(row: dict[str, Any], truth: dict[str, Any], name: str) -> str:
    """Mean, with the ground truth's where that is no constant."""
    value = score(row, name)
    return f"{value} ({score(truth, name)})" if name in CEILINGS and value != "-" else value


def table(folder: Path) -> str:
    """One protocol."""
    document = json.loads((folder / "report.json").read_text())
    protocol = document["settings"]["protocol"]
    rows = {(row["level"], row["system"]): row for row in document["rows"]}
    model = next(system for _, system in rows if system not in REFERENCES)
    levels = [level for level in (*protocol["levels"], "") if (level, model) in rows]
    columns = [
        c for c in COLUMNS if any(score(rows[level, model], c[0]) != "-" for level in levels)
    ]
    head = ["level", "note F1 of truth", "of codec", "**of the model**", "of truth's"]
    head += [heading for _, heading in columns] + ["identified (truth)", "times real time"]
    lines = [f"### {protocol['name']}", "", protocol["question"], ""]
    lines += ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for level in levels:
        mine, truth, codec = (rows[level, system] for system in (model, TRUTH, CODEC))
        cells = [level or "all", score(truth, "note_f1"), score(codec, "note_f1")]
        cells += [spread(mine, "note_f1"), spread(mine, "relative")]
        cells += [beside(mine, truth, name) for name, _ in columns]
        cells.append(beside(mine, truth, "identified"))
        cells.append("-" if mine["real_time"] is None else f"{mine['real_time']:.1f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print("\n".join(table(Path(name)) for name in sys.argv[1:]))
