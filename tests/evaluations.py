"""Small evaluations made by hand."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sounds import RATE, pitch_hz, tone
from timbrel.audio import Audio
from timbrel.evaluation.cases import Case
from timbrel.evaluation.job import Job
from timbrel.evaluation.protocol import read_protocol
from timbrel.evaluation.run import Record, claim
from timbrel.notes import Notes, Track

SMALL = replace(
    read_protocol("midi-to-audio"), seconds=4.0, levels={"seen timbres": {"pool": "seen-seen"}}
)


def band_case(seconds: float, **parts: Any) -> Case:
    """A note and a drum, with beats."""
    rows = [(0.1, 0.9, 69, 90, 0), (0.2, 0.3, 36, 90, 1)]
    notes = Notes.from_rows(rows, (Track(), Track(drums=True)))
    sound = Audio(0.3 * tone(440.0, seconds)[None], RATE)
    given = {"notes": notes, "given": notes, "source": None, "truth": sound} | parts
    rest = {"name": "c", "level": "level", "example": sound, "beats": np.arange(0, seconds, 0.5)}
    return Case(**rest | given)


def write_manifest(folder: Path) -> Path:
    """Three cases as files, and the answers of `out`: a good one, none, and silence."""
    notes = Notes.from_rows([(0.2, 0.9, 60, 90), (1.0, 1.8, 67, 90)])
    (folder / "out").mkdir()
    rows = []
    for number, name in enumerate(("good.wav", "missing.wav", "silent.flac")):
        notes.write(folder / f"{number}.mid")
        Audio(tone(330, 2.0)[None], RATE).write(folder / f"{number}-example.wav")
        rows.append({"output": name, "notes": f"{number}.mid", "example": f"{number}-example.wav"})
    sound = np.concatenate(
        [np.zeros(8820), tone(pitch_hz(60), 0.7), np.zeros(4410), tone(pitch_hz(67), 0.8)]
    )
    Audio(np.stack([sound, sound]).astype(np.float32), RATE).write(folder / "out" / "good.wav")
    Audio(np.zeros((1, 16_000), np.float32), 16_000).write(folder / "out" / "silent.flac")
    path = folder / "manifest.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def write_scores(folder: Path, job: Job) -> Path:
    """What an evaluation of a dozen cases may leave."""
    claim(folder, job.settings())
    scores = {"note_f1": 0.5, "like_example": 0.5}
    records = [Record(f"c{k}", "level", "ours", scores, "", 1.0, 1.0, {}) for k in range(12)]
    (folder / "records.jsonl").write_text("".join(r.to_json() + "\n" for r in records))
    return folder
