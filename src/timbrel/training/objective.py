"""The losses of a batch, for both stages of the paper (section 3.4).

Stage 1: structure is absent, so the timbre encoder takes all that is global. Stage 2:
structure comes in, and conditions are dropped independently of each other, so that every
branch of guidance has been seen.
"""

from dataclasses import replace

import torch
from torch import Tensor
from torch.func import functional_call

from timbrel.conditions.structure import CqtEncoder, Structure
from timbrel.conditions.timbre import Timbre, contrastive_loss
from timbrel.data.batch import WARMUP, Batch
from timbrel.diffusion.objective import interpolate, velocity, velocity_loss
from timbrel.diffusion.unet import Conditions
from timbrel.errors import TrainingError
from timbrel.network import Network
from timbrel.training.settings import ModelTraining

# Patterns of present conditions: name, structure, timbre.
BRANCHES = (
    ("neither", False, False),
    ("timbre", False, True),
    ("structure", True, False),
    ("both", True, True),
)


class Objective:
    """The losses of one batch, for both stages.

    Args:
        network: to be trained.
        training: hyper-parameters.
        device: where to compute.
    """

    def __init__(self, network: Network, training: ModelTraining, device: torch.device) -> None:
        self.network, self.training, self.device = network, training, device

    def fast(self) -> torch.autocast:
        """Within it, networks compute in the precision of training; losses stay outside."""
        low = self.training.precision == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=low)

    def encode_structure(self, batch: Batch) -> Structure:
        """From notes or from audio."""
        encoder = self.network.structure_encoder
        if isinstance(encoder, CqtEncoder):
            if batch.source_spectrum is not None:
                return encoder(batch.source_spectrum)
            if batch.source_audio is None or self.network.cqt is None:
                raise TrainingError("structure from audio needs the store's audio")
            return encoder(self.network.cqt(batch.source_audio))
        return encoder(batch.roll, batch.drums).after(WARMUP)

    def encode_timbre(self, batch: Batch, learns: bool = True) -> Timbre:
        """Of the batch's examples; of the vector, gradients flow only if it `learns`."""
        with self.fast():
            timbre = self.network.timbre(batch.example, batch.example_roll, learns)
        return replace(timbre, vector=timbre.vector.float())

    def codes(self, batch: Batch) -> dict[str, Tensor]:
        """The batch's timbre and structure codes, for a step that is the adversary's alone."""
        with torch.no_grad(), self.fast():
            timbre = self.encode_timbre(batch).vector
            return {"timbre": timbre, "structure": self.encode_structure(batch).code}

    def losses(
        self,
        batch: Batch,
        source: torch.Generator,
        stage: int,
        present: tuple[bool, bool] | None = None,
    ) -> dict[str, Tensor]:
        """Named losses; "flow" is the denoiser's, "contrastive" the timbre encoder's.

        The codes are among the values ("structure", "timbre"), for the adversary. Where the
        denoiser's loss has no weight, it is found only without gradients, to be looked at.

        Args:
            batch: items, on this objective's device.
            source: of all draws.
            stage: 1 or 2.
            present: whether all items have structure, and timbre; None drops as in training.
        """
        net, cfg, device = self.network, self.training, self.device
        latent = batch.latent
        size, _, frames = latent.shape

        def uniform(*shape: int) -> Tensor:
            return torch.rand(shape, generator=source, device=device)

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=source, device=device)

        learns = (stage == 1 or not cfg.freeze_timbre) and torch.is_grad_enabled()
        timbre = self.encode_timbre(batch, learns)
        values: dict[str, Tensor] = {"timbre": timbre.vector}
        keep_timbre = uniform(size) >= cfg.drop_timbre
        if stage == 1:
            structure = Structure(
                torch.zeros(size, net.config.structure.dim, frames, device=device)
            )
            keep_structure = torch.zeros(size, dtype=torch.bool, device=device)
        else:
            with self.fast():
                structure = self.encode_structure(batch)
            values["structure"] = structure.code
            blur = cfg.structure_noise * normal(*structure.code.shape)
            structure = replace(structure, code=structure.code + blur)
            keep_structure = uniform(size) >= cfg.drop_structure
        if present is not None:
            keep_structure = torch.full_like(keep_structure, present[0])
            keep_timbre = torch.full_like(keep_timbre, present[1])
        if learns and cfg.contrastive:
            with self.fast():
                own = net.timbre_encoder(latent).float()
            values["contrastive"] = contrastive_loss(timbre.vector, own, batch.identity)
        with self.fast():
            conditions = net.condition(structure, timbre, keep_structure, keep_timbre).float()
        if net.outline is not None and stage == 2:
            misfit = net.outline.loss(
                conditions.guess, conditions.deviation, latent, net.channel_weight
            )
            values["outline"] = torch.where(keep_structure, misfit, 0.0).sum() / size
        if cfg.flow or not torch.is_grad_enabled():
            kept = (keep_structure, keep_timbre)
            values |= self.denoising(latent, conditions, timbre.vector, kept, source, stage)
        return values

    def denoising(
        self,
        latent: Tensor,
        conditions: Conditions,
        vector: Tensor,
        kept: tuple[Tensor, Tensor],
        source: torch.Generator,
        stage: int,
    ) -> dict[str, Tensor]:
        """The denoiser's losses: "flow", its mean for each branch, and "reentry".

        Args:
            latent: (batch, channels, frames), what is to be made.
            conditions: that the denoiser is told.
            vector: (batch, timbre_dim), asked for.
            kept: (batch,) bool each, the items that have structure, and timbre.
            source: of all draws.
            stage: 1 or 2.
        """
        net, cfg, size = self.network, self.training, len(latent)
        moment = net.objective.draw_times(size, source, self.device)
        pure = torch.rand(size, generator=source, device=self.device) < cfg.pure_noise
        moment = torch.where(pure, 1.0, moment)
        noisy, noise, context = self.noised(latent, moment, source)
        with self.fast():
            estimate = net.denoiser(noisy, moment, conditions, context).float()
        per_item = velocity_loss(estimate, velocity(latent, noise), net.channel_weight, context)
        values = {"flow": (net.objective.weight(moment) * per_item).mean()}
        if cfg.reentry and torch.is_grad_enabled():
            clean = torch.where(context > 0, latent, noisy - moment[:, None, None] * estimate)
            again = self.reentry(clean, vector, 1 - moment)
            values["reentry"] = torch.where(kept[1], again, 0.0).sum() / size
        if stage == 2:
            values |= branch_losses(per_item.detach(), *kept)
        return values

    def noised(
        self, latent: Tensor, moment: Tensor, source: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What the denoiser sees: noise, and for some items a clean beginning of random length.

        Args:
            latent: (batch, channels, frames).
            moment: (batch,) flow times.
            source: of all draws.

        Returns:
            Noisy latent and noise, (batch, channels, frames), and the mask of frames that are
            given, clean but for a little noise (they will be our own): (batch, 1, frames).
        """
        cfg, (size, _, frames) = self.training, latent.shape

        def uniform(*shape: int) -> Tensor:
            return torch.rand(shape, generator=source, device=self.device)

        def normal() -> Tensor:
            return torch.randn(latent.shape, generator=source, device=self.device)

        length = uniform(size) * cfg.context_frames * (uniform(size) < cfg.context_share)
        context = (torch.arange(frames, device=self.device) < length[:, None]).float()[:, None]
        noise = normal()
        given = latent + normal() * uniform(size, 1, 1) * cfg.context_noise
        noisy = torch.where(context > 0, given, interpolate(latent, noise, moment))
        return noisy, noise, context

    def reentry(self, latent: Tensor, timbre: Tensor, weight: Tensor) -> Tensor:
        """How unlike the asked timbre is to the one heard in the denoiser's own estimate.

        The encoder listens and is not moved: else it would learn to hear what is wanted.

        Args:
            latent: (batch, channels, frames) that the denoiser expects.
            timbre: (batch, timbre_dim) that was asked for.
            weight: (batch,); estimates from much noise are blurred and count for less.

        Returns:
            (batch,): weighted cosine distances.
        """
        encoder = self.network.timbre_encoder
        still = {name: value.detach() for name, value in encoder.named_parameters()}
        with self.fast():
            heard = functional_call(encoder, still, (latent,)).float()
        return weight * (1 - (heard * timbre.detach()).sum(1))


def branch_losses(per_item: Tensor, structure: Tensor, timbre: Tensor) -> dict[str, Tensor]:
    """Mean loss of each pattern of present conditions; not a number if none has it.

    Numbers stay where they are: whoever asks which patterns occur waits for a GPU.
    """
    found = {}
    for name, s, t in BRANCHES:
        mask = (structure == s) & (timbre == t)
        found[f"branch/{name}"] = torch.where(mask, per_item, 0.0).sum() / mask.sum()
    return found
