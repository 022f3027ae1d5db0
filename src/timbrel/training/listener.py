"""Training of the listener: it hears renders, and notes and strokes are known exactly."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy.signal import sosfilt
from torch import Tensor

from timbrel.conditions.drums import drum_loss
from timbrel.conditions.listener import ADDED, Listener, ListenerConfig, listener_loss
from timbrel.data.batch import Entries
from timbrel.data.store import Store
from timbrel.errors import DataError, InputError, TrainingError
from timbrel.roll import roll
from timbrel.serialize import save_listener
from timbrel.training.course import Course, Descent
from timbrel.training.draws import Numbered, workers_for
from timbrel.training.optimiser import Optimiser
from timbrel.training.run import Budget, Run, generator, restore


@dataclass(frozen=True)
class ListenerTraining:
    """How to train a listener."""

    batch: int = 8  # excerpts per step and process
    frames: int = 128  # latent frames of an excerpt
    peak_rate: float = 2e-3  # learning rate after warm-up
    seed: int = 0
    mixture: float = 0.3  # share of excerpts that are two renditions added
    noise: float = 0.3  # share with a noise floor
    beside: float = 0.2  # share of pitched excerpts beside which drums play, which are no notes
    precision: str = "fp32"  # of convolutions and products: "fp32" or "bf16"
    only: str = ""  # "notes" or "drums": that part alone learns; "": both

    def __post_init__(self) -> None:
        known = {"precision": ("fp32", "bf16"), "only": ("", "notes", "drums")}
        for name, choices in known.items():
            if getattr(self, name) not in choices:
                raise InputError(f"{name} is '{getattr(self, name)}'; it can be one of {choices}")


class Passages:
    """Excerpts of audio, augmented, with the rolls of what they play.

    Args:
        store: renditions.
        hop: samples per latent frame.
        training: excerpt length and augmentation.
        drums: whether those of drums are drawn, or those of pitched instruments.

    Raises:
        DataError: there are none.
    """

    def __init__(
        self, store: Store, hop: int, training: ListenerTraining, drums: bool = False
    ) -> None:
        self.store, self.hop, self.training = store, hop, training
        self.samples = training.frames * hop
        self.items, others = self._of(drums), self._of(not drums)
        self.beside = others[:0] if drums else others
        if not len(self.items):
            kind = "item of drums" if drums else "pitched item"
            raise DataError(f"{store.path} holds no {kind} of {training.frames} frames")

    def _of(self, drums: bool) -> np.ndarray:
        """The items of drums, or of pitched instruments, that are long enough."""
        items = enumerate(self.store.items)
        return np.array([i for i, x in items if x.drums == drums and x.length >= self.samples], int)

    def batch(self, rng: np.random.Generator) -> tuple[Tensor, Entries]:
        """Audio (batch, samples) and rolls (batch, 3, 128, frames)."""
        rows = [self._excerpt(rng) for _ in range(self.training.batch)]
        audio, rolls = zip(*rows, strict=True)
        return torch.from_numpy(np.stack(audio)), Entries.of(rolls)

    def _excerpt(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        audio, rolled = self._rendition(self.items, rng)
        if rng.random() < self.training.mixture:
            other, other_roll = self._rendition(self.items, rng)
            audio, rolled = audio + other, np.maximum(rolled, other_roll)
        if len(self.beside) and rng.random() < self.training.beside:
            drums, _ = self._rendition(self.beside, rng)
            audio = audio + 10 ** (rng.uniform(-12, 6) / 20) * drums
        if rng.random() < 0.5:
            audio = self._tilt(audio, rng)
        if rng.random() < self.training.noise:
            level = np.abs(audio).mean() * 10 ** (rng.uniform(-40, -15) / 20)
            audio = audio + level * rng.standard_normal(len(audio))
        gain = 10 ** (rng.uniform(-12, 6) / 20)
        return (audio * gain).astype(np.float32), rolled

    def _rendition(
        self, items: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        index = int(rng.choice(items))
        item = self.store.items[index]
        rate = item.rate / self.hop
        frame = int(rng.integers((item.length - self.samples) // self.hop + 1))
        audio = self.store.audio(index, frame * self.hop, self.samples)
        return audio, roll(self.store.notes(index), rate, self.training.frames, frame / rate)

    @staticmethod
    def _tilt(audio: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A random first-order shelf: another microphone."""
        pole = rng.uniform(0.2, 0.9)
        amount = rng.uniform(-0.6, 2.0)
        low = sosfilt(np.array([[1 - pole, 0, 0, 1, -pole, 0]]), audio)
        tilted: np.ndarray = audio + amount * low
        return tilted


