"""Numbers that are not finite: training stops, and what led to them is kept."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from timbrel.errors import TrainingError
from timbrel.training.draws import Draw
from timbrel.training.run import Run


class Watch:
    """Looks at a step's numbers when the next one is under way: whoever looks waits for a GPU.

    By then the weights have been moved, so `settle` must come before they are used.

    Args:
        run: whose steps they are.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self._waiting: tuple[int, Sequence[tuple[Draw, Tensor]], Tensor] | None = None

    def next(self, step: int, parts: Sequence[tuple[Draw, Tensor]], gradient: Tensor) -> None:
        """Look at the step before, and keep this one.

        Args:
            step: its number.
            parts: its draws, and the loss of each.
            gradient: its norm.

        Raises:
            TrainingError: see `settle`.
        """
        self.settle()
        self._waiting = step, parts, gradient

    def settle(self) -> None:
        """Look at what was kept.

        Raises:
            TrainingError: a loss, or the gradient, is not finite.
        """
        if self._waiting is None:
            return
        (step, parts, gradient), self._waiting = self._waiting, None
        for draw, loss in parts:
            check_finite(self.run, step, draw, {"loss": loss}, "loss")
        check_finite(self.run, step, parts[-1][0], {"gradient": gradient}, "gradient")


def check_finite(run: Run, step: int, draw: Draw, values: Mapping[str, Tensor], name: str) -> None:
    """Stop at a number that is not finite, and keep what led to it.

    Raises:
        TrainingError: the value of that name is not finite.
    """
    if torch.isfinite(values[name]):
        return
    mine = "" if run.ranks.first else f"-{run.ranks.rank}"
    path = run.folder / f"bad-batch{mine}.npz"
    batch = draw.items.to(torch.device("cpu"))
    arrays = {k: v.numpy() for k, v in vars(batch).items() if v is not None}
    np.savez_compressed(path, allow_pickle=False, **arrays)
    raise TrainingError(
        f"the model's {name} is not finite at step {step}; {run.kept()}; the batch (of "
        f"several, the last) is in {path}: lower the learning rate or look for damaged items"
    )
