"""Guidance: how strongly structure and timbre steer, one scale each.

With velocities v0 (no condition), vs (structure alone) and vst (both), the guided one is
`v0 + ws (vs - v0) + wt (vst - vs)` (composition of Liu et al., 2022, nested). A branch
whose factor is zero is not computed: with ws = wt = 1 one evaluation is enough, and a
few-step denoiser, which is told the scales, needs one for any.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

# Scales that a few-step denoiser is trained to fold in.
FEW_STEP_GUIDANCE = (1.0, 3.0)


@dataclass(frozen=True)
class Guidance:
    """Scales; 1 follows the condition as trained, more exaggerates it.

    A timbre of 0 ignores the example. A structure of 0 leaves what the example does to the notes,
    so notes are ignored only if both are 0.
    """

    structure: float = 1.0
    timbre: float = 1.5

    def branches(self) -> list[tuple[bool, bool, float]]:
        """(structure present, timbre present, factor) of every branch that counts."""
        factors = [
            (False, False, 1 - self.structure),
            (True, False, self.structure - self.timbre),
            (True, True, self.timbre),
        ]
        return [branch for branch in factors if branch[2] != 0]


def combine(velocities: Tensor, guidance: Guidance) -> Tensor:
    """Weighted sum of stacked branch velocities (branches, batch, channels, frames)."""
    factors = torch.tensor([f for _, _, f in guidance.branches()], device=velocities.device)
    return torch.einsum("b,bnct->nct", factors.to(velocities), velocities)


def nested(velocities: Tensor, structure: Tensor, timbre: Tensor) -> Tensor:
    """The same formula with scales (batch,) of every item's own.

    Args:
        velocities: (3, batch, channels, frames): neither, structure alone, both.
        structure: guidance scales.
        timbre: guidance scales.
    """
    none, alone, both = velocities
    guided: Tensor = none + structure[:, None, None] * (alone - none)
    return guided + timbre[:, None, None] * (both - alone)
