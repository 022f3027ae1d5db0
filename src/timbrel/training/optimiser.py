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
        # torch's Muon takes two dimensions only; a view of a weight moves the weight
        self.views = [self.matrices[k].detach().view(len(self.matrices[k]), -1) for k in self.own]
        moved = {id(weight) for weight in self.matrices}
        rest = [p for p in module.parameters() if p.requires_grad and id(p) not in moved]
        self.adamw: torch.optim.Optimizer | None = None
        self.muon: torch.optim.Optimizer | None = None
        if rest:
            self.adamw = torch.optim.AdamW(rest, betas=betas, weight_decay=weight_decay, fused=True)
        if self.views:
            self.muon = torch.optim.Muon(
                self.views, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
            )

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move the weights by their gradients, at a learning rate."""
        for k, view in zip(self.own, self.views, strict=True):
            gradient = self.matrices[k].grad
            view.grad = None if gradient is None else gradient.view_as(view)
        for part in (self.adamw, self.muon):
            if part is not None:
                for group in part.param_groups:
                    group["lr"] = rate
                part.step()
        self._exchange(self.matrices)

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint: the whole momentum, on every process, however many there are."""
        state: dict[str, Any] = {}
        if self.adamw is not None:
            state["adamw"] = self.adamw.state_dict()
        if self.matrices:
            momentum = [torch.zeros_like(weight) for weight in self.matrices]
            for k, view in zip(self.own, self.views, strict=True):
                assert self.muon is not None
                if view in self.muon.state:
                    momentum[k].copy_(self.muon.state[view]["momentum_buffer"].view_as(momentum[k]))
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
        for k, view in zip(self.own, self.views, strict=True):
            assert self.muon is not None
            momentum = state["muon"][k].to(view).view_as(view).clone()
            self.muon.state[view]["momentum_buffer"] = momentum

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
