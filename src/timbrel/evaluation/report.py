"""The report: one HTML page that needs no network, and tables for machines and papers."""

import base64
import html
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from timbrel.audio import Audio
from timbrel.data.files import write_text
from timbrel.errors import InputError
from timbrel.evaluation.figures import case_figure, levels_figure, timbre_figure
from timbrel.evaluation.hearing import Hearing
from timbrel.evaluation.listening import ratings
from timbrel.evaluation.run import Record, audio_path, read_records, read_settings
from timbrel.evaluation.scores import SCORE_NAMES
from timbrel.evaluation.systems import REFERENCES, SOURCE, TRUTH
from timbrel.evaluation.tables import (
    SHORT,
    Row,
    heard_structure,
    levels_of,
    markdown,
    missing,
    number,
    read_json,
    recall_all,
    rows,
    shown,
    systems_of,
    title,
    write_csv,
    write_json,
)

MP3_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)  # Hz
STYLE = """
:root { color-scheme: light }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 80rem; padding: 0 1rem;
  color: #1d1d1f; background: #fff }
h1 { margin-bottom: 0 } h2 { margin-top: 2.2rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; margin: .6rem 0; font-variant-numeric: tabular-nums;
  font-size: 14px }
th, td { padding: .25rem .45rem; border-bottom: 1px solid #ddd; text-align: right;
  vertical-align: top }
th { vertical-align: bottom; font-size: 13px }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: #fff;
  min-width: 8.5rem }
small { color: #5a5a60; white-space: nowrap; font-weight: 400; font-size: 11px }
.model td, .model td:first-child { font-weight: 600; background: #eef4ff }
figure { margin: 1rem 0 } figcaption { color: #444; font-size: 14px; max-width: 60rem }
img { max-width: 100%; height: auto } audio { height: 2.2rem; width: 15rem; max-width: 100% }
.case { border-top: 1px solid #ddd; padding-top: .6rem; margin-top: 1rem }
.facts { color: #5a5a60; font-size: 13px; overflow-wrap: anywhere }
.players { display: flex; flex-wrap: wrap; gap: 1rem } .players label { display: block }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; font-size: 14px }
dt { font-weight: 600 } dd { margin: 0 } pre { overflow-x: auto; font-size: 13px }
summary { cursor: pointer; margin: .4rem 0 } .why { color: #5a5a60; font-size: 13px }
@media (max-width: 40rem) { figure { overflow-x: auto } img { max-width: none; width: 46rem }
  dl { grid-template-columns: 1fr } body { margin-top: 1rem } }
"""


def write_report(folder: Path, embedding: str | None = None) -> list[Row]:
    """Write index.html, table.md, report.json and scores.csv beside an evaluation's records.

    Args:
        folder: of the evaluation.
        embedding: for Fréchet distances, see `embeddings.embedder`; None: that of the report
            that is there, else musicnn.

    Raises:
        InputError: there is no such embedding, or the evaluation's settings are damaged.
    """
    embedding = _embedding_of(folder) if embedding is None else embedding
    records = read_records(folder)
    settings = read_settings(folder)
    settings["frechet embedding"] = embedding
    table = rows(records, folder, embedding)
    write_text(folder / "table.md", markdown(table))
    write_json(table, settings, folder / "report.json")
    write_csv(records, folder / "scores.csv")
    write_text(folder / "index.html", page(records, table, settings, folder))
    return table


def _embedding_of(folder: Path) -> str:
    """For Fréchet distances of the report that is there; musicnn if none can be read."""
    try:
        _, before = read_json(folder / "report.json")
    except InputError:
        before = {}
    return str(before.get("frechet embedding", "musicnn"))


def page(
    records: Sequence[Record], table: Sequence[Row], settings: dict[str, Any], folder: Path
) -> str:
    """The whole page."""
    protocol = settings.get("protocol") or "given cases"
    if isinstance(protocol, str):  # a study's file
        protocol = {"name": Path(protocol).stem, "question": "", "levels": {}}
    heading = html.escape(f"Timbrel evaluation: {protocol['name']}")
    heard = recall_all(records, folder)
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{heading}</title>",
        "<meta name=viewport content='width=device-width'>",
        f"<style>{STYLE}</style><h1>{heading}</h1><p>{html.escape(protocol['question'])}</p>",
        _summary(table),
        *_tables(table),
        _legend(table),
        _ratings(folder),
        _failures(records),
        _pictures(records, table, protocol["levels"], heard),
        "<h2>Best, median and worst cases</h2>"
        "<p class=why>By note F1. Players hold MP3 copies of the files in audio/.</p>",
        *_cases(records, folder, heard),
        "<h2>Settings</h2><pre>" + html.escape(json.dumps(settings, indent=1)) + "</pre></html>",
    ]
    return "\n".join(parts)


