"""Training of the model, in the paper's two stages (section 3.4), on paired renders.

Stage 1: structure is absent, so the timbre encoder takes all that is global. Stage 2:
the timbre encoder is frozen and structure comes in; if structure is read from audio, the
adversary tries to find timbre in it and the encoder learns to prevent that. Conditions
are dropped independently of each other all through stage 2, so that every branch of
guidance has been seen.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from timbrel.codec.codec import Codec
from timbrel.conditions.adversary import Adversary, chance_error, guess_error
from timbrel.conditions.structure import CqtEncoder, Structure
from timbrel.conditions.timbre import contrastive_loss
from timbrel.data.pairs import WARMUP, Batch, Corruption, Pairs
from timbrel.data.store import Store
from timbrel.diffusion.objective import interpolate, velocity, velocity_loss
from timbrel.diffusion.samplers import euler
from timbrel.errors import TrainingError
from timbrel.network import ModelConfig, Network
from timbrel.serialize import save_network
from timbrel.training.latents import codec_id, latent_deviation
from timbrel.training.run import Budget, Ema, Run, generator, learning_rate, torch_generator


@dataclass(frozen=True)
class ModelTraining:
    """How to train a model."""

    batch: int = 16  # items per step and process
    frames: int = 128  # latent frames of a target, 3 s
    example_frames: int = 128  # latent frames of a timbre example
    peak_rate: float = 1e-3  # learning rate after warm-up
    seed: int = 0
    stage_one: float = 0.15  # share of the budget in which structure is absent
    freeze_timbre: bool = True  # in stage 2; paired renders do without (docs/decisions/0007)
    drop_structure: float = 0.1  # share of items without structure in stage 2
    drop_timbre: float = 0.1  # share of items without timbre, drawn independently
    outline: float = 0.5  # weight of the first guess's own error
    contrastive: float = 0.1  # weight of the timbre encoder's own objective, while it learns
    context_share: float = 0.5  # share of items whose first frames are given
    context_frames: int = 32  # most frames given
    context_noise: float = 0.1  # largest std of noise on given frames: they will be our own
    structure_noise: float = 0.05  # std of noise on the structure code
    adversary: float = 0.5  # final weight of the adversary (structure from audio only)
    adversary_ramp: float = 0.2  # share of the budget over which that weight rises
    validate_every: int = 500  # steps
    precision: str = "fp32"  # of convolutions and products: "fp32" or "bf16"
    corruption: Corruption = field(default_factory=Corruption)


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
            if batch.source_audio is None or self.network.cqt is None:
                raise TrainingError("structure from audio needs the store's audio")
            return encoder(self.network.cqt(torch.from_numpy(batch.source_audio).to(self.device)))
        roll = torch.from_numpy(batch.roll).to(self.device)
        drums = torch.from_numpy(batch.drums).to(self.device)
        return encoder(roll, drums).after(WARMUP)

    def losses(self, batch: Batch, source: torch.Generator, stage: int) -> dict[str, Tensor]:
        """Named losses; "flow" is the denoiser's, "contrastive" the timbre encoder's.

        The structure code is among the values ("structure"), for the adversary.
        """
        net, cfg, device = self.network, self.training, self.device
        latent = torch.from_numpy(batch.latent).to(device)
        size, _, frames = latent.shape

        def uniform(*shape: int) -> Tensor:
            return torch.rand(shape, generator=source, device=device)

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=source, device=device)

        example = torch.from_numpy(batch.example).to(device)
        learns = (stage == 1 or not cfg.freeze_timbre) and torch.is_grad_enabled()
        with torch.set_grad_enabled(learns), self.fast():
            timbre = net.timbre_encoder(example).float()
        values: dict[str, Tensor] = {"timbre": timbre}
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
        if learns:
            identity = torch.from_numpy(batch.identity).to(device)
            with self.fast():
                own = net.timbre_encoder(latent).float()
            values["contrastive"] = contrastive_loss(timbre, own, identity)
        conditions = net.condition(structure, timbre, keep_structure, keep_timbre)
        # context: a clean (slightly noisy) beginning of random length
        length = uniform(size) * cfg.context_frames * (uniform(size) < cfg.context_share)
        context = (torch.arange(frames, device=device) < length[:, None]).float()[:, None]
        noise = normal(*latent.shape)
        moment = net.objective.draw_times(size, source, device)
        noisy = interpolate(latent, noise, moment)
        given = latent + normal(*latent.shape) * uniform(size, 1, 1) * cfg.context_noise
        noisy = torch.where(context > 0, given, noisy)
        with self.fast():
            estimate = net.denoiser(noisy, moment, conditions, context).float()
        per_item = velocity_loss(estimate, velocity(latent, noise), net.channel_weight, context)
        values["flow"] = (net.objective.weight(moment) * per_item).mean()
        if net.outline is not None and stage == 2:
            misfit = net.outline.loss(conditions.guess, latent, net.channel_weight)
            values["outline"] = misfit[keep_structure].sum() / size
        if stage == 2:
            values |= branch_losses(per_item.detach(), keep_structure, keep_timbre)
        return values


def branch_losses(per_item: Tensor, structure: Tensor, timbre: Tensor) -> dict[str, Tensor]:
    """Mean loss of each pattern of present conditions that occurs in the batch."""
    found = {}
    for name, s, t in (("neither", 0, 0), ("timbre", 0, 1), ("structure", 1, 0), ("both", 1, 1)):
        mask = (structure == bool(s)) & (timbre == bool(t))
        if mask.any():
            found[f"branch/{name}"] = per_item[mask].mean()
    return found


def adversary_step(
    adversary: Adversary, optimiser: torch.optim.Optimizer, values: dict[str, Tensor]
) -> Tensor:
    """One step of D_zeta on the batch's structure, detached. Returns its error over chance."""
    error = guess_error(adversary, values["structure"].detach(), values["timbre"])
    optimiser.zero_grad()
    error.backward()
    optimiser.step()
    return error.detach() / chance_error(values["timbre"]).clamp_min(1e-8)


