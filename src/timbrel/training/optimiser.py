"""Muon for the matrices between layers, AdamW for everything else.

Muon (Jordan et al., 2024) makes every step of a matrix orthogonal, so that all directions learn
at one speed, where AdamW mostly moves the few that have the largest gradients. A convolution is
a matrix from (channels in x frames) to channels out. Steps are scaled to the size of AdamW's
(Liu et al., 2025), so both take the same learning rate (docs/decisions/0016).

Of several processes each moves a share of the matrices, keeps the momentum of that share
alone, and sends the others what came of it (docs/decisions/0020). Of matrices that are cut
(`sharding`), it is sent the gradient, and sends back of the change what each process keeps.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from timbrel.errors import TrainingError
from timbrel.training.ranks import Ranks
from timbrel.training.sharding import Dealing, assembled, empty, like, own, part

OPTIMISERS = ("muon", "adamw")
# Matrices with fewer rows or columns have little to make orthogonal.
SMALLEST = 16
MOMENTUM = 0.95
ADAMW_SIZE = 0.2  # root mean square of AdamW's steps, which Muon's are scaled to
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # of x, of its third power and of its fifth


class Muon:
    """Moves matrices, all of a shape at once; its steps are those of `torch.optim.Muon`.

    That one takes matrix after matrix, and a GPU spends a third of a step on waiting to be told
    of the next (docs/decisions/0024).

    Args:
        weights: moved in place; dimensions after the first count as one.
        weight_decay: per step and learning rate.
    """

    def __init__(self, weights: Sequence[Tensor], weight_decay: float) -> None:
        self.weights, self.weight_decay = list(weights), weight_decay
        self.momentum = [empty(weight).zero_() for weight in weights]
        self.shapes: dict[tuple[int, int], list[int]] = {}
        for k, weight in enumerate(weights):
            self.shapes.setdefault(sides(weight), []).append(k)

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move the weights by their gradients; one without a gradient stays."""
        gradients = {k: w.grad for k, w in enumerate(self.weights) if w.grad is not None}
        for members, changes in self.changes(gradients, rate):
            self.move([self.weights[k] for k in members], changes, rate)

    @torch.no_grad()
    def changes(
        self, gradients: Mapping[int, Tensor], rate: float
    ) -> Iterator[tuple[list[int], list[Tensor]]]:
        """What is to be added to weights, by their gradients: numbers of some, and of each that.

        Args:
            gradients: whole, by the weights' numbers.
            rate: learning rate.
        """
        for shape, all_members in self.shapes.items():
            members = [k for k in all_members if k in gradients]
            if not members:
                continue
            momentum, found = ([them[k] for k in members] for them in (self.momentum, gradients))
            torch._foreach_lerp_(momentum, found, 1 - MOMENTUM)
            ahead = torch._foreach_lerp(found, momentum, MOMENTUM)  # Nesterov's
            change = orthogonal(torch.stack([one.reshape(shape) for one in ahead]))
            scaled = change.float() * (-rate * ADAMW_SIZE * max(shape) ** 0.5)
            whole = [self.weights[k].shape for k in members]
            yield members, [c.reshape(s) for c, s in zip(scaled, whole, strict=True)]

    def move(self, weights: list[Tensor], changes: list[Tensor], rate: float) -> None:
        """Let weights decay, and change them."""
        torch._foreach_mul_(weights, 1 - rate * self.weight_decay)
        torch._foreach_add_(weights, changes)


