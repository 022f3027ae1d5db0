"""Does it hold on recordings? Plays scores with real recordings as examples.

    python benchmarks/recordings.py /usr/share/sonic-pi/samples [--model DIR] [-o FOLDER]

The recordings are tonal CC0 samples of the Debian package sonic-pi-samples. No right answer is
known, so only notes, and likeness to the example beside likeness to the other examples, count.
They are not what is played: none is a melody. The loops are drums and drones; the guitars are
single chords with echoes, in which nobody has said what the notes are.
"""

import argparse
import json
from pathlib import Path

import numpy as np

import timbrel
from timbrel.data.render.scores import draw_score
from timbrel.evaluation.report import write_report
from timbrel.evaluation.run import Job, evaluate, read_records
from timbrel.evaluation.tables import recall_all, systems_of, vectors

TONAL = [
    "ambi_choir",
    "ambi_glass_hum",
    "ambi_piano",
    "bass_hard_c",
    "bass_thick_c",
    "bass_trance_c",
    "bass_voxy_c",
    "bass_woodsy_c",
    "elec_chime",
    "guit_e_fifths",
    "guit_e_slide",
    "guit_em9",
    "guit_harmonics",
    "perc_bell",
    "loop_garzul",
    "loop_safari",
]
SECONDS = 8.0


def render_all(recordings: Path, model: str, folder: Path) -> Path:
    """Two scores for each recording, and the manifest that lists them."""
    player = timbrel.load(model)
    outputs = folder / "outputs"
    outputs.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, name in enumerate(TONAL):
        example = (recordings / f"{name}.flac").resolve()
        for voices in (1, 3):
            case = f"{name}-{voices}"
            notes = draw_score(
                np.random.default_rng([9, number, voices]), SECONDS - 1, 45, 81, voices
            )
            notes.write(folder / f"{case}.mid")
            audio = player.render(notes, example, length=SECONDS)
            audio.write(outputs / f"{case}.flac")
            rows.append(
                {
                    "case": case,
                    "output": f"{case}.flac",
                    "notes": f"{case}.mid",
                    "example": str(example),
                }
            )
    manifest = folder / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return manifest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recordings", type=Path)
    parser.add_argument("--model", default="default")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/recordings"))
    options = parser.parse_args()
    manifest = render_all(options.recordings, options.model, options.output)
    report = options.output / "report"
    job = Job(manifest=str(manifest), outputs=(str(options.output / "outputs"),))
    evaluate(job, report)
    write_report(report)
    records = read_records(report)
    heard = recall_all(records, report)
    for system in systems_of(records):
        mine = [r for r in records if r.system == system and not r.failure]
        made = vectors([r.heard for r in mine], heard)
        examples = vectors([r.example for r in mine], heard)
        if made is None or examples is None:
            continue
        likeness = made @ examples.T
        same = np.array([[a.case[:-2] == b.case[:-2] for b in mine] for a in mine])
        best = likeness.argmax(1)
        print(
            f"{system}: note F1 {np.mean([r.scores['note_f1'] for r in mine]):.2f}, octave errors "
            f"{np.mean([r.scores['octave_errors'] for r in mine]):.2f}, like its example "
            f"{likeness[same].mean():.2f}, like the others {likeness[~same].mean():.2f}, example "
            f"identified of {len(TONAL)} {same[np.arange(len(mine)), best].mean():.2f}"
        )


if __name__ == "__main__":
    main()
