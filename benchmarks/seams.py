"""Do windows show where they join? Change from frame to frame at the joins, and elsewhere.

    python benchmarks/seams.py [MODEL]

A piece is made in windows that continue each other. If a join could be heard, the latent would
change there more than elsewhere. Joins fall on fixed frames and scores are drawn, so notes begin at
a join no more often than anywhere else.
"""

import sys
from pathlib import Path

import numpy as np
import torch

from timbrel.data.render.scores import draw_score
from timbrel.evaluation.statistics import mean_interval
from timbrel.generate.windows import generate, structure_of_rolls, windows
from timbrel.model import Timbrel, load
from timbrel.notes import Notes
from timbrel.roll import roll

SECONDS = 60.0
SCORES = 4  # of each example
EXAMPLES = Path(__file__).parents[1] / "examples"


def changes(player: Timbrel, notes: Notes, example: Path) -> np.ndarray:
    """(frames - 1,): how much the latent changes from each frame to the next."""
    rate = player.codec.frame_rate

    def roll_between(start: int, stop: int) -> torch.Tensor:
        return torch.from_numpy(roll(notes.cut(start / rate, stop / rate), rate, stop - start))

    structure = structure_of_rolls(player.network, roll_between)
    frames = round(SECONDS * rate)
    timbre = player.timbre(example)
    latent = torch.cat(
        list(generate(player.network, structure, frames, timbre, player.sampling())), 2
    )
    weight = player.network.channel_weight[:, None]
    return (latent.diff(dim=2).square() * weight).mean(1).sqrt()[0].numpy()


def main() -> None:
    player = load(sys.argv[1] if len(sys.argv) > 1 else "default", "cpu")
    config = player.network.config
    spans = windows(round(SECONDS * player.codec.frame_rate), config.window, config.context)
    # the change into the first frame that a window adds to the one before
    joins = [start + given - 1 for start, given, _ in spans if given]
    print("| example | change at joins, over that elsewhere (95 %) | joins |\n|---|---|---|")
    every: list[float] = []
    for example in sorted(EXAMPLES.glob("*.flac")):
        ratios: list[float] = []
        for number in range(SCORES):
            notes = draw_score(np.random.default_rng(number), SECONDS, 48, 84, 3)
            change = changes(player, notes, example)
            ratios += list(change[joins] / np.delete(change, joins).mean())
        print(f"| {example.stem} | {_interval(ratios)} | {len(ratios)} |", flush=True)
        every += ratios
    print(f"| all | {_interval(every)} | {len(every)} |")


def _interval(values: list[float]) -> str:
    mean, low, high = mean_interval(values)
    return f"{mean:.2f} ({low:.2f} to {high:.2f})"


if __name__ == "__main__":
    main()
