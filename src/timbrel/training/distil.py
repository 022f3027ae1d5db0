"""Few steps: a denoiser that answers for a whole step at once, with guidance folded in.

A student begins as the trained denoiser and is told step size and guidance (`Shortcut`).
For some items it learns the velocity that the frozen teacher has under guidance; for the
others that one step equals two half steps of its own average (shortcut models, Frans et al.,
2025, equation 5). So many steps are folded into four, two, one, and three evaluations for
guidance into one. Encoders stay as they are.
"""

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.func import functional_call

from timbrel.codec.codec import Codec
from timbrel.conditions.structure import Structure
from timbrel.conditions.timbre import Timbre
from timbrel.data.batch import Batch
from timbrel.data.store import Store
from timbrel.diffusion.guidance import FEW_STEP_GUIDANCE, nested
from timbrel.diffusion.objective import velocity_loss
from timbrel.diffusion.unet import Conditions, Shortcut
from timbrel.errors import TrainingError
from timbrel.network import Network, check_codec
from timbrel.serialize import save_network
from timbrel.training.course import Course, Descent, Ema
from timbrel.training.draws import Draws, workers_for
from timbrel.training.finite import check_finite
from timbrel.training.model import pairs_of
from timbrel.training.objective import Objective
from timbrel.training.optimiser import Optimiser
from timbrel.training.run import Budget, Run, restore
from timbrel.training.settings import ModelTraining


@dataclass(frozen=True)
class Distillation:
    """How to distil, beside what holds for any training."""

    shortcuts: float = 0.5  # share of items that learn to take a step at once; the rest: velocity
    halvings: int = 3  # steps of 1, 1/2, ... 1 / 2 ** halvings of the path


def student_of(teacher: Network, halvings: int = Distillation.halvings) -> Network:
    """A network with the teacher's weights whose denoiser can be told step and guidance.

    Args:
        teacher: trained.
        halvings: of `Distillation`.

    Raises:
        TrainingError: the teacher is a few-step model already, or was trained on EDM.
    """
    if teacher.config.denoiser.few_step:
        raise TrainingError("this model was distilled already; distil the one it came from")
    if teacher.config.objective != "flow":
        raise TrainingError(
            f"shortcuts halve even steps of the flow; this model was trained on "
            f"'{teacher.config.objective}', so train one on 'flow' first"
        )
    sizes = replace(teacher.config.denoiser, few_step=True, halvings=halvings)
    student = Network(replace(teacher.config, denoiser=sizes))
    student.load_state_dict(teacher.state_dict(), strict=False)
    return student.requires_grad_(False)


