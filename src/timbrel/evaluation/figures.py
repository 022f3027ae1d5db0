"""Pictures of a report, inlined as PNG: scores by level, likeness to all examples, cases."""

import base64
import html
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from timbrel.audio import Audio
from timbrel.errors import InputError
from timbrel.evaluation import likeness
from timbrel.evaluation.hearing import Hearing
from timbrel.evaluation.notes_metrics import ONSET_SECONDS
from timbrel.evaluation.run import Record, audio_path
from timbrel.evaluation.systems import CODEC, EXAMPLE, FILTERED, REFERENCES, SOURCE, TRUTH, slug
from timbrel.evaluation.tables import Row, shown, vectors
from timbrel.notes import Notes

Panel = tuple[bool, list[str]]  # whether they are steps of one quantity, and the levels
PLOTTED = ("note_f1", "beat_f1", "like_example", "log_mel_distance", "octave_errors")
MOST_PLOTTED = 4
COLOURS = {TRUTH: "#1a7f37", CODEC: "#7fb98f", SOURCE: "#b58900", FILTERED: "#e0b85a"}
COLOURS[EXAMPLE] = "#999999"
JUDGED = ("#1760c4", "#c2185b", "#6a3fb5", "#00838f")  # models, in their order
MOST_NAMED = 40  # instruments whose names can be read on an axis
TEXT: Any = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def figure(draw: Callable[[Any], None], width: float, height: float, caption: str) -> str:
    """A picture drawn by `draw(figure)`, inlined in HTML; sizes in inches."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(TEXT):
        made = Figure(figsize=(width, height), dpi=120, layout="constrained")
        draw(made)
        buffer = io.BytesIO()
        made.savefig(buffer, format="png")
    data = base64.b64encode(buffer.getvalue()).decode()
    text = html.escape(caption)
    return (
        f"<figure><img alt='{text}' src='data:image/png;base64,{data}'>"
        f"<figcaption>{text}</figcaption></figure>"
    )


# ---- scores against what a protocol varies ---------------------------------------------


def level_panels(levels: Mapping[str, Mapping[str, Any]]) -> list[Panel]:
    """Levels by what they vary: a panel for each quantity, in its order, and one for the rest.

    Args:
        levels: of a protocol. One that sets nothing is where faults begin.
    """
    clean = [name for name, changes in levels.items() if not changes]
    by_key: dict[str, dict[str, float]] = {}
    for name, changes in levels.items():
        for key, value in changes.items():
            if len(changes) == 1 and isinstance(value, int | float):
                by_key.setdefault(key, {})[name] = float(value)
    panels: list[Panel] = []
    for key, values in by_key.items():
        if len(values) > 1:
            names = sorted(values, key=lambda name: values[name])
            # of the length and the purity of an example, more is better
            falling = key in ("example_part", "example_noise")
            panels.append((True, names + clean if falling else clean + names))
    drawn = {name for _, names in panels for name in names}
    rest = [name for name in levels if name not in drawn and name not in clean]
    return [*panels, (False, [*clean, *rest])] if rest or not panels else panels


def levels_figure(table: Sequence[Row], levels: Mapping[str, Mapping[str, Any]]) -> str:
    """Scores of all systems against the level."""
    panels = level_panels(levels)
    columns = {name: heading for name, heading, _ in shown(table)}
    names = [name for name in PLOTTED if name in columns][:MOST_PLOTTED]

    def draw(made: Any) -> None:
        axes = made.subplots(len(panels), len(names), squeeze=False)
        for line, panel in zip(axes, panels, strict=True):
            for axis, name in zip(line, names, strict=True):
                _scores(axis, table, panel, name)
                axis.set_title(columns[name])
        handles, labels = axes[0][0].get_legend_handles_labels()
        made.legend(handles, labels, loc="outside upper left", ncols=3, frameon=False)

    longest = max(len(name) for _, names in panels for name in names)
    height = len(panels) * (2.7 + 0.035 * longest) + 0.6
    return figure(draw, 3.1 * len(names), height, "Scores by level; bars are 95 % intervals")


def _scores(axis: Any, table: Sequence[Row], panel: Panel, name: str) -> None:
    """One score of all systems in one panel."""
    connected, levels = panel
    places = list(range(len(levels)))
    judged = 0
    systems = list(dict.fromkeys(row.system for row in table))
    for number, system in enumerate(systems):
        known = {row.level: row.values[name] for row in table if row.system == system}
        points = [(places[k], *known[level]) for k, level in enumerate(levels) if level in known]
        if not points:
            continue
        x, mean, low, high = np.array(points).T
        reference = system in REFERENCES
        colour = COLOURS[system] if reference else JUDGED[judged % len(JUDGED)]
        judged += not reference
        shift = 0.0 if connected else 0.06 * (number - len(systems) / 2)
        axis.errorbar(
            x + shift,
            mean,
            None if reference else np.nan_to_num(np.maximum([mean - low, high - mean], 0)),
            fmt=("o" if not reference else ".") + ("-" if connected else ""),
            color=colour,
            linewidth=1.0 if reference else 2.2,
            elinewidth=0.8,
            markersize=5 if not reference else 4,
            zorder=2 if reference else 3,
            label=system,
        )
    long = max(len(level) for level in levels) * len(levels) > 24
    axis.set_xticks(
        places, levels, rotation=40 if long else 0, ha="right" if long else "center", fontsize=7.5
    )
    axis.set_xlim(-0.4, len(levels) - 0.6)
    axis.grid(axis="y", color="#eee")
    axis.set_axisbelow(True)


# ---- timbre ----------------------------------------------------------------------------


def timbre_figure(system: str, mine: Sequence[Record], heard: Mapping[str, Hearing]) -> str:
    """Likeness of a system's outputs to all examples, and the map of both; "" if too few."""
    made = [r for r in mine if not r.failure]
    outputs = vectors([r.heard for r in made], heard)
    examples = vectors([r.example for r in made], heard)
    if outputs is None or examples is None or len(made) < 3:
        return ""
    names = [str(r.facts.get("target", r.case)) for r in made]
    targets = sorted(dict.fromkeys(names), key=lambda n: (_label(made, names, n), n))
    if len(targets) < 3:
        return ""
    member = np.array([[name == target for name in names] for target in targets], float)
    member /= member.sum(1, keepdims=True)
    out, ref = member @ outputs, member @ examples
    labels = [_label(made, names, target) for target in targets]

    def draw(figure: Any) -> None:
        left, right = figure.subplots(1, 2)
        _confusion(figure, left, _unit(out) @ _unit(ref).T, labels)
        _map(right, ref, out, labels)

    size = min(9.0, 3.6 + 0.11 * len(targets))
    return figure(
        draw,
        12.4,
        size,
        f"{system}: left, likeness of the outputs for each target (rows) to the example of each "
        "(columns); a cross marks the nearest, which should lie on the diagonal. Right, the map "
        "of timbres (two principal components): rings are examples, named where there is room, "
        "dots the outputs for them",
    )