class Lesson(NamedTuple):
    """What a step of a listener is made of.

    Attributes:
        audio: (batch, samples), pitched instruments.
        rolls: (batch, 3, 128, frames), what they play.
        struck: (batch, samples), drums; None where they are not to be learned.
        strokes: their rolls.
        louder: (batch, 1), how much louder instruments are where both are heard together.
    """

    audio: Tensor
    rolls: Entries
    struck: Tensor | None = None
    strokes: Entries | None = None
    louder: Tensor | None = None


class Lessons(Numbered[Lesson]):
    """What the steps of a listener are made of: a pure function of (seed, number, rank).

    Args:
        pitched: excerpts of instruments.
        kits: of drums, where they are to be learned.
        rank: of the process that trains on them.
    """

    def __init__(self, pitched: Passages, kits: Passages | None, rank: int) -> None:
        self.pitched, self.kits, self.rank = pitched, kits, rank

    def draw(self, number: int) -> Lesson:
        """See `Numbered`."""
        rng = generator(self.pitched.training.seed, number, self.rank, purpose=4)
        audio, rolls = self.pitched.batch(rng)
        if self.kits is None:
            return Lesson(audio, rolls)
        struck, strokes = self.kits.batch(rng)
        louder = 10 ** (rng.uniform(-6, 6, (len(audio), 1)) / 20)
        return Lesson(audio, rolls, struck, strokes, torch.from_numpy(louder.astype(np.float32)))


def lesson_loss(
    listener: Listener, lesson: Lesson, training: ListenerTraining, device: torch.device
) -> Tensor:
    """How wrong a listener is of a lesson's instruments, its drums, and both together."""
    low = training.precision == "bf16"
    audio, rolls = lesson.audio.to(device, non_blocking=True), lesson.rolls.to(device)
    loss = torch.zeros((), device=device)
    if training.only != "drums":
        spectra = listener.features(audio)
        with torch.autocast(device.type, torch.bfloat16, enabled=low):
            logits = listener(spectra)
        loss = loss + listener_loss(logits.float(), rolls)
    if lesson.struck is None or lesson.strokes is None or lesson.louder is None:
        return loss
    assert listener.drums is not None
    struck, strokes = lesson.struck.to(device), lesson.strokes.to(device)
    # a melody with drums is no kit: it is heard as its notes
    mixed = lesson.louder.to(device) * audio + struck
    features = listener.drums.features(torch.cat([audio, struck, mixed]))
    with torch.autocast(device.type, torch.bfloat16, enabled=low):
        heard, kit = listener.drums(features)
    drums = torch.arange(len(heard), device=device) // len(audio) == 1
    written = torch.cat([rolls, strokes, strokes])
    return loss + drum_loss(heard.float(), kit.float(), written, drums)


def unlearnable(run: Run, name: str, step: int) -> TrainingError:
    """What to say of a number that is not finite; what led to it is drawn again from the seed."""
    return TrainingError(
        f"the listener's {name} is not finite at step {step}; {run.kept()}; lower the learning "
        "rate or look for damaged audio"
    )


