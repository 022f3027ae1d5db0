"""Training of the listener: it hears renders, and the notes are known exactly."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.signal import sosfilt
from torch import Tensor, nn

from timbrel.conditions.listener import Listener, ListenerConfig, listener_loss
from timbrel.data.store import Store
from timbrel.errors import DataError, TrainingError
from timbrel.roll import roll
from timbrel.serialize import save_listener
from timbrel.training.run import Budget, Ema, Run, generator, learning_rate


@dataclass(frozen=True)
class ListenerTraining:
    """How to train a listener."""

    batch: int = 8  # excerpts per step and process
    frames: int = 96  # latent frames of an excerpt
    peak_rate: float = 2e-3  # learning rate after warm-up
    seed: int = 0
    mixture: float = 0.3  # share of excerpts that are two renditions added
    noise: float = 0.3  # share with a noise floor


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
    settings = {"kind": "listener", "listener": asdict(config), "training": asdict(training)}
    with Run(folder, settings) as run:
        optimiser = torch.optim.AdamW(listener.parameters())
        step, seconds = 0, 0.0
        ema = Ema(listener, 0.998)
        state = run.latest()
        if state is not None:
            listener.load_state_dict(state["listener"])
            optimiser.load_state_dict(state["optimiser"])
            ema.shadow = {k: v.to(device) for k, v in state["ema"].items()}
            step, seconds = state["step"], state["seconds"]
        clock = time.monotonic()
        progress = run.ranks.shared(budget.progress(step, seconds))
        while progress < 1 and not run.ranks.agree(run.stopping):
            rng = generator(training.seed, step, run.ranks.rank, purpose=4)
            audio, rolls = (part.to(device) for part in passages.batch(rng))
            loss = listener_loss(listener(listener.features(audio)), rolls)
            if not torch.isfinite(loss):
                raise TrainingError(f"the listener's loss is not finite at step {step}")
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(step, progress, training.peak_rate)
            optimiser.zero_grad()
            loss.backward()
            run.ranks.average_gradients(listener)
            nn.utils.clip_grad_norm_(listener.parameters(), 1.0)
            optimiser.step()
            ema.update(listener, step)
            step += 1
            now = time.monotonic()
            seconds, clock = seconds + now - clock, now
            progress = run.ranks.shared(budget.progress(step, seconds))
            if step % 50 == 0:
                run.log(step, {"loss": float(loss.detach()), "progress": progress})
            if on_step is not None:
                on_step(step, progress)
            if run.due() or progress >= 1 or run.stopping:
                run.save(
                    step,
                    {
                        "listener": listener.state_dict(),
                        "ema": ema.shadow,
                        "optimiser": optimiser.state_dict(),
                        "step": step,
                        "seconds": seconds,
                    },
                )
        result = Listener(rate, hop, config).to(device)
        result.load_state_dict(ema.shadow)
        if run.ranks.first:
            save_listener(result, config, rate, hop, folder / "listener")
        return result.eval()
