"""The adversary D_zeta in training: whose step it is, how strongly, and what it has learned."""

from typing import Any

import torch
from torch import Tensor

from timbrel.conditions.adversary import CONFUSIONS, chance_error, guess_error
from timbrel.network import Network
from timbrel.training.ranks import Ranks
from timbrel.training.settings import ModelTraining


class Rivalry:
    """Structure encoder against adversary (paper, section 3.4).

    Args:
        network: whose structure encoder learns to hide timbre.
        training: weights and schedule.
        ranks: processes that train one adversary together.
    """

    def __init__(self, network: Network, training: ModelTraining, ranks: Ranks) -> None:
        self.training, self.ranks = training, ranks
        self.on = training.adversary > 0
        self.adversary = network.adversary().to(next(network.parameters()).device)
        self.optimiser = torch.optim.AdamW(self.adversary.parameters(), lr=1e-3)

    def weight(self, progress: float) -> float:
        """Of the encoder's part, which rises after stage 1; progress in [0, 1]."""
        begun = progress - self.training.stage_one - self.training.adversary_delay
        risen = begun / max(self.training.adversary_ramp, 1e-9)
        return self.training.adversary * min(max(risen, 0.0), 1.0) if self.on else 0.0

    def alone(self, step: int, progress: float) -> bool:
        """Whether a step is the adversary's alone."""
        every = self.training.adversary_every
        return every > 1 and step % every == every - 1 and self.weight(progress) > 0

    def learn(self, codes: dict[str, Tensor]) -> Tensor:
        """A step of the adversary on the codes, detached. Returns its error over chance.

        If that is not finite, the adversary is left as it was.
        """
        error = guess_error(self.adversary, codes["structure"].detach().float(), codes["timbre"])
        if torch.isfinite(error):
            self.optimiser.zero_grad()
            error.backward()
            self.ranks.average_gradients(self.adversary)
            self.optimiser.step()
        return error.detach() / chance_error(codes["timbre"]).clamp_min(1e-8)

    def confusion(self, codes: dict[str, Tensor]) -> Tensor:
        """What the structure encoder minimises, unweighted."""
        guess = self.adversary(codes["structure"].float())
        return CONFUSIONS[self.training.confusion](guess, codes["timbre"])

    def state_dict(self) -> dict[str, Any]:
        """For checkpoints."""
        return {"adversary": self.adversary.state_dict(), "rival": self.optimiser.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        self.adversary.load_state_dict(state["adversary"])
        self.optimiser.load_state_dict(state["rival"])
