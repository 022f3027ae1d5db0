"""The report: one HTML page that needs no network, and tables for machines and papers."""

import base64
import html
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from timbrel.audio import Audio
from timbrel.evaluation import likeness
from timbrel.evaluation.listening import ratings
from timbrel.evaluation.run import Record, audio_path, read_records, slug
from timbrel.evaluation.systems import REFERENCES, SOURCE, TRUTH
from timbrel.evaluation.tables import (
    SHORT,
    Row,
    levels_of,
    markdown,
    number,
    rows,
    systems_of,
    vectors,
    write_csv,
    write_json,
)
from timbrel.notes import Notes

PLOTTED = (
    ("note_f1", "note F1"),
    ("like_example", "like example"),
    ("octave_errors", "octave errors"),
)
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem;
  color: #222; background: #fff }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #ddd; text-align: right }
th:first-child, td:first-child { text-align: left }
small { color: #666; white-space: nowrap } .model td { font-weight: 600; background: #f3f7ff }
figure { margin: 1rem 0 } img { max-width: 100% } audio { height: 2rem; width: 15rem }
.case { border-top: 1px solid #ddd; padding-top: 1rem; margin-top: 1rem }
.players { display: flex; flex-wrap: wrap; gap: 1rem } .players label { display: block }
"""


def write_report(folder: Path, embedding: str = "musicnn") -> list[Row]:
    """Write index.html, table.md, report.json and scores.csv beside an evaluation's records.

    Args:
        folder: of the evaluation.
        embedding: for Fréchet distances, see `embeddings.embedder`.

    Raises:
        InputError: there is no such embedding.
    """
    records = read_records(folder)
    settings = json.loads((folder / "settings.json").read_text())
    settings["frechet embedding"] = embedding
    table = rows(records, folder, embedding)
    (folder / "table.md").write_text(markdown(table))
    write_json(table, settings, folder / "report.json")
    write_csv(records, folder / "scores.csv")
    (folder / "index.html").write_text(page(records, table, settings, folder))
    return table


def page(
    records: Sequence[Record], table: Sequence[Row], settings: dict[str, Any], folder: Path
) -> str:
    """The whole page."""
    protocol = settings.get("protocol") or {"name": "given outputs", "question": ""}
    title = html.escape(f"Timbrel evaluation: {protocol['name']}")
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>",
        "<meta name=viewport content='width=device-width'>",
        f"<style>{STYLE}</style><h1>{title}</h1><p>{html.escape(protocol['question'])}</p>",
        *(_table(table, level) for level in dict.fromkeys(row.level for row in table)),
        _ratings(folder),
        _failures(records),
        _figures(records, table, folder),
        "<h2>Best, median and worst cases</h2>",
        *_cases(records, folder),
        "<h2>Settings</h2><pre>" + html.escape(json.dumps(settings, indent=1)) + "</pre></html>",
    ]
    return "\n".join(parts)


def _table(table: Sequence[Row], level: str) -> str:
    head = "".join(f"<th>{name}" for name in ("", *(h for _, h in SHORT)))
    head += "<th>identified<th>FAD<th>FAD-inf<th>times real time"
    body = []
    for row in table:
        if row.level != level:
            continue
        cells = [html.escape(row.system)]
        for name, _ in SHORT:
            mean, low, high = row.scores[name]
            spread = f"<br><small>{low:.2f} to {high:.2f}</small>" if math.isfinite(mean) else ""
            cells.append(number(mean) + spread)
        cells += [number(v) for v in (row.identified, *row.frechet)]
        model = row.system not in REFERENCES
        cells.append(number(row.real_time, 1) if model else "")
        kind = " class=model" if model else ""
        body.append(f"<tr{kind}><td>" + "<td>".join(cells))
    return f"<h2>{html.escape(level or 'All levels')}</h2><table><tr>{head}{''.join(body)}</table>"


def _ratings(folder: Path) -> str:
    """What listeners said, if any did."""
    found = ratings(folder)
    if not found:
        return ""
    systems = list(dict.fromkeys(name for by_system in found.values() for name in by_system))
    head = "".join(f"<th>{html.escape(question)}" for question in found)
    body = []
    for system in systems:
        cells = [html.escape(system)]
        for by_system in found.values():
            mean, low, high = by_system.get(system, (math.nan,) * 3)
            cells.append(
                f"{number(mean, 0)}<br><small>{number(low, 0)} to {number(high, 0)}</small>"
            )
        body.append("<tr><td>" + "<td>".join(cells))
    return f"<h2>Listeners (0 to 100)</h2><table><tr><th>{head}{''.join(body)}</table>"


def _failures(records: Sequence[Record]) -> str:
    lines = [
        f"<li>{html.escape(f'{r.system}, {r.case}: {r.failure}')}" for r in records if r.failure
    ]
    return f"<h2>Failed</h2><ul>{''.join(lines)}</ul>" if lines else ""


# ---- pictures --------------------------------------------------------------------------


def _figure(draw: Any, width: float, height: float, caption: str) -> str:
    """A picture drawn by `draw(figure)`, inlined."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    draw(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    data = base64.b64encode(buffer.getvalue()).decode()
    text = html.escape(caption)
    return (
        f"<figure><img alt='{text}' src='data:image/png;base64,{data}'>"
        f"<figcaption>{text}</figcaption></figure>"
    )


def _figures(records: Sequence[Record], table: Sequence[Row], folder: Path) -> str:
    parts = []
    if len(levels_of(records)) > 1:
        parts.append(
            _figure(lambda f: _levels(f, table), 11, 3.6, "Scores by level, 95 % intervals")
        )
    for system in systems_of(records):
        mine = [r for r in records if r.system == system and not r.failure]
        outputs, examples = vectors(mine, system, folder), vectors(mine, "example", folder)
        if system in REFERENCES or outputs is None or examples is None or len(mine) < 3:
            continue
        parts.append(
            _figure(
                lambda f, o=outputs, e=examples, m=mine: _timbres(f, o, e, m),
                11,
                4.6,
                f"{system}: likeness of outputs (rows) to all examples (columns), and the map of "
                "timbres (rings: examples, dots: outputs)",
            )
        )
    return "<h2>Pictures</h2>" + "".join(parts) if parts else ""


def _levels(figure: Any, table: Sequence[Row]) -> None:
    """Scores of every system against the level."""
    kept = [row for row in table if row.level]
    levels = list(dict.fromkeys(row.level for row in kept))
    axes = figure.subplots(1, len(PLOTTED))
    for axis, (name, heading) in zip(axes, PLOTTED, strict=True):
        for system in dict.fromkeys(row.system for row in kept):
            points = [
                (levels.index(row.level), *row.scores[name]) for row in kept if row.system == system
            ]
            x, mean, low, high = np.array(points).T
            style = "o-" if system not in REFERENCES else ".--"
            axis.errorbar(
                x, mean, np.maximum([mean - low, high - mean], 0), fmt=style, label=system
            )
        axis.set_xticks(range(len(levels)), levels, rotation=40, ha="right", fontsize=7)
        axis.set_title(heading, fontsize=10)
    axes[0].legend(fontsize=6)


def _timbres(
    figure: Any, outputs: np.ndarray, examples: np.ndarray, mine: Sequence[Record]
) -> None:
    """Similarities, and the first two principal components of the discriminant."""
    left, right = figure.subplots(1, 2)
    order = np.argsort([str(r.facts.get("target", r.case)) for r in mine])
    left.imshow((outputs @ examples.T)[order][:, order], vmin=-1, vmax=1, cmap="RdBu_r")
    left.set_xlabel("examples")
    left.set_ylabel("outputs")
    both = np.concatenate([examples, outputs])
    _, _, axes = np.linalg.svd(both - both.mean(0), full_matrices=False)
    first, second = (np.split((both - both.mean(0)) @ axis, 2) for axis in axes[:2])
    for k in range(len(mine)):
        right.plot(
            [first[0][k], first[1][k]], [second[0][k], second[1][k]], "-", color="#bbb", lw=1
        )
    right.plot(first[0], second[0], "o", mfc="none", color="#222")
    right.plot(first[1], second[1], ".", color="#1760c4")
    right.set_aspect("equal", "datalim")


def _cases(records: Sequence[Record], folder: Path) -> list[str]:
    """Players and pictures of the model's best, median and worst case by note F1."""
    parts = []
    for system in systems_of(records):
        ranked = sorted(
            (r for r in records if r.system == system and not r.failure),
            key=lambda r: r.scores["note_f1"],
        )
        if system in REFERENCES or not ranked:
            continue
        chosen = {"best": ranked[-1], "median": ranked[len(ranked) // 2], "worst": ranked[0]}
        parts += [_case(word, record, folder) for word, record in chosen.items()]
    return parts


def _case(word: str, record: Record, folder: Path) -> str:
    sounds = [
        ("example", "example"),
        ("source", SOURCE),
        ("truth", TRUTH),
        (record.system, record.system),
    ]
    players = []
    for label, name in sounds:
        path = audio_path(folder, record.case, name)
        if path.is_file():
            data = base64.b64encode(path.read_bytes()).decode()
            players.append(
                f"<label>{html.escape(label)}<br>"
                f"<audio controls src='data:audio/flac;base64,{data}'></audio></label>"
            )
    picture = _figure(
        lambda figure: _spectrogram(figure, record, folder),
        11,
        3.2,
        f"{record.system}: spectrum of the output, and the notes intended",
    )
    facts = ", ".join(f"{k} {v}" for k, v in record.facts.items())
    return (
        f"<div class=case><h3>{word}: {html.escape(record.case)}, note F1 "
        f"{record.scores['note_f1']:.2f}</h3><p><small>{html.escape(facts)}</small></p>"
        f"<div class=players>{''.join(players)}</div>{picture}</div>"
    )


def _spectrogram(figure: Any, record: Record, folder: Path) -> None:
    """Constant-Q spectrum with the notes drawn on it."""
    audio = Audio.read(audio_path(folder, record.case, record.system))
    samples = audio.mono().resample(likeness.RATE).samples[0]
    spectrum = np.log10(likeness.constant_q(samples) + 1e-4)
    axis = figure.subplots()
    axis.imshow(
        spectrum,
        origin="lower",
        aspect="auto",
        cmap="magma",
        extent=(0, audio.seconds, 20.83, 116.83),
    )
    path = folder / "audio" / f"{slug(record.case)}.mid"
    notes = Notes.read(path) if path.is_file() else Notes.empty()
    axis.hlines(notes.pitch, notes.onset, notes.offset, color="#6cf", lw=1.5)
    axis.set_xlabel("seconds")
    axis.set_ylabel("MIDI pitch")