class Lesson:
    """The losses of one batch for a student.

    Args:
        teacher: trained; not changed.
        student: from `student_of`.
        training: batch, noise on the context, precision.
        distillation: shares and sizes.
        device: where to compute.
    """

    def __init__(
        self,
        teacher: Network,
        student: Network,
        training: ModelTraining,
        distillation: Distillation,
        device: torch.device,
    ) -> None:
        self.teacher, self.student, self.distillation = teacher, student, distillation
        self.objective, self.device = Objective(teacher, training, device), device

    def losses(
        self, batch: Batch, source: torch.Generator, average: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """Mean squared errors: "velocity" of the first items, "shortcut" of the others.

        Args:
            batch: items.
            source: of all draws.
            average: weights of the student's averaged denoiser, which takes the half steps.
        """
        latent = batch.latent
        size, least, most = len(latent), *FEW_STEP_GUIDANCE
        count = round(size * (1 - self.distillation.shortcuts))
        plain, jumps = slice(0, count), slice(count, size)

        def uniform() -> Tensor:
            return torch.rand(size, generator=source, device=self.device)

        step = 0.5 ** torch.floor(uniform() * (self.distillation.halvings + 1))
        step[plain] = 0
        # a step begins at a multiple of its size
        moment = step * (1 + torch.floor(uniform() / step.clamp_min(1e-6)))
        times = self.teacher.objective.draw_times(size, source, self.device)
        moment[plain] = times[plain]
        x, _, context = self.objective.noised(latent, moment, source)
        scales = [least + (most - least) * uniform() for _ in range(2)]
        told = Shortcut(step, *scales)
        with torch.no_grad():
            structure, timbre = self._codes(batch)
            conditions = self._conditions(structure, timbre, True, True)
            wanted = torch.empty_like(x)
            if count:
                wanted[plain] = self._guided(
                    x[plain],
                    moment[plain],
                    structure.part(plain),
                    timbre.part(plain),
                    context[plain],
                    [scale[plain] for scale in scales],
                )
            if count < size:
                wanted[jumps] = self._in_two(
                    average,
                    x[jumps],
                    moment[jumps],
                    conditions.part(jumps),
                    context[jumps],
                    told.part(jumps),
                )
        with self.objective.fast():
            estimate = self.student.denoiser(x, moment, conditions, context, told).float()
        error = velocity_loss(estimate, wanted, self.student.channel_weight, context) / size
        return {"velocity": error[plain].sum(), "shortcut": error[jumps].sum()}

    def _codes(self, batch: Batch) -> tuple[Structure, Timbre]:
        """Of the batch, by the encoders."""
        with self.objective.fast():
            return self.objective.encode_structure(batch), self.objective.encode_timbre(batch)

    def _conditions(
        self, structure: Structure, timbre: Timbre, with_structure: bool, with_timbre: bool
    ) -> Conditions:
        """Of one branch for all items."""
        shape = (len(timbre),)
        keep = [
            torch.full(shape, present, device=self.device)
            for present in (with_structure, with_timbre)
        ]
        return self.teacher.condition(structure, timbre, *keep)

    def _guided(
        self,
        x: Tensor,
        moment: Tensor,
        structure: Structure,
        timbre: Timbre,
        context: Tensor,
        scales: list[Tensor],
    ) -> Tensor:
        """The teacher's velocity under guidance."""
        branches = []
        for present in ((False, False), (True, False), (True, True)):
            conditions = self._conditions(structure, timbre, *present)
            with self.objective.fast():
                branches.append(self.teacher.denoiser(x, moment, conditions, context).float())
        return nested(torch.stack(branches), *scales)

    def _in_two(
        self,
        average: dict[str, Tensor],
        x: Tensor,
        moment: Tensor,
        conditions: Conditions,
        context: Tensor,
        told: Shortcut,
    ) -> Tensor:
        """Mean velocity over a step that the student's average takes in two."""
        half = told.size / 2
        # the smallest half step is small enough for the velocity itself
        smallest = 0.5**self.distillation.halvings
        smaller = replace(told, size=torch.where(told.size > smallest, half, 0.0))

        def answer(x: Tensor, moment: Tensor) -> Tensor:
            arguments = (x, moment, conditions, context, smaller)
            with self.objective.fast():
                out: Tensor = functional_call(self.student.denoiser, average, arguments)
            return out.float()

        first = answer(x, moment)
        middle = torch.where(context > 0, x, x - half[:, None, None] * first)
        return (first + answer(middle, moment - half)) / 2


def distil(
    store: Store,
    codec: Codec,
    folder: Path,
    teacher: Network,
    training: ModelTraining,
    distillation: Distillation,
    budget: Budget,
    device: torch.device,
    on_step: Callable[[int, float], None] | None = None,
) -> Network:
    """Make a few-step model of a trained one; resumes the run in `folder` if there is one.

    Args:
        store: renditions with latents of `codec` attached.
        codec: of the teacher.
        folder: of the run.
        teacher: trained on the flow.
        training: batch, learning rate, precision.
        distillation: what students learn.
        budget: steps or minutes.
        device: where to compute.
        on_step: called after each step with the step and the share of the budget used.

    Returns:
        The student with its averaged denoiser, also saved in `folder/model`.

    Raises:
        TrainingError: the teacher cannot be distilled, a batch is of one item, or the loss is
            not finite (the last good checkpoint is kept, the batch saved).
        ModelError: the teacher knows another codec's latents.
        DataError: a store without latents of this codec, or without pairs.
    """
    check_codec(teacher, codec)
    store.check("latents", codec.latent_id)
    if training.batch < 2:
        raise TrainingError(
            "a batch has items that learn steps and items that learn velocities: at least 2"
        )
    torch.manual_seed(training.seed)
    student = student_of(teacher, distillation.halvings).to(device)
    teacher = teacher.to(device).eval().requires_grad_(False)
    denoiser = student.denoiser.requires_grad_(True)
    pairs = pairs_of(store, codec, student.config, training)
    lesson = Lesson(teacher, student, training, distillation, device)
    settings = {
        "kind": "distillation",
        "teacher": digest_of(teacher),
        "model": asdict(student.config),
        "training": asdict(training),
        "distillation": asdict(distillation),
    }
    with Run(folder, settings) as run:
        state = run.latest()
        if state is not None:
            restore(denoiser, state["denoiser"], folder)
        optimiser = Optimiser(denoiser, "adamw", weight_decay=0.0)
        descent = Descent(denoiser, optimiser, training.peak_rate, 0.998)
        course = Course(run, budget, state)
        if state is not None:
            descent.load_state_dict(state)

        def save() -> None:
            weights = {"denoiser": denoiser.state_dict()}
            run.save(course.step, {**weights, **descent.state_dict(), **course.state_dict()})
            if run.ranks.first:
                save_network(averaged(student, descent.ema), folder / "model")

        # ---- the loop -------------------------------------------------------------------
        draws = Draws(pairs, training.batch, run.ranks.rank, 5)
        upcoming = draws.since(course.step, workers_for(device), pinned=device.type == "cuda")
        while course.goes_on():
            # draw
            draw = next(upcoming)
            # forward
            batch = draw.batch(device, ())
            values = lesson.losses(batch, draw.source(device), descent.ema.shadow)
            loss = values["velocity"] + values["shortcut"]
            check_finite(run, course.step, draw, {"loss": loss}, "loss")
            # step
            loss.backward()
            values["gradient"] = descent.move(course)
            check_finite(run, course.step, draw, values, "gradient")
            course.advance()
            # log, checkpoint
            run.gather(values)
            if course.step % 50 == 0 or course.progress >= 1:
                run.log_gathered(course.step, 3, course.seconds, course.progress)
            if on_step is not None:
                on_step(course.step, course.progress)
            if run.due():
                save()
        save()
        return averaged(student, descent.ema)


def digest_of(network: Network) -> str:
    """Names the weights of a network, as they are saved."""
    digest = hashlib.sha256()
    for tensor in network.state_dict().values():
        digest.update(tensor.detach().cpu().half().numpy().tobytes())
    return digest.hexdigest()[:16]


def averaged(student: Network, ema: Ema) -> Network:
    """A copy of the student with its averaged denoiser."""
    copy = Network(student.config).to(next(student.parameters()).device)
    copy.load_state_dict(student.state_dict())
    copy.denoiser.load_state_dict(ema.shadow)
    return copy.eval()
