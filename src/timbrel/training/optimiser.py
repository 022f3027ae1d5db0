"""Muon for the matrices between layers, AdamW for everything else.

Muon (Jordan et al., 2024) makes every step of a matrix orthogonal, so that all directions learn
at one speed, where AdamW mostly moves the few that have the largest gradients. A convolution is
a matrix from (channels in x frames) to channels out. Steps are scaled to the size of AdamW's
(Liu et al., 2025), so both take the same learning rate (docs/decisions/0016).

Of several processes each moves a share of the matrices, keeps the momentum of that share
alone, and sends the others what came of it (docs/decisions/0020).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from timbrel.errors import TrainingError
from timbrel.training.ranks import Ranks

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
        self.momentum = [torch.zeros_like(weight) for weight in weights]
        self.shapes: dict[tuple[int, int], list[int]] = {}
        for k, weight in enumerate(weights):
            self.shapes.setdefault((len(weight), weight[0].numel()), []).append(k)

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move the weights by their gradients; one without a gradient stays."""
        for shape, members in self.shapes.items():
            moved = {k: g for k in members if (g := self.weights[k].grad) is not None}
            if not moved:
                continue
            weights, momentum = ([them[k] for k in moved] for them in (self.weights, self.momentum))
            gradients = list(moved.values())
            torch._foreach_lerp_(momentum, gradients, 1 - MOMENTUM)
            ahead = torch._foreach_lerp(gradients, momentum, MOMENTUM)  # Nesterov's
            change = orthogonal(torch.stack([one.reshape(shape) for one in ahead]))
            torch._foreach_mul_(weights, 1 - rate * self.weight_decay)
            scaled = change.float() * (-rate * ADAMW_SIZE * max(shape) ** 0.5)
            changes = [one.reshape(w.shape) for one, w in zip(scaled, weights, strict=True)]
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
        rest = [p for p in module.parameters() if p.requires_grad and id(p) not in moved]
        self.adamw: torch.optim.Optimizer | None = None
        if rest:
            self.adamw = torch.optim.AdamW(rest, betas=betas, weight_decay=weight_decay, fused=True)
        self.muon = Muon([self.matrices[k] for k in self.own], weight_decay)

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move the weights by their gradients, at a learning rate."""
        if self.adamw is not None:
            for group in self.adamw.param_groups:
                group["lr"] = rate
            self.adamw.step()
        self.muon.step(rate)
        self._exchange(self.matrices)

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint: the whole momentum, on every process, however many there are."""
        state: dict[str, Any] = {}
        if self.adamw is not None:
            state["adamw"] = self.adamw.state_dict()
        if self.matrices:
            momentum = [torch.zeros_like(weight) for weight in self.matrices]
            for k, own in zip(self.own, self.muon.momentum, strict=True):
                momentum[k].copy_(own)
            self._exchange(momentum)
            state["muon"] = momentum
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
            self.adamw.load_state_dict(state["adamw"])
        for k, own in zip(self.own, self.muon.momentum, strict=True):
            own.copy_(state["muon"][k])

    def _exchange(self, tensors: Sequence[Tensor]) -> None:
        """Fill every tensor with what its owner has of it."""
        for tensor, owner in zip(tensors, self.owners, strict=True):
            if self.ranks.world > 1:
                dist.broadcast(tensor, owner)


def matrices(module: nn.Module) -> Iterator[Tensor]:
    """Weights of layers that mix channels: all but depthwise convolutions and narrow layers."""
    for layer in module.modules():
        if not isinstance(layer, nn.Linear | nn.Conv1d | nn.ConvTranspose1d):
            continue
        depthwise = not isinstance(layer, nn.Linear) and layer.groups > 1
        weight = layer.weight
        wide = min(len(weight), weight[0].numel()) >= SMALLEST
        if weight.requires_grad and wide and not depthwise:
            yield weight


def shares(weights: Sequence[Tensor], world: int) -> list[int]:
    """Which process moves each matrix, so that all have about as much to do.

    The largest goes first, each to the process with the least so far; an iteration of
    Muon multiplies a matrix by itself, so its work is entries times the smaller side.
    """
    work = [w.numel() * min(len(w), w[0].numel()) for w in weights]
    load, owners = [0] * world, [0] * len(weights)
    for k in sorted(range(len(weights)), key=lambda k: -work[k]):
        owners[k] = load.index(min(load))
        load[owners[k]] += work[k]
    return owners