# ---- tables ----------------------------------------------------------------------------


def _summary(table: Sequence[Row]) -> str:
    """What is judged, level by level."""
    levels = list(dict.fromkeys(row.level for row in table))
    judged = [s for s in dict.fromkeys(r.system for r in table) if s not in REFERENCES]
    if len(levels) < 2:
        return ""
    parts = []
    for system in judged:
        lines = []
        for level in levels:
            mine = [r for r in table if r.level == level and r.system == system]
            if mine:
                kind = "" if level else " class=model"
                cells = _cells(mine[0], table)
                name = html.escape(level or "all levels")
                lines.append(f"<tr{kind}><td>{name}{cells}")
        parts.append(
            f"<h2>{html.escape(system)}</h2><div class=wide><table><tr>{_head(table)}"
            f"{''.join(lines)}</table></div>"
        )
    return "".join(parts)


def _tables(table: Sequence[Row]) -> list[str]:
    """All systems, a table for each level; folded up if there are many."""
    levels = list(dict.fromkeys(row.level for row in table))
    parts = ["<h2>All systems</h2>" if len(levels) > 1 else ""]
    for level in sorted(levels, key=bool):  # all levels together first
        body = []
        for row in table:
            if row.level == level:
                kind = "" if row.system in REFERENCES else " class=model"
                body.append(f"<tr{kind}><td>{html.escape(title(row))}{_cells(row, table)}")
        mine = [row for row in table if row.level == level]
        parts.append(
            f"<details{'' if level and len(levels) > 3 else ' open'}>"
            f"<summary>{html.escape(level or 'all levels')}, {max(r.cases for r in mine)} cases"
            f"</summary><div class=wide><table><tr>{_head(table)}{''.join(body)}</table></div>"
            f"{_every_score(mine)}</details>"
        )
    parts += [f"<p>{html.escape(sentence)}</p>" for sentence in heard_structure(table)]
    parts += [f"<p class=why>{html.escape(reason)}</p>" for reason in missing(table)]
    return parts


def _head(table: Sequence[Row]) -> str:
    head = "<th>" + "".join(f"<th title='{html.escape(w)}'>{h}" for _, h, w in shown(table))
    return head + "<th title='seconds of audio per second of computing'>times real time"


def _cells(row: Row, table: Sequence[Row]) -> str:
    cells = []
    for name, _, _ in shown(table):
        mean, low, high = row.values[name]
        spread = f"<br><small>{low:.2f} to {high:.2f}</small>" if math.isfinite(low) else ""
        cells.append(f"<td>{number(mean)}{spread}")
    speed = number(row.real_time, 1) if row.system not in REFERENCES else ""
    return "".join(cells) + f"<td>{speed}"


def _every_score(mine: Sequence[Row]) -> str:
    """Folded up: all scores of all systems, means alone."""
    names = [n for n in SCORE_NAMES if any(math.isfinite(r.values[n][0]) for r in mine)]
    head = "<th>" + "".join(f"<th>{html.escape(row.system)}" for row in mine)
    body = "".join(
        f"<tr><td>{name.replace('_', ' ')}"
        + "".join(f"<td>{_plain(row.values[name][0])}" for row in mine)
        for name in names
    )
    return (
        "<details><summary>every score</summary><div class=wide>"
        f"<table><tr>{head}{body}</table></div></details>"
    )


def _plain(value: float) -> str:
    return number(value, 0 if abs(value) >= 100 else 3)


