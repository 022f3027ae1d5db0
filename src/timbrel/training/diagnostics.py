"""What goes wrong in a codec's training, named while it happens, with what to do.

Functions take tensors and give a sentence, or None. `Watch` says each of them once.
"""

import math

import torch
from torch import Tensor

DEAD = 0.05  # standard deviation of a latent channel that should have 1
SILENT = 0.05  # level of the output over that of the target
LOPSIDED = 0.3  # mean of the output over its root mean square
SATURATED = 0.02  # hinge loss of a discriminator that nothing can fool
EXPLODED = 50.0  # score of a discriminator whose margin is 1
DIVERGED = 4.0  # a loss over its best average
PLATEAU_STEPS = 1500  # without progress of
PLATEAU_SHARE = 0.01  # of the loss


def dead_channels(latent: Tensor) -> str | None:
    """(batch, channels, frames) of many sounds."""
    deviation = latent.float().std((0, 2))
    dead = int((deviation < DEAD).sum())
    if dead == 0:
        return None
    return (
        f"dead latent channels: {dead} of {len(deviation)} hardly move; use fewer channels, less "
        "latent noise, or more varied data"
    )


def silent_output(output: Tensor, target: Tensor) -> str | None:
    """Both (batch, samples)."""
    level, wanted = output.float().square().mean().sqrt(), target.float().square().mean().sqrt()
    if wanted < 1e-4:
        return None  # nothing should be heard
    if level < SILENT * wanted:
        return (
            f"silent output: {20 * math.log10(max(float(level / wanted), 1e-9)):.0f} dB below the "
            "target; lower the learning rate, or start anew from another seed"
        )
    if output.float().mean(1).abs().mean() > LOPSIDED * level:
        return (
            "DC output: most of the output is a constant; look for an offset in the recordings, "
            "or lower the learning rate"
        )
    return None


def discriminator_trouble(loss: float, largest_score: float) -> str | None:
    """The hinge loss of a discriminator, and its largest score."""
    if not math.isfinite(loss) or largest_score > EXPLODED:
        return (
            f"exploding discriminator: scores reach {largest_score:.0f}; go back to the weights "
            "from before the adversarial phase, with a lower adversarial weight"
        )
    if loss < SATURATED:
        return (
            f"discriminator too strong: its loss is {loss:.3f}, so the codec learns nothing from "
            "it; lower the adversarial weight, or let it join later"
        )
    return None


class Watch:
    """Says what goes wrong, each thing once."""

    def __init__(self) -> None:
        self.said: set[str] = set()
        self.best, self.best_step, self.level = math.inf, 0, math.nan

    def plateau(self, step: int, loss: float) -> str | None:
        """The loss at a step; steps of equal distance."""
        self.level = loss if math.isnan(self.level) else 0.9 * self.level + 0.1 * loss
        if self.level < (1 - PLATEAU_SHARE) * self.best:
            self.best, self.best_step = self.level, step
        if step - self.best_step < PLATEAU_STEPS:
            return None
        return (
            f"plateau: no progress of {PLATEAU_SHARE:.0%} in {step - self.best_step} steps; the "
            "rate falls towards the end of the budget, so a shorter run is as good; else use a "
            "larger preset or more data"
        )

    def divergence(self, loss: float) -> str | None:
        """The loss at a step, after `plateau` has seen it."""
        if loss < DIVERGED * self.best:
            return None
        return (
            f"diverging: the loss is {loss:.3g} after {self.best:.3g}; stop, and start again "
            "with a lower learning rate or another seed"
        )

    def new(self, *found: str | None) -> list[str]:
        """Those sentences that were not said before, by their names."""
        fresh = []
        for sentence in found:
            name = "" if sentence is None else sentence.split(":")[0]
            if sentence is not None and name not in self.said:
                self.said.add(name)
                fresh.append(sentence)
        return fresh


@torch.no_grad()
def largest_score(scores: list[Tensor]) -> Tensor:
    """Of a discriminator's scores on one batch."""
    return torch.stack([score.abs().max() for score in scores]).max()