@torch.no_grad()
def validate(objective: Objective, pairs: Pairs, batches: int) -> dict[str, float]:
    """Losses on held-out items, always the same draws."""
    total: dict[str, list[float]] = {}
    for step in range(batches):
        rng = generator(objective.training.seed, step, 0, purpose=9)
        batch = pairs.batch(objective.training.batch, rng)
        values = objective.losses(batch, torch_generator(rng, objective.device), stage=2)
        for name in ("flow", "branch/both"):
            if name in values:
                total.setdefault(f"valid/{name.split('/')[-1]}", []).append(float(values[name]))
    return {name: sum(numbers) / len(numbers) for name, numbers in total.items()}


def train_model(
    store: Store,
    valid: Store | None,
    codec: Codec,
    folder: Path,
    config: ModelConfig,
    training: ModelTraining,
    budget: Budget,
    device: torch.device,
    start_from: Network | None = None,
    on_step: Callable[[int, float], None] | None = None,
) -> Network:
    """Train a model; resumes the run in `folder` if there is one.

    Args:
        store: renditions with latents of `codec` attached.
        valid: held-out renditions, also with latents; the best weights by its loss are kept.
        codec: its basis ties structure to latents.
        folder: of the run.
        config: of the network; its codec must be that of `codec`.
        training: hyper-parameters.
        budget: steps or minutes.
        device: where to compute.
        start_from: weights to start a new run from.
        on_step: called after each step with the step and the share of the budget used.

    Returns:
        The network with its averaged weights, also saved in `folder/model`.

    Raises:
        TrainingError: the loss is not finite (the last good checkpoint is kept).
        DataError: a store without latents of this codec, or without pairs.
    """
    for part in (store, valid):
        if part is not None:
            part.check("latents", codec_id(codec))
    torch.manual_seed(training.seed)
    if start_from is None:
        config = replace(config, deviation=latent_deviation(store, training.seed))
    network = Network(config).to(device)
    network.adopt(codec.basis)
    objective = Objective(network, training, device)
    with_audio = config.structure.source == "cqt"
    arguments = (
        training.frames,
        training.example_frames,
        training.seed,
        training.corruption,
        with_audio,
    )
    pairs = Pairs(store, codec.frame_rate, *arguments)
    held_out = Pairs(valid, codec.frame_rate, *arguments) if valid is not None else None
    settings = {"kind": "model", "model": asdict(config), "training": asdict(training)}
    with Run(folder, settings) as run:
        adversary = network.adversary().to(device)
        optimiser = torch.optim.AdamW(network.parameters(), betas=(0.9, 0.99), weight_decay=0.01)
        rival = torch.optim.AdamW(adversary.parameters(), lr=1e-3)
        step, seconds, best = 0, 0.0, float("inf")
        state = run.latest()
        if state is not None:
            network.load_state_dict(state["network"])
            optimiser.load_state_dict(state["optimiser"])
            adversary.load_state_dict(state["adversary"])
            rival.load_state_dict(state["rival"])
            step, seconds, best = state["step"], state["seconds"], state["best"]
        elif start_from is not None:
            network.load_state_dict(start_from.state_dict())
        ema = Ema(network, 0.999)
        if state is not None:
            ema.shadow = {k: v.to(device) for k, v in state["ema"].items()}

        def snapshot() -> dict[str, object]:
            return {
                "network": network.state_dict(),
                "ema": ema.shadow,
                "optimiser": optimiser.state_dict(),
                "adversary": adversary.state_dict(),
                "rival": rival.state_dict(),
                "step": step,
                "seconds": seconds,
                "best": best,
            }

        # ---- the loop -------------------------------------------------------------------
        clock = time.monotonic()
        progress = run.ranks.shared(budget.progress(step, seconds))
        while progress < 1 and not run.ranks.agree(run.stopping):
            stage = 1 if progress < training.stage_one else 2
            # draw
            rng = generator(training.seed, step, run.ranks.rank, purpose=3)
            batch = pairs.batch(training.batch, rng)
            # forward
            values = objective.losses(batch, torch_generator(rng, device), stage)
            loss = values["flow"]
            if "outline" in values:
                loss = loss + training.outline * values["outline"]
            if "contrastive" in values:
                loss = loss + training.contrastive * values["contrastive"]
            if stage == 2 and with_audio:
                values["adversary/error_over_chance"] = adversary_step(adversary, rival, values)
                ramp = min(
                    1.0, (progress - training.stage_one) / max(training.adversary_ramp, 1e-9)
                )
                error = guess_error(adversary, values["structure"], values["timbre"])
                # beyond chance there is nothing left to hide
                ceiling = chance_error(values["timbre"])
                loss = loss - training.adversary * ramp * torch.minimum(error, ceiling) / ceiling
            if not torch.isfinite(loss):
                raise TrainingError(
                    f"the model's loss is not finite at step {step}; the last good checkpoint is "
                    f"in {run.checkpoints}; lower the learning rate or look for damaged items"
                )
            # step
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(step, progress, training.peak_rate)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            run.ranks.average_gradients(network)
            values["gradient"] = nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            ema.update(network, step)
            step += 1
            now = time.monotonic()
            seconds, clock = seconds + now - clock, now
            progress = run.ranks.shared(budget.progress(step, seconds))
            # log, checkpoint
            if step % 50 == 0:
                numbers = {n: float(v.detach()) for n, v in values.items() if v.ndim == 0}
                run.log(step, {"stage": stage, **numbers, "progress": progress, "seconds": seconds})
            if held_out is not None and step % training.validate_every == 0 and stage == 2:
                judged = Objective(averaged(network, ema), training, device)
                losses = validate(judged, held_out, batches=8)
                run.log(step, losses)
                heard = preview(judged, codec, held_out)
                run.log_audio(step, "truth_then_model", heard, codec.rate)
                if losses["valid/flow"] < best:
                    best = losses["valid/flow"]
                    if run.ranks.first:
                        save_network(judged.network, folder / "best")
                clock = time.monotonic()
            if on_step is not None:
                on_step(step, progress)
            if run.due():
                run.save(step, snapshot())
                save_network(averaged(network, ema), folder / "model")
        run.save(step, snapshot())
        result = averaged(network, ema)
        if run.ranks.first:
            save_network(result, folder / "model")
        return result


