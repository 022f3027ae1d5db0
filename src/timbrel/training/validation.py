"""What a model in training knows of sounds that it does not learn from."""

import numpy as np
import torch
from torch import Tensor

from timbrel.codec.codec import Codec
from timbrel.data.pairs import Pairs
from timbrel.diffusion.samplers import euler
from timbrel.network import Network
from timbrel.serialize import save_network
from timbrel.training.disentanglement import warnings_of
from timbrel.training.objective import BRANCHES, Objective
from timbrel.training.probe import LEAST_ITEMS, ProbeSet, probe
from timbrel.training.run import Run, generator, torch_generator
from timbrel.training.settings import ModelTraining

BATCHES = 4  # of held-out items


class Validation:
    """Looks at a model while it trains: losses, codes, a preview; warns of what goes wrong.

    Args:
        codec: that the latents are of.
        training: hyper-parameters.
        probe_set: passages whose codes are probed.
        held_out: items whose losses count, if there are any.
        device: where to compute.

    Attributes:
        best: least held-out loss so far; its weights are kept in the run's `best`.
    """

    def __init__(
        self,
        codec: Codec,
        training: ModelTraining,
        probe_set: ProbeSet,
        held_out: Pairs | None,
        device: torch.device,
    ) -> None:
        self.codec, self.training, self.device = codec, training, device
        self.probe_set, self.held_out = probe_set, held_out
        self.best = float("inf")

    def report(self) -> list[str]:
        """What will not be looked for, as data for it are lacking: a sentence each."""
        found = []
        if not self.probe_set.labels:
            seconds = self.probe_set.frames / self.probe_set.frame_rate
            found.append(
                f"codes are not probed: no pitched timbre has {LEAST_ITEMS} items with notes and "
                f"{seconds:.1f} s of sound, so a collapse or a leak would not be seen"
            )
        elif self.probe_set.labels == 1:
            found.append(
                "instruments are not looked for in codes: one timbre alone has as many items as "
                f"that takes ({LEAST_ITEMS})"
            )
        if self.held_out is None:
            found.append(
                "without --valid nothing shows when training does harm, or when notes or examples "
                "are ignored"
            )
        return found

    def look(self, run: Run, step: int, network: Network, stage: int) -> None:
        """Measure, log and warn.

        Args:
            run: whose log it is.
            step: of training.
            network: with averaged weights.
            stage: of training.
        """
        objective = Objective(network, self.training, self.device)
        found = probe(network, self.probe_set, self.device)
        if self.held_out is not None and stage == 2:
            found |= validate(objective, self.held_out, BATCHES)
            heard = preview(objective, self.codec, self.held_out)
            run.log_audio(step, "truth_then_model", heard, self.codec.rate)
            if found["valid/both"] < self.best:
                self.best = found["valid/both"]
                if run.ranks.first:
                    save_network(network, run.folder / "best")
        if found:
            run.log(step, found)
        for warning in warnings_of(found | run.recent, stage):
            run.warn(step, warning)


@torch.no_grad()
def validate(objective: Objective, pairs: Pairs, batches: int) -> dict[str, float]:
    """Losses on held-out items for each pattern of conditions: always the same draws."""
    found: dict[str, list[float]] = {}
    for step in range(batches):
        rng = generator(objective.training.seed, step, 0, purpose=9)
        batch = pairs.draw(objective.training.batch, rng).to(objective.device)
        seed = int(rng.integers(2**62))
        for name, structure, timbre in BRANCHES:
            source = torch.Generator(device=objective.device).manual_seed(seed)
            values = objective.losses(batch, source, 2, (structure, timbre))
            found.setdefault(f"valid/{name}", []).append(float(values["flow"]))
            if "outline" in values and structure and timbre:
                found.setdefault("valid/guess", []).append(float(values["outline"]))
    return {name: sum(numbers) / len(numbers) for name, numbers in found.items()}


@torch.no_grad()
def preview(objective: Objective, codec: Codec, pairs: Pairs) -> np.ndarray:
    """Two held-out items, each as it should be and as the model makes it: (samples,)."""
    rng = generator(objective.training.seed, 0, 0, purpose=10)
    network, device = objective.network, objective.device
    batch = pairs.draw(2, rng).to(device)
    structure = objective.encode_structure(batch)
    timbre = objective.encode_timbre(batch)
    truth = batch.latent
    context = torch.zeros(len(truth), 1, truth.shape[2], device=device)
    kept = torch.ones(len(truth), dtype=torch.bool, device=device)
    conditions = network.condition(structure, timbre, kept, kept)
    noise = torch.randn(truth.shape, generator=torch_generator(rng, device), device=device)

    def velocity_at(x: Tensor, moment: Tensor, _size: Tensor) -> Tensor:
        return network.denoiser(x, moment, conditions, context)

    made = euler(velocity_at, noise, truth, context, network.objective.schedule, steps=8)
    audio = codec.to(device).decode(torch.cat([truth, made]))[:, 0]
    return torch.stack([audio[:2], audio[2:]], 1).flatten().clamp(-1, 1).cpu().numpy()
