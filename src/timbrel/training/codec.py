"""Training of a codec: one loop for both designs; what differs is in `codec_objective`.

Spectral: the basis is fitted first and never changes; log-magnitudes are compared, then the
waveform. Rave: encoder and decoder learn together; then the latent is measured and fixed.
In both, discriminators can join at the end, and only the decoder learns from them.
"""

import math
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from timbrel.codec.codec import Codec
from timbrel.codec.discriminator import Discriminator, discriminator_loss, generator_losses
from timbrel.codec.spectral import SpectralConfig, with_noise
from timbrel.data.render.endless import Endless
from timbrel.data.store import Store
from timbrel.errors import TrainingError
from timbrel.serialize import CodecConfig, build_codec, describe_codec, save_codec
from timbrel.training.codec_objective import (
    CodecObjective,
    CodecTraining,
    Sounds,
    Step,
    objective_of,
    risen,
)
from timbrel.training.course import Course, Descent, Ema
from timbrel.training.diagnostics import (
    Watch,
    dead_channels,
    discriminator_trouble,
    largest_score,
    silent_output,
)
from timbrel.training.draws import Numbered, workers_for
from timbrel.training.excerpts import Excerpts, excerpts_of
from timbrel.training.optimiser import Optimiser
from timbrel.training.played import PlayedExcerpts
from timbrel.training.run import Budget, Run, generator, restore, torch_generator

LOG_EVERY = 50  # steps


def train_codec(
    sounds: Store | Endless,
    folder: Path,
    config: CodecConfig,
    training: CodecTraining,
    budget: Budget,
    device: torch.device,
    start_from: Codec | None = None,
    on_step: Callable[[int, float], None] | None = None,
    workers: int | None = None,
    played: Store | None = None,
) -> Codec:
    """Train a codec; resumes the run in `folder` if there is one.

    Args:
        sounds: audio at the codec's rate: a store, or renditions made while training.
        folder: of the run.
        config: of the codec; its kind says the design.
        training: hyper-parameters.
        budget: steps or minutes.
        device: where to compute.
        start_from: weights (and latent) to start a new run from.
        on_step: called after each step with the step and the share of the budget used.
        workers: processes that draw ahead from a store (0: this one does, between steps), or that
            render ahead (1: likewise); None: none of either, beside a GPU all cores but two of
            the former, at most 16.
        played: sounds, with the latents in which a model plays them (`timbrel prepare played`);
            of them is the share `training.played` of each batch. Spectral codecs only.

    Returns:
        The codec with its averaged weights, also saved in `folder/codec`.

    Raises:
        TrainingError: the loss is not finite (the last good checkpoint is kept), or
            `start_from` has another configuration, or sounds were played in a latent that may
            still move.
        DataError: no item of the store is long enough, a process that rendered was killed, or
            sounds were played in another latent.
    """
    torch.manual_seed(training.seed)
    codec = build_codec(config).to(device)
    objective = objective_of(codec, training, device)
    ahead = workers_for(device) if workers is None else workers
    stored = isinstance(sounds, Store)  # what is rendered meanwhile has processes of its own
    rendering = 1 if stored else max(1, workers or 1)
    excerpts = excerpts_of(sounds, training.frames * codec.hop, training.seed, rendering)
    settings = {"kind": "codec", "codec": describe_codec(codec), "training": asdict(training)}
    if isinstance(sounds, Endless):
        settings["rendered"] = sounds.describe()
    with Run(folder, settings) as run, closing(excerpts):
        discriminator = Discriminator(periods=objective.periods).to(device)
        judge = torch.optim.AdamW(discriminator.parameters(), lr=2e-4, betas=(0.8, 0.99))
        learning = objective.learning(0.0)  # all that ever learns, whatever is resumed
        state = run.latest()
        if state is not None:
            restore(codec, state["codec"], folder)
            discriminator.load_state_dict(state["discriminator"])
            judge.load_state_dict(state["judge"])
        elif start_from is not None:
            begin_from(codec, start_from)
        else:
            numbers = objective.begin(excerpts)
            if numbers:
                run.log(0, numbers)
        theirs = None if played is None else PlayedExcerpts(played, objective)
        optimiser = Optimiser(learning, training.optimiser, (0.8, 0.99), ranks=run.ranks)
        descent = Descent(codec, optimiser, training.peak_rate, 0.999)
        course, watch = Course(run, budget, state), Watch()
        if state is not None:
            descent.load_state_dict(state)

        def save() -> None:
            weights = {
                "codec": codec.state_dict(),
                "discriminator": discriminator.state_dict(),
                "judge": judge.state_dict(),
            }
            run.save(course.step, {**weights, **descent.state_dict(), **course.state_dict()})
            if run.ranks.first:
                save_codec(averaged(codec, descent.ema), folder / "codec")

        # ---- the loop -------------------------------------------------------------------
        upcoming = Draws(excerpts, theirs, training, run.ranks.rank).since(
            course.step, ahead if stored else 0, pinned=device.type == "cuda"
        )
        while course.goes_on():
            step, progress = course.step, course.reached
            if objective.freezes(progress):
                # the averaged encoder is the one that will be used, so it is the one to measure
                codec.load_state_dict(descent.ema.shadow)
                objective.freeze(excerpts)
                descent.ema = Ema(codec, 0.999)
            # draw
            rng = generator(training.seed, step, run.ranks.rank, purpose=2)
            source = torch_generator(rng, device)
            batch = next(upcoming).sounds(objective, source)
            # forward
            found = objective.step(batch, source, progress)
            loss, values = found.loss, found.values
            if training.judged(progress) and found.output is not None:
                if step % training.judge_every == 0:
                    values |= judge_step(discriminator, judge, found, run)
                assert found.target is not None
                adversarial, matching = generator_losses(
                    discriminator, found.output, found.target, batch.own
                )
                values |= {"loss/adversarial": adversarial, "loss/matching": matching}
                share = risen(progress, training.adversarial_from)
                loss = loss + share * training.adversarial_weight * adversarial
                loss = loss + share * training.matching_weight * matching
            if not torch.isfinite(loss):
                raise TrainingError(
                    f"the codec's loss is not finite at step {step}; {run.kept()}; lower the "
                    "learning rate or look for damaged audio"
                )
            # step
            loss.backward()
            values["gradient"] = descent.move(course, objective.learning(progress))
            if not torch.isfinite(values["gradient"]):
                raise TrainingError(
                    f"the codec's gradient is not finite at step {step}; {run.kept()}; lower "
                    "the learning rate"
                )
            course.advance()
            # log, warn, checkpoint
            run.gather(values)
            if course.step % LOG_EVERY == 0 or course.progress >= 1:
                run.log_gathered(course.step, 1, course.seconds, course.progress)
                for sentence in troubles(watch, course.step, found, run.recent):
                    run.warn(course.step, sentence)
            if on_step is not None:
                on_step(course.step, course.progress)
            if run.due():
                save()
        save()
        result = averaged(codec, descent.ema)
        if run.ranks.first:
            with torch.no_grad():
                sample = excerpts.batch(4, 0, 0).to(device)
                heard = torch.cat([sample, result.reconstruct(sample[:, None])[:, 0]], 1)
            run.log_audio(
                course.step, "original_then_decoded", heard.flatten().cpu().numpy(), codec.rate
            )
        return result


