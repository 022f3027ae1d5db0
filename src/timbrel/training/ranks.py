"""The processes of one training: what they share, and on what they must agree."""

import atexit
import os

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.tensor import DTensor

from timbrel.errors import TrainingError


class Ranks:
    """This process among those that `torchrun` started (one, if it did not)."""

    def __init__(self) -> None:
        self.rank = int(os.environ.get("RANK", "0"))
        self.world = int(os.environ.get("WORLD_SIZE", "1"))
        if self.world > 1 and not dist.is_initialized():
            gpu = torch.cuda.is_available()
            dist.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo")
            # gloo's threads, if they still run when the interpreter ends, abort the process
            atexit.register(dist.destroy_process_group)

    @property
    def first(self) -> bool:
        """Whether this process logs and saves."""
        return self.rank == 0

    def average_gradients(self, module: nn.Module) -> None:
        """Average gradients over processes; those that are cut between them are so already.

        One that is absent on some counts as zero there; one that is absent everywhere stays so,
        as an optimiser moves what has a gradient of zero, by its momentum.
        """
        if self.world == 1:
            return
        learning = (p for p in module.parameters() if p.requires_grad)
        parameters = [p for p in learning if not isinstance(p, DTensor)]
        present = torch.tensor([float(p.grad is not None) for p in parameters])
        dist.all_reduce(present, op=dist.ReduceOp.MAX)
        for parameter, there in zip(parameters, present.tolist(), strict=True):
            if not there:
                continue
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            dist.all_reduce(parameter.grad)
            parameter.grad /= self.world

    def shared(self, value: float) -> float:
        """The first process's value, on every process: clocks differ, schedules must not."""
        if self.world == 1:
            return value
        tensor = torch.tensor(value, dtype=torch.float64)
        dist.broadcast(tensor, 0)
        return float(tensor.item())

    def check_equal(self, step: int) -> None:
        """Refuse processes that would go on from different checkpoints.

        Raises:
            TrainingError: they do not see the same folder.
        """
        if self.agree(self.shared(float(step)) != step):
            raise TrainingError(
                "processes found different checkpoints; on several machines the run's folder must "
                "be one that all of them see"
            )

    def agree(self, flag: bool) -> bool:
        """True on every process if it is true on any."""
        if self.world == 1:
            return flag
        vote = torch.tensor(float(flag))
        dist.all_reduce(vote, op=dist.ReduceOp.MAX)
        return bool(vote.item())
