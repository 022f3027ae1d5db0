"""Trains the designs of codec from nothing for the same CPU time, for `codec.py` to compare.

    python benchmarks/designs.py --store runs/train --seconds 600 -o runs/designs
    python benchmarks/codec.py runs/designs/*/codec --store runs/valid

CPU time and not wall time, so that other work on the machine takes nothing from either. All that
training does counts: fitting the basis, measuring the latent, reading audio. Each design has the
defaults of `timbrel train codec`, and its schedules stretch over its share.
"""

import argparse
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from timbrel.codec import rave, spectral
from timbrel.data.store import Store
from timbrel.training.codec import train_codec
from timbrel.training.codec_objective import CodecTraining, rave_training
from timbrel.training.run import Budget

DESIGNS = {
    "spectral": (spectral.small, CodecTraining()),
    "residual": (lambda: replace(spectral.small(), residual=256), CodecTraining()),
    "rave": (rave.small, rave_training()),
}


@dataclass(frozen=True)
class CpuBudget(Budget):
    """CPU seconds of this process from when it was made; a resumed run would begin anew."""

    minutes: float | None = 1.0  # a budget needs some; CPU time alone counts
    cpu_seconds: float = 0.0
    began: float = field(default_factory=time.process_time)

    def progress(self, step: int, seconds: float) -> float:
        """Share of the CPU time that is used, in [0, 1]."""
        return min((time.process_time() - self.began) / self.cpu_seconds, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", type=Path, required=True, help="renders to train on")
    parser.add_argument("--seconds", type=float, default=600.0, help="CPU time of each design")
    parser.add_argument("--designs", nargs="+", choices=DESIGNS, default=list(DESIGNS))
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.designs:
        config, training = DESIGNS[name]
        steps = 0

        def count(step: int, progress: float) -> None:
            nonlocal steps
            steps = step

        train_codec(
            Store.open(options.store).part("train"),
            options.output / name,
            config(),
            training,
            CpuBudget(cpu_seconds=options.seconds),
            torch.device("cpu"),
            on_step=count,
        )
        print(f"{name}: {steps} steps in {options.seconds:g} s of CPU time", flush=True)


if __name__ == "__main__":
    main()
