"""Training of the model, in the paper's two stages (section 3.4).

What is minimised is in `objective`, the adversary in `rivalry`, how far training has come in
`validation`, what can go wrong in `disentanglement`, what is refused in `checks`; this is the loop.
"""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor

from timbrel.codec.codec import Codec
from timbrel.codec.spectral import SpectralCodec
from timbrel.data.pairs import Pairs
from timbrel.data.store import Store
from timbrel.errors import DataError, TrainingError
from timbrel.network import ModelConfig, Network
from timbrel.serialize import save_network
from timbrel.training.checks import check_learned, check_parts, check_start
from timbrel.training.course import Course, Descent, Ema
from timbrel.training.derived import check_rate, spectra_id
from timbrel.training.draws import Alteration, Draw, Draws, workers_for
from timbrel.training.equaliser import Equaliser
from timbrel.training.finite import Watch, check_finite
from timbrel.training.latents import latent_deviation
from timbrel.training.objective import Objective
from timbrel.training.optimiser import Optimiser
from timbrel.training.probe import ProbeSet
from timbrel.training.ranks import Ranks
from timbrel.training.rivalry import Rivalry
from timbrel.training.run import (
    Budget,
    Run,
    restore,
    settings_of,
)
from timbrel.training.settings import ModelTraining
from timbrel.training.sharding import assembled, check_several, cut, whole
from timbrel.training.transposition import Transposition
from timbrel.training.validation import Validation


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
    workers: int | None = None,
    shard: bool = False,
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
        workers: processes that draw items ahead; None: as fits the device.
        shard: whether each of several processes keeps but a part of the denoiser's weights. A run
            may go on with it or without.

    Returns:
        The network with its averaged weights, also saved in `folder/model`.

    Raises:
        TrainingError: the loss is not finite (the last good checkpoint is kept, the batch
            saved), `start_from` is of another configuration or codec, there is no part of the
            name that alone is to learn, or one process to `shard` for.
        DataError: a store without latents of this codec, or without pairs.
    """
    if shard:
        check_several(Ranks())
    for data in (store, valid):
        if data is not None:
            data.check("latents", codec.latent_id)
    torch.manual_seed(training.seed)
    begun = settings_of(folder)
    if begun is not None and begun.get("kind") == "model":
        # runs of before it was measured have none
        deviation = begun.get("model", {}).get("deviation", ModelConfig.deviation)
    elif start_from is not None:
        deviation = start_from.config.deviation
    else:
        deviation = latent_deviation(store, training.seed)
    config = replace(config, deviation=deviation, latent=codec.latent_id)
    check_parts(config, training, begun is not None or start_from is not None)
    network = Network(config).to(device)
    if isinstance(codec, SpectralCodec):
        network.adopt(codec.basis)
    if start_from is not None:
        check_start(network, start_from)
    pairs = pairs_of(store, codec, config, training)
    written = replace(training, heard=0.0)  # what is held out need not be heard
    held_out = pairs_of(valid, codec, config, written) if valid is not None else None
    probe_set = ProbeSet(valid or store, codec.frame_rate, training.frames)
    objective = Objective(network, training, device)
    validation = Validation(codec, training, probe_set, held_out, device)
    alterations = alterations_of(codec, training, device)
    settings = {
        "kind": "model",
        "codec": codec.latent_id,
        "model": asdict(config),
        "training": asdict(training),
    }
    with Run(folder, settings) as run:
        state = run.latest()
        if state is not None:
            restore(network, state["network"], folder)
        elif start_from is not None:
            network.begin_from(start_from)
        if training.only:
            learn_only(network, training.only)
        if shard:
            cut(network.denoiser, run.ranks)
        optimiser = Optimiser(network, training.optimiser, ranks=run.ranks)
        descent = Descent(network, optimiser, training.peak_rate, 0.999)
        rivalry = Rivalry(network, training, run.ranks)
        course = Course(run, budget, state)
        if state is not None:
            descent.load_state_dict(state)
            rivalry.load_state_dict(state)
            validation.best = state["best"]
        for sentence in pairs.report() + validation.report():
            run.say(sentence)

        def save() -> None:
            watch.settle()
            weights = {
                "network": assembled(network.state_dict()),
                "best": validation.best,
                "drawn": drawn,
            }
            parts = (weights, descent.state_dict(), rivalry.state_dict(), course.state_dict())
            run.save(course.step, {name: value for part in parts for name, value in part.items()})
            result = averaged(network, descent.ema)  # by all processes
            if run.ranks.first:
                save_network(result, folder / "model")

        # ---- the loop -------------------------------------------------------------------
        draws = Draws(pairs, training.batch, run.ranks.rank, 3, alterations)
        # of how many draws a step was made may have changed since
        drawn = (state or {}).get("drawn", course.step * training.accumulate)
        upcoming = draws.since(
            drawn,
            workers_for(device) if workers is None else workers,
            pinned=device.type == "cuda",
        )
        watch, idle = Watch(run), 0
        while course.goes_on():
            step, progress = course.step, course.reached
            stage = training.stage(progress)
            alone = stage == 2 and rivalry.alone(step, progress)
            parts: list[tuple[Draw, Tensor]] = []
            for _ in range(training.accumulate):
                # draw
                draw, drawn = next(upcoming), drawn + 1
                batch = draw.batch(device, alterations)
                # forward
                if alone:
                    values = objective.codes(batch)
                    values["adversary/error_over_chance"] = rivalry.learn(values)
                    check_finite(run, step, draw, values, "adversary/error_over_chance")
                    continue
                values = objective.losses(batch, draw.source(device), stage)
                loss = total(values, training)
                if stage == 2 and rivalry.weight(progress) > 0:
                    if training.adversary_every == 1:
                        values["adversary/error_over_chance"] = rivalry.learn(values)
                        check_finite(run, step, draw, values, "adversary/error_over_chance")
                    values["confusion"] = rivalry.confusion(values)
                    loss = loss + rivalry.weight(progress) * values["confusion"]
                parts.append((draw, loss.detach()))
                if loss.requires_grad:
                    (loss / training.accumulate).backward()
                learned = any(weight.grad is not None for weight in network.parameters())
                idle = 0 if learned else idle + 1
                check_learned(idle, training)
            # step
            if not alone:
                values["gradient"] = descent.move(course)
                watch.next(step, parts, values["gradient"])
            course.advance()
            # log, look, checkpoint
            run.gather(values)
            if course.step % 50 == 0 or course.progress >= 1:
                run.log_gathered(course.step, stage, course.seconds, course.progress)
            # a run shorter than that can go wrong too, and a long one early
            if course.step % training.validate_every == 0 or course.passed(0.1, 0.25):
                watch.settle()
                validation.look(run, course.step, averaged(network, descent.ema), stage)
            if on_step is not None:
                on_step(course.step, course.progress)
            if run.due():
                save()
        if run.stopping:  # between two lines of the log
            stage = training.stage(course.reached)
            run.log_gathered(course.step, stage, course.seconds, course.progress)
        save()
        return averaged(network, descent.ema)


def total(values: dict[str, Tensor], training: ModelTraining) -> Tensor:
    """Weighted sum of the losses that a batch has, without the adversary's.

    Raises:
        TrainingError: there are none.
    """
    weights = {
        "flow": training.flow,
        "outline": training.outline,
        "contrastive": training.contrastive,
        "reentry": training.reentry,
    }
    parts = [weight * values[name] for name, weight in weights.items() if name in values]
    if not parts:
        raise TrainingError(
            "there is nothing to learn: flow is 0, and no guess is drawn (in stage 1, or of audio)"
        )
    return torch.stack(parts).sum()


def pairs_of(store: Store, codec: Codec, config: ModelConfig, training: ModelTraining) -> Pairs:
    """Items of a store as a training asks for them.

    Raises:
        DataError: what they need has not been prepared, or is of another rate than the codec's.
    """
    with_source = config.structure.source == "cqt"
    if with_source:
        check_rate(store, codec)
    if training.heard and not store.maker("heard"):
        raise DataError(
            f"{store.path} has no heard notes, or of two listeners: run `timbrel prepare heard` "
            "with one on each store"
        )
    return Pairs(
        store,
        codec.frame_rate,
        training.frames,
        training.example_frames,
        training.seed,
        training.corruption,
        with_source=with_source,
        spectra=store.maker("spectra") == spectra_id(codec.rate, codec.hop),
        same_clip=training.same_clip,
        overlap=training.overlap,
        heard=training.heard,
    )


def alterations_of(codec: Codec, training: ModelTraining, device: torch.device) -> list[Alteration]:
    """By which few timbres become many; a learned latent has none."""
    found: list[Alteration] = []
    if isinstance(codec, SpectralCodec) and training.transpose:
        found.append(Transposition(codec.basis, training.transpose).to(device))
    if isinstance(codec, SpectralCodec) and training.equalise:
        found.append(Equaliser(codec.basis, training.equalise).to(device))
    return found


def learn_only(network: Network, part: str) -> None:
    """Let one part of a network learn, and leave the others as they are.

    Raises:
        TrainingError: it has no such part.
    """
    try:
        learning = network.get_submodule(part)
    except AttributeError as error:
        names = ", ".join(name for name, _ in network.named_children())
        raise TrainingError(
            f"only is '{part}', which this network does not have; it has {names}, and their parts"
        ) from error
    network.requires_grad_(False)
    learning.requires_grad_(True)


def averaged(network: Network, ema: Ema) -> Network:
    """A copy of the network with its averaged weights; of cut ones, all processes must ask."""
    copy = Network(network.config).to(next(network.parameters()).device)
    with torch.no_grad():
        for name, value in copy.state_dict().items():
            value.copy_(whole(ema.shadow[name]))
    return copy.eval()
