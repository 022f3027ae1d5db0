"""Does it hold on recordings? As examples of sounds, and as what plays the notes.

    python benchmarks/recordings.py /usr/share/sonic-pi/samples [--model DIR] [-o FOLDER]

The recordings are tonal CC0 samples of the Debian package sonic-pi-samples.

As examples: scores are played in the sound of each. No right answer is known, so only notes, and
likeness to the example beside likeness to the other examples, count.

As structure: none of the recordings is a melody whose notes somebody wrote down, so recorded single
notes whose pitch is certain are replayed faster or slower, as a sampler does. They are heard, and
played in the sound of another recording. The sources themselves are judged beside that, and the
written notes in that sound: what is lost between these and what was heard is the listener's doing.

With a right answer: recorded single notes are the examples, too, replayed by other notes. The
ground truth is the same, replayed by the notes that are asked for.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from functools import partial
from itertools import permutations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import timbrel
from timbrel.audio import Audio
from timbrel.data.render.scores import draw_score
from timbrel.errors import TimbrelError
from timbrel.evaluation.job import Job
from timbrel.evaluation.report import write_report
from timbrel.evaluation.run import Record, evaluate, read_records
from timbrel.evaluation.tables import number, recall_all, systems_of, vectors
from timbrel.model import Timbrel
from timbrel.notes import Notes

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
# Single notes, and their pitch: by their names, or by the one series of harmonics that they have.
PITCHED = {
    "bass_hard_c": 36,
    "bass_thick_c": 36,
    "bass_trance_c": 36,
    "bass_woodsy_c": 36,
    "ambi_glass_hum": 57,
    "elec_bell": 60,
    "elec_ping": 81,
}
LOWEST = 36  # note that is asked for
REACH = OCTAVE = 12  # semitones; a note is replayed over two octaves, from one below its pitch
SECONDS, FADE = 8.0, 0.02
Row = dict[str, Any]


def play_examples(player: Timbrel, recordings: Path, folder: Path) -> Path:
    """Two scores for each recording, and the manifest that lists them."""
    rows = []
    for place, name in enumerate(TONAL):
        example = (recordings / f"{name}.flac").resolve()
        for voices in (1, 3):
            case = f"{name}-{voices}"
            rng = np.random.default_rng([9, place, voices])
            notes = draw_score(rng, SECONDS - 1, 45, 81, voices)
            notes.write(folder / f"{case}.mid")
            audio = player.render(notes, example, length=SECONDS)
            audio.write(folder / "outputs" / f"{case}.flac")
            rows.append(row(case, f"{case}.mid", example))
    return manifest(folder, rows)


class Piece(NamedTuple):
    """What one recorded note plays, and in the sound of which recording it is played again."""

    case: str
    source: str
    example: str
    notes: Notes
    shown: Notes | None = None  # that the example plays, if it is a recorded note, too


def reach(name: str) -> tuple[int, int]:
    """Lowest and highest note that a recorded one is replayed at."""
    low = max(PITCHED[name] - REACH, LOWEST)
    return low, low + 2 * REACH


def any_pieces() -> Iterator[Piece]:
    """Two melodies and two duets of each recorded note, in the sound of any recordings."""
    for place, name in enumerate(PITCHED):
        others = [other for other in TONAL if other != name]
        for part, voices in enumerate((1, 1, 2, 2)):
            rng = np.random.default_rng([10, place, part])
            notes = draw_score(rng, SECONDS - 1, *reach(name), voices)
            example = others[(4 * place + part) % len(others)]
            yield Piece(f"{name}-{part}", name, example, notes)


def known_pieces() -> Iterator[Piece]:
    """A melody or a duet for each pair of recorded notes that both reach an octave."""
    for place, (source, example) in enumerate(permutations(PITCHED, 2)):
        lows, highs = zip(reach(source), reach(example), strict=True)
        low, high = max(lows), min(highs)
        if high - low >= OCTAVE:
            rng = np.random.default_rng([11, place])
            notes = draw_score(rng, SECONDS - 1, low, high, 1 + place % 2)
            shown = draw_score(rng, SECONDS - 1, *reach(example), 1)
            yield Piece(f"{source}-{example}", source, example, notes, shown)


def play_pieces(player: Timbrel, recordings: Path, folder: Path, pieces: Iterator[Piece]) -> Path:
    """As heard and as written, in the sound of the example; and the manifest that lists them."""
    for name in ("sources", "truths", "shown", "written"):
        (folder / name).mkdir(exist_ok=True)
    rows = []
    for case, source, example, notes, shown in pieces:
        notes.write(folder / f"{case}.mid")
        heard = replayed(recordings, source, notes)
        heard.write(folder / "sources" / f"{case}.flac")
        path = (recordings / f"{example}.flac").resolve()
        if shown is not None:
            path = (folder / "shown" / f"{case}.flac").resolve()
            replayed(recordings, example, shown).write(path)
        for structure, made in ((heard, "outputs"), (notes, "written")):
            audio = player.render(structure, path, length=SECONDS)
            audio.write(folder / made / f"{case}.flac")
        line = row(case, f"{case}.mid", path) | {"source": f"sources/{case}.flac"}
        if shown is not None:
            replayed(recordings, example, notes).write(folder / "truths" / f"{case}.flac")
            line |= {"truth": f"truths/{case}.flac", "target_timbre": example}
        rows.append(line)
    return manifest(folder, rows)


def replayed(recordings: Path, name: str, notes: Notes) -> Audio:
    """What a sampler makes of one recorded note."""
    note, pitch = Audio.read(recordings / f"{name}.flac").mono(), PITCHED[name]
    total = round(SECONDS * note.rate)
    out = np.zeros(total + note.samples.shape[1] * 4, np.float32)
    for onset, offset, key, velocity in zip(
        notes.onset, notes.offset, notes.pitch, notes.velocity, strict=True
    ):
        faster = round(note.rate * 2 ** ((int(key) - pitch) / 12))
        sound = Audio(note.samples, faster).resample(note.rate).samples[0]
        held = np.arange(len(sound)) / note.rate - (offset - onset)
        sound = sound * np.clip(1 - held / FADE, 0, 1) * (velocity / 127)
        first = round(float(onset) * note.rate)
        out[first : first + len(sound)] += sound.astype(np.float32)
    return Audio(out[None, :total], note.rate).with_loudness(-23)


def row(case: str, notes: str, example: Path) -> Row:
    """A line of a manifest."""
    return {"case": case, "output": f"{case}.flac", "notes": notes, "example": str(example)}


def manifest(folder: Path, rows: list[Row]) -> Path:
    """Write one."""
    path = folder / "manifest.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in rows))
    return path


def judged(path: Path) -> dict[str, list[Record]]:
    """Records of the outputs, and of the reference rows."""
    report = path.parent / "report"
    made = [path.parent / name for name in ("outputs", "written")]
    evaluate(
        Job(manifest=str(path), outputs=tuple(str(folder) for folder in made if folder.is_dir())),
        report,
    )
    write_report(report)
    records = [record for record in read_records(report) if not record.failure]
    return {name: [r for r in records if r.system == name] for name in systems_of(records)}


def mean(records: list[Record], score: str) -> str:
    """Of a score; a dash where there is no right answer."""
    return number(float(np.mean([r.scores[score] for r in records])))


def say_examples(path: Path) -> None:
    """Judge what was played in the sound of recordings."""
    for system, mine in judged(path).items():
        heard = recall_all(mine, path.parent / "report")
        made = vectors([r.heard for r in mine], heard)
        examples = vectors([r.example for r in mine], heard)
        if made is None or examples is None:
            continue
        likeness = made @ examples.T
        same = np.array([[a.case[:-2] == b.case[:-2] for b in mine] for a in mine])
        best = likeness.argmax(1)
        print(
            f"{system}: note F1 {mean(mine, 'note_f1')}, octave errors "
            f"{mean(mine, 'octave_errors')}, like its example {likeness[same].mean():.2f}, like "
            f"the others {likeness[~same].mean():.2f}, example identified of {len(TONAL)} "
            f"{same[np.arange(len(mine)), best].mean():.2f}"
        )


def say_pieces(path: Path) -> None:
    """Judge what was heard in recordings and played in the sound of others."""
    for system, mine in judged(path).items():
        print(
            f"{system}: note F1 {mean(mine, 'note_f1')}, octave errors "
            f"{mean(mine, 'octave_errors')}, like the example {mean(mine, 'like_example')}, like "
            f"the source {mean(mine, 'like_source')}, nearer to the example "
            f"{mean(mine, 'nearer')}, dB off truth {mean(mine, 'log_mel_distance')}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recordings", type=Path)
    parser.add_argument("--model", default="default")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/recordings"))
    options = parser.parse_args()
    try:
        player = timbrel.load(options.model)
        for name, play, say in (
            ("examples", play_examples, say_examples),
            ("structure", partial(play_pieces, pieces=any_pieces()), say_pieces),
            ("pairs", partial(play_pieces, pieces=known_pieces()), say_pieces),
        ):
            folder = options.output / name
            (folder / "outputs").mkdir(parents=True, exist_ok=True)
            print(f"as {name}")
            say(play(player, options.recordings, folder))
    except TimbrelError as error:  # no such recordings, or a folder with another evaluation
        sys.exit(f"recordings.py: {error}")


if __name__ == "__main__":
    main()
