"""The model card: all that a finished recipe knows of the model that it made."""

import json
import math
import os
import platform
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from timbrel.data.files import write_text
from timbrel.data.store import Store
from timbrel.evaluation.compare import comparison
from timbrel.evaluation.systems import CODEC, REFERENCES, TRUTH
from timbrel.evaluation.tables import number
from timbrel.model import load
from timbrel.training.run import last_line

LIMITS = (
    "It learned from rendered sounds alone; a recording chain is simulated for some of them.",
    "Structure is notes: vibrato, bends, breath and noises of what is played are not carried over.",
    "Drums are pieces of a General MIDI kit. Output is mono.",
)
RUNS = ("codec", "listener", "model", "distil", "decoder")
SCORES = (
    ("note_f1", "note F1"),
    ("octave_errors", "octave errors"),
    ("like_example", "like example"),
    ("nearer", "nearer to example"),
    ("identified", "identified"),
    ("log_mel_distance", "dB off truth"),
)


def write_card(
    out: Path,
    commands: Iterable[Sequence[str]],
    shares: dict[str, Any],
    unasked: Iterable[str],
) -> Path:
    """Write `timbrel-small/card.md`.

    Args:
        out: folder of the recipe, all of whose stages are done.
        commands: of `timbrel`, in order, as they were run.
        shares: the recipe's section [render].
        unasked: why protocols could not be asked, a sentence each.
    """
    facts = load(out / "timbrel-small", "cpu").info()
    millions = ", ".join(f"{part} {n / 1e6:.1f} M" for part, n in facts["parameters"].items())
    sampling = ", ".join(f"{name} {value}" for name, value in facts["sampling"].items())
    weights = sum(f.stat().st_size for f in (out / "timbrel-small").glob("*.safetensors"))
    lines = [f"# Model card: {facts['name']}", ""]
    lines += ["Plays notes (MIDI, or heard in audio) with the sound of an audio example.", ""]
    lines += [f"* **Licence**: {facts['licence']}", f"* **Parameters**: {millions}"]
    lines += [f"* **Size**: {weights / 2**20:.0f} MiB", f"* **Samples by**: {sampling}"]
    lines += ["", "## Data", "", *(_data(out, split) for split in ("train", "valid"))]
    lines += ["", "Rendered with: " + ", ".join(f"{k} {v}" for k, v in shares.items()) + "."]
    lines += ["", "## Training", "", f"On {_machine()}.", "", *_training(out)]
    lines += ["", "## Scores", "", *_scores(out)]
    lines += [*(f"* {reason[0].upper()}{reason[1:]}." for reason in unasked), ""]
    lines += ["## Limits", "", *_limits(out), ""]
    lines += ["## Commands", "", "```sh"]
    lines += [f"timbrel {shlex.join(command)}" for command in commands]
    path = out / "timbrel-small/card.md"
    write_text(path, "\n".join([*lines, "```", ""]))
    return path


def _data(out: Path, split: str) -> str:
    """One line about a store."""
    facts = Store.open(out / split).summary()
    licences = ", ".join(f"{name} {count}" for name, count in facts["licences"].items())
    return (
        f"* **{split}**: {facts['items']} renditions, {facts['hours']:.1f} hours, "
        f"{facts['timbres']} timbres, {facts['scores']} scores; licences: {licences}"
    )


def _machine() -> str:
    if torch.cuda.is_available():
        return f"one {torch.cuda.get_device_name()}"
    return f"{os.cpu_count()} cores ({platform.machine()})"


def _training(out: Path) -> list[str]:
    """A table of the runs, from the last line of each one's log."""
    lines = ["| run | steps | minutes | items a step | last loss |", "|---|---|---|---|---|"]
    for name in RUNS:
        last = last_line(out / name, "seconds")
        if not last:  # no such run
            continue
        training = json.loads((out / name / "config.json").read_text())["training"]
        batch = training["batch"] * training.get("accumulate", 1)
        named = ("loss/log_magnitude", "loss/stft", "loss", "flow", "velocity")
        loss = next((f"{key} {last[key]:.3f}" for key in named if key in last), "-")
        minutes = last["seconds"] / 60
        lines.append(f"| {name} | {last['step']} | {minutes:.0f} | {batch} | {loss} |")
    return lines


def _scores(out: Path) -> list[str]:
    """Over all levels of every protocol, beside the ceilings; and against the shipped model."""
    reports = sorted((out / "report").glob("*/report.json"))
    if not reports:
        return ["Not evaluated.", ""]
    heads = ["protocol", "system", *(heading for _, heading in SCORES)]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for path in reports:
        rows = json.loads(path.read_text())["rows"]
        for row in [row for row in rows if not row["level"]] or rows:  # of one level, itself
            if row["system"] in (TRUTH, CODEC) or row["system"] not in REFERENCES:
                means = (row["scores"][name][0] for name, _ in SCORES)
                cells = [number(math.nan if mean is None else mean) for mean in means]
                lines.append("| " + " | ".join([path.parent.name, row["system"], *cells]) + " |")
    for path in reports:
        shipped = out / "shipped" / path.parent.name
        if (shipped / "report.json").exists():
            lines += ["", f"Against the shipped model, `{path.parent.name}`:", ""]
            lines += [str(comparison([shipped, path.parent]))]
    return lines


def _limits(out: Path) -> list[str]:
    """What holds for all that the recipe makes, and where this model was found to be weakest."""
    lines = [f"* {sentence}" for sentence in LIMITS]
    for path in sorted((out / "report").glob("*/report.json")):
        rows = [row for row in json.loads(path.read_text())["rows"] if row["level"]]
        truth = {row["level"]: row["scores"] for row in rows if row["system"] == TRUTH}
        judged = [row for row in rows if row["system"] not in REFERENCES]
        for score, heading in SCORES:
            if score not in ("note_f1", "like_example"):
                continue
            shares = [
                (row["scores"][score][0] / truth[row["level"]][score][0], row["level"])
                for row in judged
                if row["scores"][score][0] is not None and truth[row["level"]][score][0]
            ]
            if shares:
                share, level = min(shares)
                name = path.parent.name
                lines.append(f"* `{name}`: least of the truth's {heading} at {level}, {share:.2f}")
    return lines
