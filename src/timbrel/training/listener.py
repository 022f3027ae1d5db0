"""Training of the listener: it hears renders, and the notes are known exactly."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.signal import sosfilt
from torch import Tensor

from timbrel.conditions.listener import Listener, ListenerConfig, listener_loss
from timbrel.data.store import Store
from timbrel.errors import DataError, TrainingError
from timbrel.roll import roll
from timbrel.serialize import save_listener
from timbrel.training.course import Course, Descent
from timbrel.training.optimiser import Optimiser
from timbrel.training.run import Budget, Run, generator


@dataclass(frozen=True)
class ListenerTraining:
    """How to train a listener."""

    batch: int = 8  # excerpts per step and process
    frames: int = 96  # latent frames of an excerpt
    peak_rate: float = 2e-3  # learning rate after warm-up
    seed: int = 0
    mixture: float = 0.3  # share of excerpts that are two renditions added
    noise: float = 0.3  # share with a noise floor
    precision: str = "fp32"  # of convolutions and products: "fp32" or "bf16"


class Passages:
    """Audio with its roll, a pure function of (seed, step, rank).

    Args:
        store: pitched renditions (drums are left out).
        hop: samples per latent frame.
        training: excerpt length and augmentation.
    """

    def __init__(self, store: Store, hop: int, training: ListenerTraining) -> None:
        self.store, self.hop, self.training = store, hop, training
        self.samples = training.frames * hop
        self.items = [
            i for i, item in enumerate(store.items) if not item.drums and item.length > self.samples
        ]
        if not self.items:
            raise DataError(f"{store.path} holds no pitched item of {training.frames} frames")

    def batch(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Audio (batch, samples) and rolls (batch, 3, 128, frames)."""
        rows = [self._excerpt(rng) for _ in range(self.training.batch)]
        audio, rolls = zip(*rows, strict=True)
        return torch.from_numpy(np.stack(audio)), torch.from_numpy(np.stack(rolls))

    def _excerpt(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        audio, rolled = self._rendition(rng)
        if rng.random() < self.training.mixture:
            other, other_roll = self._rendition(rng)
            audio, rolled = audio + other, np.maximum(rolled, other_roll)
        if rng.random() < 0.5:
            audio = self._tilt(audio, rng)
        if rng.random() < self.training.noise:
            level = np.abs(audio).mean() * 10 ** (rng.uniform(-40, -15) / 20)
            audio = audio + level * rng.standard_normal(len(audio))
        gain = 10 ** (rng.uniform(-12, 6) / 20)
        return (audio * gain).astype(np.float32), rolled

    def _rendition(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        index = int(rng.choice(self.items))
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


def train_listener(
    store: Store,
    folder: Path,
    rate: int,
    hop: int,
    config: ListenerConfig,
    training: ListenerTraining,
    budget: Budget,
    device: torch.device,
    on_step: Callable[[int, float], None] | None = None,
) -> Listener:
    """Train a listener; resumes the run in `folder` if there is one.

    Returns:
        The listener with its averaged weights, also saved in `folder/listener`.

    Raises:
        TrainingError: the loss is not finite (the last good checkpoint is kept).
    """
    torch.manual_seed(training.seed)
    listener = Listener(rate, hop, config).to(device)
    passages = Passages(store, hop, training)
    low = training.precision == "bf16"
    settings = {"kind": "listener", "listener": asdict(config), "training": asdict(training)}
    with Run(folder, settings) as run:
        state = run.latest()
        if state is not None:
            listener.load_state_dict(state["listener"])
        optimiser = Optimiser(listener, "adamw", betas=(0.9, 0.999))  # it has hardly a matrix
        descent = Descent(listener, optimiser, training.peak_rate, 0.998)
        course = Course(run, budget, state)
        if state is not None:
            descent.load_state_dict(state)

        def save() -> None:
            weights = {"listener": listener.state_dict()}
            run.save(course.step, {**weights, **descent.state_dict(), **course.state_dict()})

        while course.goes_on():
            step = course.step
            rng = generator(training.seed, step, run.ranks.rank, purpose=4)
            audio, rolls = (part.to(device) for part in passages.batch(rng))
            spectra = listener.features(audio)
            with torch.autocast(device.type, torch.bfloat16, enabled=low):
                logits = listener(spectra)
            loss = listener_loss(logits.float(), rolls)
            if not torch.isfinite(loss):
                raise TrainingError(f"the listener's loss is not finite at step {step}")
            loss.backward()
            if not torch.isfinite(descent.move(course)):
                raise TrainingError(f"the listener's gradient is not finite at step {step}")
            course.advance()
            run.gather({"loss": loss})
            if course.step % 50 == 0 or course.progress >= 1:
                run.log_gathered(course.step, 1, course.seconds, course.progress)
            if on_step is not None:
                on_step(course.step, course.progress)
            if run.due():
                save()
        save()
        result = Listener(rate, hop, config).to(device)
        result.load_state_dict(descent.ema.shadow)
        if run.ranks.first:
            save_listener(result, config, rate, hop, folder / "listener")
        return result.eval()