@torch.no_grad()
def preview(objective: Objective, codec: Codec, pairs: Pairs) -> np.ndarray:
    """Two held-out items, each as it should be and as the model makes it: (samples,)."""
    rng = generator(objective.training.seed, 0, 0, purpose=10)
    batch = pairs.batch(2, rng)
    network, device = objective.network, objective.device
    structure = objective.encode_structure(batch)
    timbre = network.timbre_encoder(torch.from_numpy(batch.example).to(device))
    truth = torch.from_numpy(batch.latent).to(device)
    context = torch.zeros(len(truth), 1, truth.shape[2], device=device)
    kept = torch.ones(len(truth), dtype=torch.bool, device=device)
    conditions = network.condition(structure, timbre, kept, kept)
    noise = torch.randn(truth.shape, generator=torch_generator(rng, device), device=device)

    def velocity_at(x: Tensor, moment: Tensor, _size: Tensor) -> Tensor:
        return network.denoiser(x, moment, conditions, context)

    made = euler(velocity_at, noise, truth, context, network.objective.schedule, steps=8)
    audio = codec.to(device).decode(torch.cat([truth, made]))[:, 0]
    return torch.stack([audio[:2], audio[2:]], 1).flatten().clamp(-1, 1).cpu().numpy()


def averaged(network: Network, ema: Ema) -> Network:
    """A copy of the network with its averaged weights."""
    copy = Network(network.config).to(next(network.parameters()).device)
    copy.load_state_dict(ema.shadow)
    return copy.eval()
