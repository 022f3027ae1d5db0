"""How well does a model hear notes, beside Basic Pitch, and drums?

    python benchmarks/listener.py default --data runs/valid --count 60

Note precision, recall and F1 (onsets within 50 ms) on pitched renditions of a store, whose
notes are known exactly; the same of strokes on its drums, where pieces that do the same in a kit
(two kicks, two snares) count as one; and how often one kind was taken for the other.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from timbrel.audio import Audio
from timbrel.conditions.drums import GROUPS
from timbrel.data.store import Store
from timbrel.evaluation.notes_metrics import note_scores
from timbrel.evaluation.transcriber import transcribe
from timbrel.model import load
from timbrel.notes import Notes, Track

FIRST = {pitch: group[0] for group in GROUPS for pitch in group}


def grouped(strokes: Notes) -> Notes:
    """Every piece as the first of its group, without what no group has; as pitches."""
    known = strokes.where(np.isin(strokes.pitch, list(FIRST)))
    pitch = np.array([FIRST[int(p)] for p in known.pitch], known.pitch.dtype)
    return replace(known, pitch=pitch, tracks=(Track(),) * len(known.tracks))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--count", type=int, default=60, help="most renditions of each kind")
    arguments = parser.parse_args()
    model, store = load(arguments.model, "cpu"), Store.open(arguments.data)
    found: dict[str, list[tuple[float, float, float]]] = {
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
                found[name].append((scores.precision, scores.recall, scores.f1))
        mistaken.append((wrong, len(chosen[: arguments.count])))
    print("| | precision | recall | F1 | renditions |\n|---|---|---|---|---|")
    for name, rows in found.items():
        if rows:
            means = " | ".join(f"{value:.2f}" for value in np.mean(rows, 0))
            print(f"| {name} | {means} | {len(rows)} |")
    kinds = ("instruments were taken for drums", "kits for instruments")
    print(
        "\n" + ", ".join(f"{n} of {m} {kind}" for (n, m), kind in zip(mistaken, kinds, strict=True))
    )


if __name__ == "__main__":
    main()
