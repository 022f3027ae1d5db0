"""What does it take to be so far off the written notes in structure?

    python benchmarks/structure.py default --data runs/valid

"Structure off notes" of reports (`evaluation/structure.py`), of known faults: written notes that
come late or are missing, those of another rendition, and what the model hears. Of pitched
renditions of a store, as many as `--count`, evenly taken.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from timbrel.audio import Audio
from timbrel.data.store import Store
from timbrel.evaluation.structure import structure_apart
from timbrel.model import load
from timbrel.notes import Notes

Fault = Callable[[int], Notes]  # number of a rendition -> notes


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", help="'default' or a model folder")
    parser.add_argument("--data", type=Path, required=True, help="store of renditions")
    parser.add_argument("--count", type=int, default=24, help="renditions")
    options = parser.parse_args()
    player, store = load(options.model), Store.open(options.data)
    pitched = [k for k, item in enumerate(store.items) if not item.drums]
    items = pitched[:: max(1, len(pitched) // options.count)][: options.count]
    written = [store.notes(k) for k in items]
    rng = np.random.default_rng(0)

    def missing(share: float) -> Fault:
        return lambda k: written[k].where(rng.random(len(written[k])) >= share)

    def heard(k: int) -> Notes:
        item = store.items[items[k]]
        return player.listen(Audio(store.audio(items[k], 0, item.length)[None], item.rate))

    faults: dict[str, Fault] = {
        "the same notes": lambda k: written[k],
        "10 ms late": lambda k: written[k].shift(0.01),
        "25 ms late": lambda k: written[k].shift(0.025),
        "100 ms late": lambda k: written[k].shift(0.1),
        "5 % missing": missing(0.05),
        "20 % missing": missing(0.2),
        "50 % missing": missing(0.5),
        "a semitone up": lambda k: written[k].transpose(1),
        "of another rendition": lambda k: written[k - 1],
    }
    if player.listener is not None:
        faults["heard by the model"] = heard
    print("| notes | structure off notes |\n|---|---|")
    for name, fault in faults.items():
        found = []
        for k, index in enumerate(items):
            seconds = store.items[index].length / store.items[index].rate
            rate = player.codec.frame_rate
            found.append(structure_apart(player.network, fault(k), written[k], seconds, rate))
        print(f"| {name} | {np.nanmean(found):.2f} |", flush=True)


if __name__ == "__main__":
    main()
