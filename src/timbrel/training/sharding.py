"""Weights of which each process keeps a part: fully sharded data parallelism (Zhao et al., 2023).

The denoiser is cut, where most weights lie. Of n processes, each keeps an nth of the rows of
every weight, of its gradient, and of all that is remembered about it. A block's weights are put
together when the block is used, forwards and backwards, and dropped again
(docs/decisions/0035). PyTorch's `fully_shard` does that; here is what is ours: what is cut, and
how a cut tensor is read.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

from timbrel.diffusion.unet import DetailBlock, FilmBlock, UNet
from timbrel.errors import TrainingError
from timbrel.training.ranks import Ranks


def check_several(ranks: Ranks) -> None:
    """Refuse to cut weights for one process.

    Raises:
        TrainingError: there is but one.
    """
    if ranks.world == 1:
        raise TrainingError(
            "--shard splits weights between processes, and this is the only one; start several "
            "(torchrun --nproc-per-node 2 -m timbrel.cli train model ...), or leave it out"
        )


def cut(denoiser: UNet, ranks: Ranks) -> None:
    """Leave each process its part of the denoiser's weights, which are the same on all.

    From here on `denoiser` must be called by all processes alike, forwards and backwards, and its
    parameters are `DTensor`s, whose gradients are averages over processes.

    Args:
        denoiser: on the device where it is trained.
        ranks: processes that train it.
    """
    device = next(denoiser.parameters()).device
    if device.type == "cuda":
        torch.cuda.set_device(device)  # where FSDP looks for weights, and has its streams
    mesh = init_device_mesh(device.type, (ranks.world,))
    # blocks of other kinds are few; besides, so gradients are summed in the same order as uncut
    blocks = [m for m in denoiser.modules() if isinstance(m, FilmBlock | DetailBlock)]
    for module in (*blocks, denoiser):
        fully_shard(module, mesh=mesh)
        assert isinstance(module, FSDPModule)
        if device.type == "cpu":  # gloo knows no average
            module.set_force_sum_reduction_for_comms(True)
    if not any(weight.requires_grad for weight in denoiser.parameters()):
        denoiser.register_forward_pre_hook(_go_back, prepend=True)


def _go_back(_module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Have a frozen denoiser's gradients computed even where what learns had no part in a batch.

    It has one on other processes, which need this one to put blocks together.
    """
    x, *more = inputs
    return (x.detach().requires_grad_(torch.is_grad_enabled()), *more)


def own(tensor: Tensor) -> Tensor:
    """What this process keeps of a tensor: of a cut one some rows, of another all. No copy."""
    if not isinstance(tensor, DTensor):
        return tensor
    with torch.no_grad():
        rows: Tensor = tensor.to_local()
    return rows


def whole(tensor: Tensor) -> Tensor:
    """A tensor put together; of a cut one, all processes must ask."""
    if not isinstance(tensor, DTensor):
        return tensor
    with torch.no_grad():
        return tensor.full_tensor()


def like(rows: Tensor, other: Tensor) -> Tensor:
    """The inverse of `own`: what is kept of a tensor that is cut as another, or is not, as it."""
    if not isinstance(other, DTensor):
        return rows
    mesh, placements = other.device_mesh, other.placements
    return DTensor.from_local(rows, mesh, placements, shape=other.shape, stride=other.stride())


def part(value: Tensor, other: Tensor) -> Tensor:
    """Of a whole tensor what this process keeps if it is cut as another, or is not, as it."""
    if not isinstance(other, DTensor):
        return value
    mesh = other.device_mesh
    return value[rows_of(len(value), mesh.get_local_rank(), mesh.size())].clone()


def empty(tensor: Tensor) -> Tensor:
    """Room for all of a tensor, which may be cut."""
    return torch.empty(tensor.shape, dtype=tensor.dtype, device=tensor.device)


def assembled(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All of them whole, for a checkpoint.

    What was cut comes to the host's memory, one after another: a GPU may not hold it all.
    """
    return {
        name: whole(value).cpu() if isinstance(value, DTensor) else value
        for name, value in tensors.items()
    }


def rows_of(rows: int, rank: int, world: int) -> slice:
    """Which of a cut tensor's rows a process keeps; the last processes may have fewer, or none."""
    size = -(-rows // world)
    return slice(min(rank * size, rows), min((rank + 1) * size, rows))


class Dealing:
    """Matrices that are cut by rows, and of which one process each needs all rows at a time.

    Args:
        matrices: the cut ones.
        owners: the process that needs each; one may own none.
        ranks: processes; each must take every call.
    """

    def __init__(self, matrices: Sequence[Tensor], owners: Sequence[int], ranks: Ranks) -> None:
        self.matrices, self.ranks = matrices, ranks
        everyone = range(ranks.world)
        self.dealt = [[k for k, owner in enumerate(owners) if owner == r] for r in everyone]
        self.mine = self.dealt[ranks.rank]

    def gather(self, rows: Sequence[Tensor]) -> list[Tensor]:
        """This process's own matrices, whole, from the rows that each process keeps of all."""
        sent = [[rows[k] for k in members] for members in self.dealt]
        found = self._exchange(
            sent, [[self._kept(k, r) for k in self.mine] for r in range(self.ranks.world)]
        )
        return [torch.cat(parts) for parts in zip(*found, strict=True)]

    def scatter(self, wholes: Sequence[Tensor]) -> list[Tensor]:
        """The inverse: the rows that this process keeps of all matrices."""
        world, rank = self.ranks.world, self.ranks.rank
        sent = [[m[rows_of(len(m), r, world)] for m in wholes] for r in range(world)]
        found = self._exchange(sent, [[self._kept(k, rank) for k in some] for some in self.dealt])
        rows: dict[int, Tensor] = {}
        for members, parts in zip(self.dealt, found, strict=True):
            rows |= zip(members, parts, strict=True)
        return [rows[k] for k in range(len(self.matrices))]

    def _kept(self, k: int, rank: int) -> torch.Size:
        """Shape of what a process keeps of a matrix."""
        first, *rest = self.matrices[k].shape
        kept = rows_of(first, rank, self.ranks.world)
        return torch.Size((kept.stop - kept.start, *rest))

    def _exchange(
        self, sent: Sequence[Sequence[Tensor]], shapes: Sequence[Sequence[torch.Size]]
    ) -> list[list[Tensor]]:
        """Send each process some tensors, and receive those that each sends to this one.

        Args:
            sent: to each process.
            shapes: of what comes from each process.
        """
        one = self.matrices[0]
        nothing = torch.empty(0, dtype=one.dtype, device=one.device)
        outgoing = torch.cat([nothing, *(t.flatten() for tensors in sent for t in tensors)])
        sizes = [[shape.numel() for shape in some] for some in shapes]
        incoming = outgoing.new_empty(sum(map(sum, sizes)))
        dist.all_to_all_single(
            incoming,
            outgoing,
            [sum(some) for some in sizes],
            [sum(t.numel() for t in tensors) for tensors in sent],
        )
        parts = iter(incoming.split([size for some in sizes for size in some]))
        return [[next(parts).view(shape) for shape in some] for some in shapes]
