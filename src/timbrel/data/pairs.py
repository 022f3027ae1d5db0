"""Training items: a target, its notes, and a timbre example that plays something else.

The example shares the target's instrument and room but not its notes, so copying notes from
the example can only hurt the loss. Of renders it is another score, tempo and register (paired
renders, docs/design); of recordings another passage of the same identity, and passages never
overlap. Items whose notes are not known are examples, never targets.
"""

from dataclasses import dataclass

import numpy as np

from timbrel.data.store import Store
from timbrel.errors import DataError
from timbrel.roll import roll

# Frames before the target whose notes are read too: they may still ring.
WARMUP = 40


@dataclass(frozen=True)
class Batch:
    """One step's items, as arrays."""

    latent: np.ndarray  # (batch, channels, frames) float32: what is to be made
    roll: np.ndarray  # (batch, 3, 128, WARMUP + frames) float32: its notes, with a run-in
    drums: np.ndarray  # (batch,) bool
    example: np.ndarray  # (batch, channels, example_frames): the same timbre, other notes
    identity: np.ndarray  # (batch,) int64: timbre number
    source_audio: np.ndarray | None  # (batch, samples): the target's score by another timbre


@dataclass(frozen=True)
class Corruption:
    """Faults put into the notes of a share of the items, so that bad MIDI does no harm."""

    share: float = 0.25  # of the items
    jitter_seconds: float = 0.015  # standard deviation of onset errors
    drop: float = 0.05  # notes left out
    extra: float = 0.03  # notes added
    velocity: float = 0.2  # of the corrupted items, those with random velocities


class Pairs:
    """Batches from a store, a pure function of (seed, step, rank).

    Args:
        store: renditions or recordings with latents attached.
        frame_rate: latent frames per second.
        frames: length of a target.
        example_frames: length of a timbre example.
        seed: of all draws.
        corruption: of the notes.
        with_source: whether the audio of another rendition is needed (structure from audio).

    Raises:
        DataError: no timbre of the store plays two scores, one of them with notes.
    """

    def __init__(
        self,
        store: Store,
        frame_rate: float,
        frames: int,
        example_frames: int,
        seed: int,
        corruption: Corruption,
        with_source: bool = False,
    ) -> None:
        self.store, self.frame_rate, self.seed = store, frame_rate, seed
        self.frames, self.example_frames = frames, example_frames
        self.corruption, self.with_source = corruption, with_source
        self.targets = {
            identity: [i for i in items if store.items[i].notes != "none"]
            for identity, items in sorted(store.by_identity.items())
            if len(items) > 1
        }
        self.identities = [identity for identity, targets in self.targets.items() if targets]
        if self.targets and not self.identities:
            raise DataError(
                f"no timbre in {store.path} that is heard twice has notes; "
                "prepare it with --transcribe"
            )
        if not self.identities:
            raise DataError(
                f"no timbre in {store.path} plays two different scores, so there is no timbre "
                "example for any target; render or prepare more items per timbre"
            )

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        """Draw `size` items."""
        rows = [self._item(rng) for _ in range(size)]
        latent, notes, drums, example, identity, source = zip(*rows, strict=True)
        return Batch(
            latent=np.stack(latent),
            roll=np.stack(notes),
            drums=np.array(drums),
            example=np.stack(example),
            identity=np.array(identity),
            source_audio=np.stack(source) if self.with_source else None,
        )

    def _item(
        self, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, bool, np.ndarray, int, np.ndarray | None]:
        number = int(rng.integers(len(self.identities)))
        identity = self.identities[number]
        target = int(rng.choice(self.targets[identity]))
        example = int(rng.choice([i for i in self.store.by_identity[identity] if i != target]))
        latent, start = self._excerpt(target, self.frames, rng)
        other, _ = self._excerpt(example, self.example_frames, rng)
        notes = self.store.notes(target)
        if rng.random() < self.corruption.share:
            notes = notes.corrupt(
                rng,
                jitter_seconds=self.corruption.jitter_seconds,
                drop=self.corruption.drop,
                extra=self.corruption.extra,
                velocity="random" if rng.random() < self.corruption.velocity else "keep",
            )
        begin = (start - WARMUP) / self.frame_rate
        rolled = roll(notes, self.frame_rate, WARMUP + self.frames, begin)
        source = self._source(target, start, rng) if self.with_source else None
        return latent, rolled, bool(self.store.items[target].drums), other, number, source

    def _excerpt(self, index: int, frames: int, rng: np.random.Generator) -> tuple[np.ndarray, int]:
        """(channels, frames) latents from a random start; short items are refused.

        Silence after the end of a recording is entered only as far as it must be.
        """
        latents = self.store.array("latents", index)
        if len(latents) < frames:
            raise DataError(f"item {index} of {self.store.path} is shorter than a training window")
        item = self.store.items[index]
        heard = len(latents) - int(item.silence / item.rate * self.frame_rate)
        start = int(rng.integers(max(heard - frames, 0) + 1))
        return latents[start : start + frames].T.astype(np.float32), start

    def _source(self, target: int, start: int, rng: np.random.Generator) -> np.ndarray:
        """Audio of the same passage by another timbre, or the target's own if there is none."""
        item = self.store.items[target]
        others = [
            i
            for i in self.store.by_score[item.score]
            if self.store.items[i].identity != item.identity
        ]
        index = int(rng.choice(others)) if others else target
        hop = round(item.rate / self.frame_rate)
        return self.store.audio(index, start * hop, self.frames * hop)
