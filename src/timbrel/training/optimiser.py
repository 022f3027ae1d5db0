"""Muon for the matrices between layers, AdamW for everything else.

Muon (Jordan et al., 2024) makes every step of a matrix orthogonal, so that all directions learn
at one speed, where AdamW mostly moves the few that have the largest gradients. A convolution is
a matrix from (channels in x frames) to channels out. Steps are scaled to the size of AdamW's
(Liu et al., 2025), so both take the same learning rate (docs/decisions/0016).
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from timbrel.errors import TrainingError

OPTIMISERS = ("muon", "adamw")
# Matrices with fewer rows or columns have little to make orthogonal.
SMALLEST = 16


class Optimiser:
    """Moves those parameters of a module that require a gradient.

    Args:
        module: whose weights are moved in place.
        name: "muon", or "adamw" for all parameters.
        betas: of AdamW.
        weight_decay: of both.
    """

    def __init__(
        self,
        module: nn.Module,
        name: str = "muon",
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.01,
    ) -> None:
        self.matrices = list(matrices(module)) if name == "muon" else []
        # torch's Muon takes two dimensions only; a view of a weight moves the weight
        self.views = [weight.detach().view(len(weight), -1) for weight in self.matrices]
        own = {id(weight) for weight in self.matrices}
        rest = [p for p in module.parameters() if p.requires_grad and id(p) not in own]
        self.parts: dict[str, torch.optim.Optimizer] = {}
        if rest:
            self.parts["adamw"] = torch.optim.AdamW(
                rest, betas=betas, weight_decay=weight_decay, fused=True
            )
        if self.views:
            self.parts["muon"] = torch.optim.Muon(
                self.views, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
            )

    def step(self, rate: float) -> None:
        """Move the weights by their gradients, at a learning rate."""
        for weight, view in zip(self.matrices, self.views, strict=True):
            view.grad = None if weight.grad is None else weight.grad.view_as(view)
        for part in self.parts.values():
            for group in part.param_groups:
                group["lr"] = rate
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {name: part.state_dict() for name, part in self.parts.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`.

        Raises:
            TrainingError: the state is that of another optimiser.
        """
        if state.keys() != self.parts.keys():
            raise TrainingError(
                "the run's checkpoint is of another optimiser, maybe of an older version; begin "
                "a new run with --from its weights"
            )
        for name, part in self.parts.items():
            part.load_state_dict(state[name])


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