class Draw(NamedTuple):
    """A batch as it travels from the process that drew it.

    Attributes:
        audio: (batch, samples), sounds that the codec encodes, then those that a model has played.
        played: latents of the latter (batch - own, channels, frames); None: there are none.
    """

    audio: Tensor
    played: Tensor | None

    def sounds(self, objective: CodecObjective, source: torch.Generator) -> Sounds:
        """On the objective's device, with noise of up to `latent_noise` for what is encoded."""
        training, device = objective.training, objective.device
        audio = self.audio.to(device, non_blocking=True)
        played = None if self.played is None else self.played.to(device, non_blocking=True)
        own = len(audio) - (0 if played is None else len(played))
        shape = (own, objective.codec.channels, training.frames)
        level = torch.rand(own, 1, 1, generator=source, device=device)
        noise = torch.randn(shape, generator=source, device=device) * level * training.latent_noise
        return Sounds(audio, noise, played)


class Draws(Numbered[Draw]):
    """What the steps of a codec are made of.

    Args:
        excerpts: that the codec encodes.
        played: and those that a model has played, if any.
        training: how many.
        rank: of the process that trains on them.
    """

    def __init__(
        self, excerpts: Excerpts, played: PlayedExcerpts | None, training: CodecTraining, rank: int
    ) -> None:
        self.excerpts, self.played, self.rank = excerpts, played, rank
        self.theirs = 0 if played is None else training.theirs
        self.own = training.batch - self.theirs

    def draw(self, number: int) -> Draw:
        """See `Numbered`."""
        audio = self.excerpts.batch(self.own, number, self.rank)
        if self.played is None:
            return Draw(audio, None)
        theirs, latent = self.played.batch(self.theirs, number, self.rank)
        return Draw(torch.cat([audio, theirs]), latent)


def begin_from(codec: Codec, start_from: Codec) -> None:
    """Take the weights of a codec of the same size; it may know nothing of noise yet.

    Raises:
        TrainingError: it has another design or size.
    """
    given, wanted = start_from.config, codec.config
    both = isinstance(given, SpectralConfig) and isinstance(wanted, SpectralConfig)
    if both and not given.decoder.noise_bands:
        given = with_noise(given, wanted.decoder.noise_bands)
    weights = start_from.state_dict()
    new = [name for name in codec.state_dict() if name not in weights]
    if given != wanted or not all(name.startswith("decoder.noise.") for name in new):
        raise TrainingError("the codec to start from has another design or size; choose its preset")
    codec.load_state_dict(weights, strict=False)


def judge_step(
    discriminator: Discriminator, judge: torch.optim.Optimizer, found: Step, run: Run
) -> dict[str, Tensor]:
    """One step of the discriminators. Returns their loss and largest score."""
    assert found.output is not None
    assert found.target is not None
    loss, scores = discriminator_loss(discriminator, found.output, found.target)
    judge.zero_grad()
    loss.backward()
    run.ranks.average_gradients(discriminator)
    judge.step()
    return {"loss/discriminator": loss, "discriminator/score": largest_score(scores)}


def troubles(watch: Watch, step: int, found: Step, means: Mapping[str, float]) -> list[str]:
    """What goes wrong at this step, or did since the last line of the log, and was not said."""
    loss = means.get(next(iter(found.values)), math.nan)  # the first: others join and rise
    named = [watch.plateau(step, loss), watch.divergence(loss), dead_channels(found.latent)]
    if found.output is not None and found.target is not None:
        named.append(silent_output(found.output, found.target))
    if "loss/discriminator" in means:
        named.append(
            discriminator_trouble(means["loss/discriminator"], means["discriminator/score"])
        )
    return watch.new(*named)


def averaged(codec: Codec, ema: Ema) -> Codec:
    """A copy of the codec with its averaged weights."""
    copy = build_codec(codec.config).to(codec.device)
    copy.load_state_dict(ema.shadow)
    return copy.eval()
