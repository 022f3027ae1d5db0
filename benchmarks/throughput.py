"""How many items a second a model is trained on: by batch size, and by who draws the items.

    python benchmarks/throughput.py --data STORE [--batch 16 --batch 512] [--workers 0 --workers 8]

The store needs latents of the default model's codec. A step is what `timbrel train model` does;
what is slower in the beginning (libraries choose kernels, processes begin to draw) is left out.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import median

import torch

from timbrel.data.store import Store
from timbrel.model import folder_of, pick_device
from timbrel.network import latent_config
from timbrel.serialize import load_codec
from timbrel.training.model import train_model
from timbrel.training.recipe import preset, read_recipe
from timbrel.training.run import Budget

STEPS = 48
FIRST = 16  # steps that are not counted


def seconds_per_step(data: Path, recipe: str | None, batch: int, workers: int) -> float:
    """Median of the later steps of a short training from nothing."""
    device, codec = pick_device("auto"), load_codec(folder_of("default"))
    chosen = preset("small")
    if recipe is not None:
        chosen = read_recipe(recipe, chosen.model, chosen.training)
    precise = replace(chosen.training, batch=batch, precision="bf16", validate_every=10**6)
    marks: list[float] = []

    def mark(step: int, progress: float) -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()
        marks.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        train_model(
            Store.open(data).part("train"),
            None,
            codec,
            Path(folder),
            replace(chosen.model, codec=latent_config(codec)),
            precise,
            Budget(steps=STEPS),
            device,
            on_step=mark,
            workers=workers,
        )
    return median(after - before for before, after in pairwise(marks[FIRST:]))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--recipe", help="as of `timbrel train model`")
    parser.add_argument("--batch", type=int, action="append")
    parser.add_argument("--workers", type=int, action="append")
    options = parser.parse_args()
    rows = []
    for batch in options.batch or [16]:
        for workers in options.workers or [0]:
            took = seconds_per_step(options.data, options.recipe, batch, workers)
            rows.append((batch, workers, 1e3 * took, batch / took))
    print("\n| items a step | processes that draw | milliseconds a step | items a second |")
    print("|---|---|---|---|")
    for batch, workers, took, pace in rows:
        print(f"| {batch} | {workers} | {took:.0f} | {pace:.0f} |")


if __name__ == "__main__":
    main()