def orthogonal(matrices: Tensor) -> Tensor:
    """Matrices with about the same singular vectors, and all singular values near 1.

    Five Newton-Schulz iterations, in bfloat16, with the coefficients of Jordan et al. (2024).

    Args:
        matrices: (n, rows, columns).

    Returns:
        (n, rows, columns), bfloat16.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.bfloat16()
    x = x.transpose(1, 2) if tall else x
    x = x / torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True).clamp_min(1e-7)
    linear, cubic, quintic = NEWTON_SCHULZ
    for _ in range(5):
        gram = x @ x.transpose(1, 2)
        gram = torch.baddbmm(gram, gram, gram, beta=cubic, alpha=quintic)
        x = torch.baddbmm(x, gram, x, beta=linear)
    return x.transpose(1, 2) if tall else x


class Optimiser:
    """Moves those parameters of a module that require a gradient.

    Args:
        module: whose weights are moved in place; on all processes the same.
        name: "muon", or "adamw" for all parameters.
        betas: of AdamW.
        weight_decay: of both.
        ranks: processes that share the work; each must take every call.
    """

    def __init__(
        self,
        module: nn.Module,
        name: str = "muon",
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.01,
        ranks: Ranks | None = None,
    ) -> None:
        self.ranks = ranks or Ranks()
        self.matrices = list(matrices(module)) if name == "muon" else []
        self.owners = shares(self.matrices, self.ranks.world)
        self.own = [k for k, owner in enumerate(self.owners) if owner == self.ranks.rank]
        moved = {id(weight) for weight in self.matrices}
        self.rest: list[Tensor] = [
            p for p in module.parameters() if p.requires_grad and id(p) not in moved
        ]
        self.kept = [own(weight) for weight in self.rest]
        self.adamw: torch.optim.Optimizer | None = None
        if self.rest:
            self.adamw = torch.optim.AdamW(
                self.kept, betas=betas, weight_decay=weight_decay, fused=True
            )
        self.muon = Muon([self.matrices[k] for k in self.own], weight_decay)

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move the weights by their gradients, at a learning rate."""
        if self.adamw is not None:
            self._step_rest(self.adamw, rate)
        learned = [k for k, weight in enumerate(self.matrices) if weight.grad is not None]
        cut_ones = [k for k in learned if isinstance(self.matrices[k], DTensor)]
        if cut_ones:
            self._step_cut(cut_ones, rate)
        else:
            self.muon.step(rate)
        for weight, owner in zip(self.matrices, self.owners, strict=True):
            if not isinstance(weight, DTensor):
                self._broadcast(weight, owner)

    def _step_rest(self, adamw: torch.optim.Optimizer, rate: float) -> None:
        """Move what AdamW moves: rows of those weights that are cut."""
        for group in adamw.param_groups:
            group["lr"] = rate
        cut = [(k, w) for k, w in zip(self.kept, self.rest, strict=True) if isinstance(w, DTensor)]
        for kept, weight in cut:
            kept.data = own(weight)  # FSDP may have laid them elsewhere
            kept.grad = None if weight.grad is None else own(weight.grad)
        adamw.step()
        for kept, _ in cut:
            kept.grad = None  # who forgets the weight's forgets all

    def _step_cut(self, numbers: Sequence[int], rate: float) -> None:
        """Move this process's matrices, and its part of those that are cut.

        Args:
            numbers: of matrices that are cut and have a gradient.
            rate: learning rate.
        """
        cut = [self.matrices[k] for k in numbers]
        dealing = Dealing(cut, [self.owners[k] for k in numbers], self.ranks)
        wholes = dealing.gather([own(w.grad) for w in cut if w.grad is not None])
        gathered = dict(zip((numbers[i] for i in dealing.mine), wholes, strict=True))
        gradients = {j: gathered.get(k, self.matrices[k].grad) for j, k in enumerate(self.own)}
        known = {j: gradient for j, gradient in gradients.items() if gradient is not None}
        changed: dict[int, Tensor] = {}
        for members, changes in self.muon.changes(known, rate):
            for j, change in zip(members, changes, strict=True):
                if self.own[j] in gathered:
                    changed[self.own[j]] = change
                else:
                    self.muon.move([self.muon.weights[j]], [change], rate)
        rows = dealing.scatter([changed[k] for k in gathered])
        self.muon.move([own(weight) for weight in cut], rows, rate)

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint: all that is remembered, on every process, however many there are.

        What is not this process's own is in the host's memory.
        """
        state: dict[str, Any] = {}
        if self.adamw is not None:
            state["adamw"] = self.adamw.state_dict()
            state["adamw"]["state"] = {
                k: assembled({n: like(v, self.rest[k]) if v.ndim else v for n, v in one.items()})
                for k, one in state["adamw"]["state"].items()
            }
        if self.matrices:
            mine = dict(zip(self.own, self.muon.momentum, strict=True))
            state["muon"] = []
            for k, (weight, owner) in enumerate(zip(self.matrices, self.owners, strict=True)):
                momentum = mine[k] if k in mine else empty(weight)
                self._broadcast(momentum, owner)
                state["muon"].append(momentum if k in mine else momentum.cpu())
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`; the processes may be more or fewer than before.

        Raises:
            TrainingError: the state is that of another optimiser.
        """
        parts = {"adamw": self.adamw is not None, "muon": bool(self.matrices)}
        known = {name for name, there in parts.items() if there}
        if state.keys() != known or not isinstance(state.get("muon", []), list):
            raise TrainingError(
                "the run's checkpoint is of another optimiser, maybe of an older version; begin "
                "a new run with --from its weights"
            )
        if self.adamw is not None:
            kept = {
                k: {n: part(v, self.rest[k]) if v.ndim else v for n, v in one.items()}
                for k, one in state["adamw"]["state"].items()
            }
            self.adamw.load_state_dict({**state["adamw"], "state": kept})
        for k, momentum in zip(self.own, self.muon.momentum, strict=True):
            momentum.copy_(state["muon"][k])

    def _broadcast(self, tensor: Tensor, owner: int) -> None:
        """Fill a tensor with what its owner has of it."""
        if self.ranks.world > 1:
            dist.broadcast(tensor, owner)


def matrices(module: nn.Module) -> Iterator[Tensor]:
    """Weights of layers that mix channels: all but depthwise convolutions and narrow layers."""
    for layer in module.modules():
        if not isinstance(layer, nn.Linear | nn.Conv1d | nn.ConvTranspose1d):
            continue
        depthwise = not isinstance(layer, nn.Linear) and layer.groups > 1
        weight = layer.weight
        wide = min(sides(weight)) >= SMALLEST
        if weight.requires_grad and wide and not depthwise:
            yield weight


def sides(weight: Tensor) -> tuple[int, int]:
    """Rows and columns of a matrix, cut or not; dimensions after the first count as one."""
    return len(weight), weight.numel() // len(weight)


def shares(weights: Sequence[Tensor], world: int) -> list[int]:
    """Which process moves each matrix, so that all have about as much to do.

    The largest goes first, each to the process with the least so far; an iteration of
    Muon multiplies a matrix by itself, so its work is entries times the smaller side.
    """
    work = [w.numel() * min(sides(w)) for w in weights]
    load, owners = [0] * world, [0] * len(weights)
    for k in sorted(range(len(weights)), key=lambda k: -work[k]):
        owners[k] = load.index(min(load))
        load[owners[k]] += work[k]
    return owners