def _unit(table: np.ndarray) -> np.ndarray:
    unit: np.ndarray = table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-9)
    return unit


def _label(mine: Sequence[Record], names: Sequence[str], target: str) -> str:
    facts = mine[names.index(target)].facts
    return str(facts.get("target instrument", target))[:22]


def _confusion(figure: Any, axis: Any, table: np.ndarray, labels: Sequence[str]) -> None:
    picture = axis.imshow(table, vmin=-1, vmax=1, cmap="RdBu_r", aspect="auto")
    axis.plot(table.argmax(1), range(len(table)), "x", color="#111", ms=4, mew=1.2)
    axis.spines[:].set_visible(False)
    if len(labels) <= MOST_NAMED:
        size = 7.5 if len(labels) <= 24 else 6
        axis.set_yticks(range(len(labels)), labels, fontsize=size)
        axis.set_xticks(range(len(labels)), labels, fontsize=size, rotation=90)
    else:
        axis.set_xticks([])
        axis.set_yticks([])
    axis.set_xlabel("example")
    axis.set_ylabel("output for")
    figure.colorbar(picture, ax=axis, shrink=0.6, label="cosine")


def _map(axis: Any, examples: np.ndarray, outputs: np.ndarray, labels: Sequence[str]) -> None:
    """The first two principal components of the examples, and where the outputs lie."""
    centre = examples.mean(0)
    _, _, components = np.linalg.svd(examples - centre, full_matrices=False)
    first, second = ((part - centre) @ components[:2].T for part in (examples, outputs))
    for a, b in zip(first, second, strict=True):
        axis.plot([a[0], b[0]], [a[1], b[1]], "-", color="#ccc", lw=1, zorder=1)
    axis.plot(*first.T, "o", mfc="white", mec="#222", ms=6)
    axis.plot(*second.T, ".", color=JUDGED[0], ms=8)
    if len(labels) <= MOST_NAMED:
        for k in _apart(first):
            axis.annotate(labels[k], first[k], (4, 3), textcoords="offset points", fontsize=6.5)
    axis.margins(0.12)
    axis.set_xticks([])
    axis.set_yticks([])


