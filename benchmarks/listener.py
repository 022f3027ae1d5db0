"""How well does a model hear notes, beside Basic Pitch?

    python benchmarks/listener.py default --data runs/valid --count 60

Note precision, recall and F1 (onsets within 50 ms) on pitched renditions of a store, whose
notes are known exactly.
"""

import argparse
from pathlib import Path

import numpy as np

from timbrel.audio import Audio
from timbrel.data.store import Store
from timbrel.evaluation.notes_metrics import note_scores
from timbrel.evaluation.transcriber import transcribe
from timbrel.model import load


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--count", type=int, default=60)
    arguments = parser.parse_args()
    model, store = load(arguments.model, "cpu"), Store.open(arguments.data)
    pitched = [i for i, item in enumerate(store.items) if not item.drums][: arguments.count]
    found: dict[str, list[tuple[float, float, float]]] = {
        "the model's listener": [],
        "Basic Pitch": [],
    }
    for index in pitched:
        audio, written = (
            Audio(store.audio(index)[None], store.items[index].rate),
            store.notes(index),
        )
        heard = model.listen(audio), transcribe(audio.samples[0], audio.rate)
        for rows, notes in zip(found.values(), heard, strict=True):
            scores = note_scores(written, notes)
            rows.append((scores.precision, scores.recall, scores.f1))
    print("| | precision | recall | note F1 |\n|---|---|---|---|")
    for name, rows in found.items():
        print(f"| {name} | " + " | ".join(f"{value:.2f}" for value in np.mean(rows, 0)) + " |")


if __name__ == "__main__":
    main()
