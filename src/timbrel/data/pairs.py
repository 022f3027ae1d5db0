"""Training items: a target, its notes, and a timbre example that plays something else.

The example shares the target's instrument and room but not its notes, so copying notes from
the example can only hurt the loss. Of renders it is another score, tempo and register (paired
renders, docs/design); of recordings another passage of the same identity, or, where there is
one passage only, another part of it. An item whose notes are not known is only an example,
unless structure comes from audio.
"""

from dataclasses import dataclass

import numpy as np

from timbrel.data.store import Item, Store
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
            identity: targets
            for identity, items in sorted(store.by_identity.items())
            if (targets := self._targets(items))
        }
        self.identities = list(self.targets)
        if not self.identities:
            if not with_source and all(item.notes == "none" for item in store.items):
                raise DataError(f"{store.path} has no notes; prepare it with --transcribe")
            raise DataError(
                f"no timbre in {store.path} plays two different scores, so there is no timbre "
                "example for any target; render or prepare more items per timbre"
            )

    def _targets(self, items: list[int]) -> list[int]:
        """Those items of one identity that can be targets."""
        known = [i for i in items if self.with_source or self.store.items[i].notes != "none"]
        if len(items) > 1:
            return known
        whole = self.store.items[items[0]].recording != ""
        return known if whole and self._slack(items[0]) >= 0 else []

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
        items, targets = self.store.by_identity[identity], self.targets[identity]
        target = targets[int(rng.integers(len(targets)))]
        if len(items) > 1:
            example = items[int(rng.integers(len(items) - 1))]
            example = items[-1] if example == target else example
            start = self._start(target, self.frames, rng)
            elsewhere = self._start(example, self.example_frames, rng)
        else:
            example = target
            start, elsewhere = self._apart(target, rng)
        latent = self._latent(target, start, self.frames)
        other = self._latent(example, elsewhere, self.example_frames)
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

    def _heard(self, index: int) -> int:
        """Frames of an item before the silence that follows the end of a recording."""
        item = self.store.items[index]
        return (item.length - item.silence) // self._hop(item)

    def _hop(self, item: Item) -> int:
        """Samples per frame."""
        return round(item.rate / self.frame_rate)

    def _slack(self, index: int) -> int:
        """Frames that a target and an example within one item leave over."""
        return self._heard(index) - self.frames - self.example_frames

    def _start(self, index: int, frames: int, rng: np.random.Generator) -> int:
        """A random start; silence is entered only as far as it must be."""
        return int(rng.integers(max(self._heard(index) - frames, 0) + 1))

    def _apart(self, index: int, rng: np.random.Generator) -> tuple[int, int]:
        """Starts of a target and an example that do not overlap, in random order."""
        early, late = sorted(int(k) for k in rng.integers(self._slack(index) + 1, size=2))
        if rng.random() < 0.5:
            return early, late + self.frames
        return late + self.example_frames, early

    def _latent(self, index: int, start: int, frames: int) -> np.ndarray:
        """(channels, frames) float32."""
        latents = self.store.array("latents", index)
        if len(latents) < start + frames:
            raise DataError(f"item {index} of {self.store.path} is shorter than a training window")
        return latents[start : start + frames].T.astype(np.float32)

    def _source(self, target: int, start: int, rng: np.random.Generator) -> np.ndarray:
        """Audio of the same passage by another timbre, or the target's own if there is none."""
        item = self.store.items[target]
        others = [
            i
            for i in self.store.by_score[item.score]
            if self.store.items[i].identity != item.identity
        ]
        index = int(rng.choice(others)) if others else target
        hop = self._hop(item)
        return self.store.audio(index, start * hop, self.frames * hop)