def _legend(table: Sequence[Row]) -> str:
    items = "".join(
        f"<dt>{heading}<dd>{html.escape(what)}"
        for name, heading, what in SHORT
        if name in {column[0] for column in shown(table)}
    )
    return (
        f"<details><summary>What the columns mean</summary><dl>{items}</dl>"
        "<p class=why>Small print: 95 % bootstrap intervals. Ground truth is the exactly right "
        "output, rendered; the other rows in plain type say what numbers mean.</p></details>"
    )


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
            spread = f"<br><small>{low:.0f} to {high:.0f}</small>" if math.isfinite(low) else ""
            cells.append(f"{number(mean, 0)}{spread}")  # one listener has no interval
        body.append("<tr><td>" + "<td>".join(cells))
    return (
        "<h2>Listeners (0 to 100)</h2><div class=wide><table>"
        f"<tr><th>{head}{''.join(body)}</table></div>"
    )


def _failures(records: Sequence[Record]) -> str:
    lines = [
        f"<li>{html.escape(f'{r.system}, {r.case}: {r.failure}')}" for r in records if r.failure
    ]
    return f"<h2>Failed</h2><ul>{''.join(lines)}</ul>" if lines else ""


# ---- pictures and sounds ---------------------------------------------------------------


def _pictures(
    records: Sequence[Record],
    table: Sequence[Row],
    levels: Mapping[str, Mapping[str, Any]],
    heard: Mapping[str, Hearing],
) -> str:
    parts = []
    if len(levels_of(records)) > 1:
        by_name = levels or {level: {} for level in levels_of(records)}
        parts.append(levels_figure([row for row in table if row.level], by_name))
    for system in systems_of(records):
        if system not in REFERENCES:
            parts.append(timbre_figure(system, [r for r in records if r.system == system], heard))
    return "<h2>Pictures</h2>" + "".join(parts) if any(parts) else ""


def _cases(records: Sequence[Record], folder: Path, heard: Mapping[str, Hearing]) -> list[str]:
    """Players and pictures of what is judged: its best, median and worst case by note F1."""
    parts = []
    for system in systems_of(records):
        ranked = sorted(
            (r for r in records if r.system == system and not r.failure),
            key=lambda r: r.scores["note_f1"],
        )
        if system in REFERENCES or not ranked:
            continue
        chosen = {"best": ranked[-1], "median": ranked[len(ranked) // 2], "worst": ranked[0]}
        shown_already: set[str] = set()
        for word, record in chosen.items():
            if record.case not in shown_already:
                parts.append(_case(word, record, folder, heard))
            shown_already.add(record.case)
    return parts


def _case(word: str, record: Record, folder: Path, heard: Mapping[str, Hearing]) -> str:
    sounds = [
        ("example", "example"),
        ("example as given", "example as given"),
        ("source", SOURCE),
        ("ground truth", TRUTH),
        (record.system, record.system),
    ]
    players = []
    for label, name in sounds:
        path = audio_path(folder, record.case, name)
        if path.is_file():
            players.append(
                f"<label>{html.escape(label)}<br><audio controls preload=metadata "
                f"src='{_inlined(path)}'></audio></label>"
            )
    facts = ", ".join(f"{k}: {v}" for k, v in record.facts.items())
    return (
        f"<div class=case><h3>{word}: {html.escape(record.case)}, note F1 "
        f"{record.scores['note_f1']:.2f}</h3><p class=facts>{html.escape(facts)}</p>"
        f"<div class=players>{''.join(players)}</div>"
        f"{case_figure(record, heard.get(record.heard), folder)}</div>"
    )


def _inlined(path: Path) -> str:
    """A sound as a data URI: MP3, a sixth of the FLAC file, where libsndfile can write it."""
    import soundfile

    kind, data = "flac", path.read_bytes()
    if "MP3" in soundfile.available_formats():
        audio = _fit_for_mp3(Audio.read(path))
        buffer = io.BytesIO()
        soundfile.write(buffer, audio.samples.T, audio.rate, format="MP3", compression_level=0.0)
        kind, data = "mpeg", buffer.getvalue()
    return f"data:audio/{kind};base64,{base64.b64encode(data).decode()}"


def _fit_for_mp3(audio: Audio) -> Audio:
    """The same sound at a rate that MP3 has, and in mono if it has more than two channels."""
    audio = audio if audio.samples.shape[0] <= 2 else audio.mono()
    return audio if audio.rate in MP3_RATES else audio.resample(MP3_RATES[-1])