def _apart(points: np.ndarray) -> list[int]:
    """Indices of points (n, 2) whose names, written beside them, do not overlap."""
    scaled = (points - points.min(0)) / np.maximum(np.ptp(points, axis=0), 1e-9)
    kept: list[int] = []
    for k, (x, y) in enumerate(scaled):
        if all(abs(x - scaled[i][0]) > 0.24 or abs(y - scaled[i][1]) > 0.028 for i in kept):
            kept.append(k)
    return kept


# ---- one case --------------------------------------------------------------------------


def case_figure(record: Record, heard: Hearing | None, folder: Path) -> str:
    """Spectrum of an output, and below it the notes intended and heard."""
    audio = Audio.read(audio_path(folder, record.case, record.system))
    intended = _intended(folder / "audio" / f"{slug(record.case)}.mid")
    found = Notes.empty() if heard is None else heard.notes

    def draw(figure: Any) -> None:
        top, bottom = figure.subplots(2, 1, sharex=True)
        samples = audio.mono().resample(likeness.RATE).samples[0]
        level = 20 * np.log10(likeness.constant_q(samples) + 1e-6)
        top.imshow(
            level,
            origin="lower",
            aspect="auto",
            cmap="magma",
            vmin=level.max() - 70,
            extent=(0, audio.seconds, 20.83, 116.83),
        )
        top.set_ylabel("pitch (MIDI)")
        _roll(bottom, intended, found)
        bottom.set_xlim(0, audio.seconds)
        bottom.set_xlabel("seconds")
        bottom.set_ylabel("pitch (MIDI)")

    return figure(
        draw,
        11,
        4.6,
        f"{record.system}: spectrum of the output; notes intended (grey), heard where one was "
        "intended (blue) and heard elsewhere (red)",
    )


def _intended(path: Path) -> Notes:
    """The pitched notes of a case's MIDI file; none if it is not there or holds none."""
    try:
        return Notes.read(path).pitched()
    except InputError:  # a picture without them is better than no report
        return Notes.empty()


def _roll(axis: Any, intended: Notes, found: Notes) -> None:
    axis.hlines(intended.pitch, intended.onset, intended.offset, color="#c9c9c9", lw=6)
    near = np.abs(found.onset[:, None] - intended.onset[None]) <= ONSET_SECONDS
    right = (near & (found.pitch[:, None] == intended.pitch[None])).any(1)
    for mask, colour in ((right, "#1760c4"), (~right, "#d33")):
        part = found.where(mask)
        axis.hlines(part.pitch, part.onset, part.offset, color=colour, lw=2)
    both = np.concatenate([intended.pitch, found.pitch])
    if len(both):
        axis.set_ylim(both.min() - 3, both.max() + 3)
    axis.grid(axis="y", color="#eee")
