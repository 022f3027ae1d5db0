"""How well does a model hear notes, beside Basic Pitch, and drums?

    python benchmarks/listener.py default --data runs/valid --count 60
    python benchmarks/listener.py default --data runs/valid --count 110 --less OLDMODEL
    python benchmarks/listener.py default --data runs/valid --count 110 --less OLDMODEL --drums
    python benchmarks/listener.py default --data runs/valid --count 110 --ending 0.4 --ending 0.8

Note precision, recall and F1 (onsets within 50 ms), F1 with offsets and octave errors on pitched
renditions of a store, whose notes are known exactly; the same of strokes on its drums, where pieces
that do the same in a kit (two kicks, two snares) count as one; and how often one kind was taken for
the other. `--less`: how much better than another model it hears notes, rendition by rendition;
with `--drums` while drums of the store play beside them, as loud.
`--ending`: what other levels of probability would do below which a note has ended.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from timbrel.audio import Audio
from timbrel.conditions.drums import GROUPS
from timbrel.conditions.listener import READING, probabilities
from timbrel.data.store import Store
from timbrel.evaluation.compare import difference
from timbrel.evaluation.notes_metrics import NoteScores, note_scores
from timbrel.evaluation.transcriber import transcribe
from timbrel.model import Timbrel, load
from timbrel.notes import Notes, Track
from timbrel.posterior import read_notes

COLUMNS = {
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "offset_f1": "with offsets",
    "octave_error_rate": "octave errors",
}
SCORES = {"f1": "note F1", "octave_error_rate": "octave errors", "offset_f1": "with offsets"}
FIRST = {pitch: group[0] for group in GROUPS for pitch in group}


def grouped(strokes: Notes) -> Notes:
    """Every piece as the first of its group, without what no group has; as pitches."""
    known = strokes.where(np.isin(strokes.pitch, list(FIRST)))
    pitch = np.array([FIRST[int(p)] for p in known.pitch], known.pitch.dtype)
    return replace(known, pitch=pitch, tracks=(Track(),) * len(known.tracks))


def beside(audio: Audio, drums: Audio) -> Audio:
    """Both, equally loud."""
    samples = [part.with_loudness(-23).samples for part in (audio, drums)]
    shortest = min(part.shape[1] for part in samples)
    return Audio(samples[0][:, :shortest] + samples[1][:, :shortest], audio.rate)


def less(model: Timbrel, other: Timbrel, store: Store, count: int, drums: bool) -> None:
    """Print the differences of two models, with 95 % intervals by a paired bootstrap."""
    chosen = [i for i, item in enumerate(store.items) if not item.drums][:count]
    kits = [i for i, item in enumerate(store.items) if item.drums]
    found: dict[str, list[NoteScores]] = {"before": [], "after": []}
    for number, index in enumerate(chosen):
        audio = Audio(store.audio(index)[None], store.items[index].rate)
        if drums:
            kit = kits[number % len(kits)]
            audio = beside(audio, Audio(store.audio(kit)[None], store.items[kit].rate))
        for name, player in (("before", other), ("after", model)):
            heard = player.listen(audio).pitched()
            found[name].append(note_scores(store.notes(index), heard))
    print("| | " + " | ".join(SCORES.values()) + " | renditions |\n|---|---|---|---|---|")
    for name, rows in found.items():
        means = [f"{np.mean([getattr(row, score) for row in rows]):.3f}" for score in SCORES]
        print(f"| {name} | " + " | ".join(means) + f" | {len(rows)} |")
    scores = [store.items[index].score for index in chosen]  # one played by several is one case
    cells = [
        difference(*([getattr(row, score) for row in rows] for rows in found.values()), scores)
        for score in SCORES
    ]
    print("| after less before | " + " | ".join(cells) + f" | {len(chosen)} |")


def endings(model: Timbrel, store: Store, count: int, levels: list[float]) -> None:
    """Print how well notes are heard if they last while they sound with some probability."""
    assert model.listener is not None
    chosen = [i for i, item in enumerate(store.items) if not item.drums][:count]
    found: dict[float, list[NoteScores]] = {level: [] for level in levels}
    for index in chosen:
        audio = Audio(store.audio(index)[None], store.items[index].rate).with_loudness(-23)
        samples = torch.from_numpy(audio.resample(model.listener.config.rate).samples)
        onset, sounding, velocity = probabilities(model.listener, samples)
        for level in levels:
            reading = replace(READING, ending_level=level)
            heard = read_notes(onset, sounding, model.listener.frame_rate, velocity, reading)
            found[level].append(note_scores(store.notes(index), heard))
    print(
        "| ending level | " + " | ".join(SCORES.values()) + " | renditions |\n|---|---|---|---|---|"
    )
    for level, rows in found.items():
        means = [f"{np.mean([getattr(row, score) for row in rows]):.3f}" for score in SCORES]
        print(f"| {level:g} | " + " | ".join(means) + f" | {len(rows)} |")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--count", type=int, default=60, help="most renditions of each kind")
    parser.add_argument("--less", help="another model, to be compared with")
    parser.add_argument("--ending", type=float, action="append", help="see decision 0027")
    parser.add_argument("--drums", action="store_true", help="with --less: drums play beside")
    arguments = parser.parse_args()
    model, store = load(arguments.model, "cpu"), Store.open(arguments.data)
    if arguments.ending:
        endings(model, store, arguments.count, arguments.ending)
        return
    if arguments.less:
        less(model, load(arguments.less, "cpu"), store, arguments.count, arguments.drums)
        return
    found: dict[str, list[list[float]]] = {
        "notes, the model's listener": [],
        "notes, Basic Pitch": [],
        "strokes, the model's listener": [],
    }
    mistaken = []
    for drums in (False, True):
        chosen = [i for i, item in enumerate(store.items) if item.drums == drums]
        wrong = 0
        for index in chosen[: arguments.count]:
            audio = Audio(store.audio(index)[None], store.items[index].rate)
            written, heard = store.notes(index), model.listen(audio)
            wrong += bool(len(heard.pitched())) == drums
            if drums:
                pairs = [("strokes, the model's listener", grouped(written), grouped(heard))]
            else:
                judge = transcribe(audio.samples[0], audio.rate)
                pairs = [
                    ("notes, the model's listener", written, heard.pitched()),
                    ("notes, Basic Pitch", written, judge),
                ]
            for name, wanted, got in pairs:
                scores = note_scores(wanted, got)
                found[name].append([getattr(scores, column) for column in COLUMNS])
        mistaken.append((wrong, len(chosen[: arguments.count])))
    print(f"| | {' | '.join(COLUMNS.values())} | renditions |\n|{'---|' * (2 + len(COLUMNS))}")
    for name, rows in found.items():
        if rows:
            means = " | ".join(f"{value:.3f}" for value in np.mean(rows, 0))
            print(f"| {name} | {means} | {len(rows)} |")
    kinds = ("instruments were taken for drums", "kits for instruments")
    print(
        "\n" + ", ".join(f"{n} of {m} {kind}" for (n, m), kind in zip(mistaken, kinds, strict=True))
    )


if __name__ == "__main__":
    main()