def begin_from(listener: Listener, other: Listener) -> None:
    """Take over weights; what is only added to them (`ADDED`) may be new.

    Raises:
        TrainingError: a listener of another size.
    """
    weights = other.state_dict()
    known = listener.state_dict()
    unlike = [n for n, w in weights.items() if n not in known or known[n].shape != w.shape]
    new = [name for name in known if name not in weights and not name.startswith(ADDED)]
    if unlike or new:
        raise TrainingError(
            f"the listener to start from is of another size ({(unlike + new)[0]}); leave out --from"
        )
    listener.load_state_dict(weights, strict=False)


def train_listener(
    store: Store,
    folder: Path,
    config: ListenerConfig,
    training: ListenerTraining,
    budget: Budget,
    device: torch.device,
    on_step: Callable[[int, float], None] | None = None,
    start_from: Listener | None = None,
    workers: int | None = None,
) -> Listener:
    """Train a listener; resumes the run in `folder` if there is one.

    Args:
        store: renditions of pitched instruments, and of drums if the listener is to hear these.
        folder: of the run.
        config: sizes.
        training: hyper-parameters.
        budget: steps or minutes.
        device: where to compute.
        on_step: called after each step with the step and the share of the budget used.
        start_from: weights to start a new run from; it may lack the parts in `ADDED`.
        workers: processes that draw excerpts ahead; None: as fits the device.

    Returns:
        The listener with its averaged weights, also saved in `folder/listener`.

    Raises:
        TrainingError: the loss is not finite (the last good checkpoint is kept), weights of
            another size, or none where a part is to learn alone.
        DataError: nothing to hear in the store.
    """
    torch.manual_seed(training.seed)
    listener = Listener(config).to(device)
    if training.only == "drums" and listener.drums is None:
        raise DataError(f"{store.path} holds no drums, so there is nothing to learn of them")
    pitched, kits = Passages(store, config.hop, training), None
    if listener.drums is not None and training.only != "notes":
        kits = Passages(store, config.hop, training, drums=True)
    settings = {"kind": "listener", "listener": asdict(config), "training": asdict(training)}
    with Run(folder, settings) as run:
        state = run.latest()
        if state is not None:
            restore(listener, state["listener"], folder)
        elif start_from is not None:
            begin_from(listener, start_from)
        elif training.only and listener.drums is not None:
            raise TrainingError(
                f"{training.only} alone are to be learned, and nothing is there for the rest, "
                "which would stay as it was drawn; give --from"
            )
        if training.only:
            for name, weight in listener.named_parameters():
                weight.requires_grad_(name.startswith("drums.") == (training.only == "drums"))
        optimiser = Optimiser(listener, "adamw", betas=(0.9, 0.999))  # it has hardly a matrix
        descent = Descent(listener, optimiser, training.peak_rate, 0.998)
        course = Course(run, budget, state)
        if state is not None:
            descent.load_state_dict(state)
        upcoming = Lessons(pitched, kits, run.ranks.rank).since(
            course.step,
            workers_for(device) if workers is None else workers,
            pinned=device.type == "cuda",
        )

        def save() -> None:
            weights = {"listener": listener.state_dict()}
            run.save(course.step, {**weights, **descent.state_dict(), **course.state_dict()})

        while course.goes_on():
            step = course.step
            loss = lesson_loss(listener, next(upcoming), training, device)
            if not torch.isfinite(loss):
                raise unlearnable(run, "loss", step)
            loss.backward()
            if not torch.isfinite(descent.move(course)):
                raise unlearnable(run, "gradient", step)
            course.advance()
            run.gather({"loss": loss})
            if course.step % 50 == 0 or course.progress >= 1:
                run.log_gathered(course.step, 1, course.seconds, course.progress)
            if on_step is not None:
                on_step(course.step, course.progress)
            if run.due():
                save()
        save()
        result = Listener(config).to(device)
        result.load_state_dict(descent.ema.shadow)
        if run.ranks.first:
            save_listener(result, folder / "listener")
        return result.eval()
