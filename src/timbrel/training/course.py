"""The course of a training: steps until the budget is used, and what one step does to weights.

All trainings share it: codec, listener, model, few-step model.
"""

import math
import time
from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from timbrel.errors import TrainingError
from timbrel.training.optimiser import Optimiser
from timbrel.training.run import Budget, Run
from timbrel.training.sharding import assembled, own, part

LARGEST_GRADIENT = 1.0  # norm; larger ones are scaled down


class Course:
    """Steps, time and share of the budget of a run.

    Args:
        run: told to stop, it ends the course.
        budget: of the whole run, what was done before included.
        state: of the run's checkpoint, if it is resumed.

    Attributes:
        step: steps that are done.
        seconds: that they took, with all that was done between them.
        progress: share of the budget that is used, in [0, 1].
        reached: the largest share that was ever used: a run that is made longer learns at its full
            rate again, but does not go back to an earlier stage.

    Raises:
        TrainingError: processes would go on from different steps.
    """

    def __init__(self, run: Run, budget: Budget, state: Mapping[str, Any] | None) -> None:
        self.run, self.budget = run, budget
        self.step: int = state["step"] if state else 0
        run.ranks.check_equal(self.step)
        self.seconds: float = state["seconds"] if state else 0.0
        self._clock = time.monotonic()
        self.progress = self._before = self._shared()
        self.reached = max(self.progress, state.get("reached", 0.0) if state else 0.0)

    def goes_on(self) -> bool:
        """Whether another step is to be done; the same on every process."""
        if self.progress >= 1:
            return False
        stopped = self.run.ranks.agree(self.run.stopping)
        if stopped:
            self.run.say(
                f"stopped after {self.progress:.0%} of its budget; the same command goes on"
            )
        return not stopped

    def advance(self) -> None:
        """Count a step."""
        now = time.monotonic()
        self.step += 1
        self.seconds, self._clock = self.seconds + now - self._clock, now
        self._before, self.progress = self.progress, self._shared()
        self.reached = max(self.progress, self.reached)

    def passed(self, *shares: float) -> bool:
        """Whether the last step took the run past one of these shares of its budget."""
        return any(self._before < share <= self.progress for share in shares)

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"step": self.step, "seconds": self.seconds, "reached": self.reached}

    def _shared(self) -> float:
        return self.run.ranks.shared(self.budget.progress(self.step, self.seconds))


class Ema:
    """Exponential moving average of a module's parameters, with a warm start.

    Attributes:
        shadow: the averages by name, cut as the parameters are.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.shadow = {k: v.detach().clone() for k, v in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Move towards the module's weights; early steps forget faster."""
        decay = min(self.decay, (1 + step) / (10 + step))
        moving = {k: v for k, v in module.state_dict().items() if v.dtype.is_floating_point}
        # all at once: a GPU waits for each operation to be called
        means, weights = [own(self.shadow[k]) for k in moving], [own(v) for v in moving.values()]
        torch._foreach_lerp_(means, weights, 1 - decay)
        for name, value in module.state_dict().items():
            if name not in moving:
                self.shadow[name].copy_(value)


class Descent:
    """A module with its optimiser and its averaged weights.

    Args:
        module: averaged whole, of which the optimiser may move a part.
        optimiser: of its parameters.
        peak_rate: learning rate after warm-up.
        decay: of the average.

    Raises:
        TrainingError: a learning rate that nothing could be learned at.
    """

    def __init__(
        self, module: nn.Module, optimiser: Optimiser, peak_rate: float, decay: float
    ) -> None:
        if not 0 < peak_rate < math.inf:
            raise TrainingError(f"the learning rate is {peak_rate}; give a number above 0")
        self.module, self.optimiser, self.peak_rate = module, optimiser, peak_rate
        self.ema = Ema(module, decay)

    def move(self, course: Course, learning: nn.Module | None = None) -> Tensor:
        """Move the weights by their gradients, averaged over processes; then forget these.

        Args:
            course: how far training is.
            learning: part of the module that learns; None: all of it.

        Returns:
            Norm of the gradient. If it is not finite the weights are spoiled, and nothing that
            comes of them may be kept: who asks here would wait for a GPU before each move.
        """
        learning = learning or self.module
        course.run.ranks.average_gradients(learning)
        norm = clip(learning, LARGEST_GRADIENT)
        self.optimiser.step(learning_rate(course.step, course.progress, self.peak_rate))
        self.ema.update(self.module, course.step)
        self.module.zero_grad()
        return norm

    def state_dict(self) -> dict[str, Any]:
        """Optimiser and average, for a checkpoint; the weights are the module's own."""
        return {"optimiser": self.optimiser.state_dict(), "ema": assembled(self.ema.shadow)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.optimiser.load_state_dict(state["optimiser"])
        for name, value in state["ema"].items():
            own(self.ema.shadow[name]).copy_(part(value, self.ema.shadow[name]))


@torch.no_grad()
def clip(module: nn.Module, largest: float) -> Tensor:
    """Scale gradients down to a largest norm, over all that processes keep of them.

    The norm is summed in double precision, so it does not tell how gradients are cut.

    Returns:
        Their norm before.
    """
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    if not gradients:  # beside those of other steps, so where these are
        return torch.zeros((), device=next(module.parameters()).device)
    total = _squares([g for g in gradients if not isinstance(g, DTensor)])
    parted = [own(g) for g in gradients if isinstance(g, DTensor)]
    if parted:
        squares = _squares(parted)
        dist.all_reduce(squares)
        total = total + squares
    norm = total.sqrt().float()
    scale = (largest / (norm + 1e-6)).clamp_max(1.0)
    torch._foreach_mul_([own(g) for g in gradients], scale)
    return norm


def _squares(tensors: list[Tensor]) -> Tensor:
    """Sum of all entries' squares, in double precision where there is such."""
    if not tensors:
        return torch.zeros((), dtype=torch.float64)
    precise = torch.float32 if tensors[0].device.type == "mps" else torch.float64  # it has no other
    return torch.stack(torch._foreach_norm(tensors, 2, dtype=precise)).square().sum()


def learning_rate(step: int, progress: float, peak: float, warmup: int = 200) -> float:
    """Linear warm-up, constant, then linear to a fiftieth over the last 40 % of the budget.

    Warm-up lasts for `warmup` steps, or a twentieth of the budget if that is over sooner.
    """
    rise = min(1.0, max((step + 1) / warmup, progress / 0.05))
    decay = 1.0 if progress < 0.6 else 1 - 0.98 * (progress - 0.6) / 0.4
    return peak * rise * decay
