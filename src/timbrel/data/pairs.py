"""Training items: a target, its notes, and a timbre example that plays something else.

The example shares the target's instrument and room but not its notes, so copying notes from
the example can only hurt the loss. Of renders it is another score, tempo and register (paired
renders); of recordings another passage of the same identity. Structure from audio, or from
notes that were heard, is taken from another rendition of the target's score, so copying its
timbre can only hurt too.

Where there is no second passage or no second rendition, and in the share `same_clip`, the
item itself serves, as in the paper: example and target are parts of it that do not overlap,
structure is heard in the target. `Pairs.report` counts such items. An item whose notes are
not known is only an example, unless structure comes from audio.
"""

from dataclasses import dataclass

import numpy as np
import torch

from timbrel.data.batch import WARMUP, Batch, Drawn, Entries
from timbrel.data.store import Item, Store
from timbrel.errors import DataError
from timbrel.notes import Notes
from timbrel.roll import roll

# Share of examples whose notes are kept from the encoder.
UNKNOWN_NOTES = 0.1


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
        same_clip: share of the draws whose target, structure and example come from one item, as in
            the paper.
        overlap: within one item, whether the example may overlap the target.
        spectra: whether sources are the store's spectra (`timbrel prepare spectra`), not audio.
        heard: share of the items whose notes are those that a listener heard in another
            rendition (`timbrel prepare heard`).

    Raises:
        DataError: no item can be a target with an example.
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
        same_clip: float = 0.0,
        overlap: bool = False,
        heard: float = 0.0,
        spectra: bool = False,
    ) -> None:
        self.store, self.frame_rate, self.seed = store, frame_rate, seed
        self.frames, self.example_frames = frames, example_frames
        self.corruption, self.with_source, self.heard = corruption, with_source, heard
        self.same_clip, self.overlap, self.spectra = same_clip, overlap, spectra
        least = max(frames, example_frames)
        self.passages = {
            identity: [i for i in items if self._length(i) >= least]
            for identity, items in sorted(store.by_identity.items())
        }
        self.targets = {
            identity: targets
            for identity, items in self.passages.items()
            if (targets := self._targets(items))
        }
        self.identities = list(self.targets)
        if not self.identities:
            raise DataError(self._no_target())

    def _no_target(self) -> str:
        if not any(self.passages.values()):
            seconds = max(self.frames, self.example_frames) / self.frame_rate
            return f"every item of {self.store.path} is shorter than a window of {seconds:.1f} s"
        if not self.with_source and all(item.notes == "none" for item in self.store.items):
            return f"{self.store.path} has no notes; prepare it with --transcribe"
        return (
            f"no timbre in {self.store.path} plays two different scores, and no item is long "
            "enough to hold a target and an example, so there is no timbre example for any "
            "target; render or prepare more, or longer, items per timbre"
        )

    def _targets(self, items: list[int]) -> list[int]:
        """Those items of one identity that can be targets."""
        known = [i for i in items if self._known(i)]
        if self.same_clip == 1 or len(items) == 1:
            return [i for i in known if self.overlap or self._slack(i) >= 0]
        return known

    def _known(self, index: int) -> bool:
        """Whether it is known what an item plays, or structure comes from its sound."""
        return self.with_source or self.store.items[index].notes != "none"

    def report(self) -> list[str]:
        """What the store lacks, one sentence each; empty if every item is paired."""
        total = len(self.store)
        short = total - sum(map(len, self.passages.values()))
        targets = [i for chosen in self.targets.values() for i in chosen]
        found = []
        if short:
            found.append(f"{short} of {total} items are shorter than a window and left out")
        found += self._no_targets(set(targets))
        faint = sum(self._sounding(i) < self.frames for i in targets)
        if faint:
            found.append(
                f"{faint} of {len(targets)} targets sound for less than a window of "
                f"{self.frames / self.frame_rate:.1f} s: silence follows them"
            )
        if len(self.identities) == 1:
            found.append(
                "all targets are of one timbre, so nothing is learned of telling timbres apart"
            )
        if self.with_source and not self.spectra:
            found.append(
                "structure's spectra are computed anew for every item drawn: run `timbrel prepare "
                "spectra` on each store, once, with the --codec of its latents, and training is "
                "much faster"
            )
        if self.same_clip == 1:
            return found
        alone = sum(len(t) for identity, t in self.targets.items() if self._alone(identity))
        if alone:
            found.append(
                f"{alone} of {len(targets)} targets have no second passage of their timbre: "
                "their example is another part of the same item, as in the paper"
            )
        if self.with_source or self.heard:
            single = sum(not self._renditions(i) for i in targets)
            if single:
                found.append(
                    f"{single} of {len(targets)} targets have no second rendition: their "
                    "structure is heard in the target itself, as in the paper"
                )
        return found

    def _no_targets(self, targets: set[int]) -> list[str]:
        """Which items are long enough, but no targets, and why: a sentence for each reason."""
        total, found = len(self.store), []
        others = {i for items in self.passages.values() for i in items} - targets
        silent = sum(not self._known(i) for i in others)
        if silent:
            found.append(
                f"{silent} of {total} items have no notes and are examples at most: prepare them "
                "with --transcribe"
            )
        if len(others) > silent:
            seconds = (self.frames + self.example_frames) / self.frame_rate
            alone = "" if self.same_clip == 1 else "alone of their timbre, and "
            found.append(
                f"{len(others) - silent} of {total} items are left out: {alone}without the "
                f"{seconds:.1f} s of sound that a target and an example beside it take"
            )
        return found

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        """Draw `size` items."""
        return self.draw(size, rng).to(torch.device("cpu"))

    def draw(self, size: int, rng: np.random.Generator) -> Drawn:
        """Draw `size` items, to be sent to where they are needed."""
        rows = [self._item(rng) for _ in range(size)]
        latent, notes, drums, example, heard, identity, source = zip(*rows, strict=True)
        audio = torch.from_numpy(np.stack(source)) if self.with_source else None
        return Drawn(
            latent=torch.from_numpy(np.stack(latent)),
            roll=Entries.of(notes),
            drums=torch.tensor(drums),
            example=torch.from_numpy(np.stack(example)),
            example_roll=Entries.of(heard),
            identity=torch.tensor(identity),
            source_audio=None if self.spectra else audio,
            source_spectrum=audio if self.spectra else None,
        )

    def _item(
        self, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, bool, np.ndarray, np.ndarray, int, np.ndarray | None]:
        number = int(rng.integers(len(self.identities)))
        identity = self.identities[number]
        items, targets = self.passages[identity], self.targets[identity]
        target = targets[int(rng.integers(len(targets)))]
        own = self._own(target, rng)
        if own or self._alone(identity):
            example = target
            start, elsewhere = self._apart(target, rng)
        else:
            example = items[int(rng.integers(len(items) - 1))]
            example = items[-1] if example == target else example
            start = self._start(target, self.frames, rng)
            elsewhere = self._start(example, self.example_frames, rng)
        latent = self._latent(target, start, self.frames)
        other = self._latent(example, elsewhere, self.example_frames)
        notes = self._notes(target, own, rng)
        begin = (start - WARMUP) / self.frame_rate
        rolled = roll(notes, self.frame_rate, WARMUP + self.frames, begin, ages=True)
        source = self._source(target, own, start, rng) if self.with_source else None
        drums = bool(self.store.items[target].drums)
        heard = self._heard_roll(example, elsewhere, rng)
        return latent, rolled, drums, other, heard, number, source

    def _heard_roll(self, example: int, start: int, rng: np.random.Generator) -> np.ndarray:
        """(3, 128, example_frames): notes of an example with as many faults as a listener makes."""
        item, faults = self.store.items[example], rng.random()
        if item.drums or item.notes == "none" or rng.random() < UNKNOWN_NOTES:
            return np.zeros((3, 128, self.example_frames), np.float32)
        notes = self.store.notes(example).corrupt(
            rng,
            jitter_seconds=0.03 * faults,
            drop=0.4 * faults,
            extra=0.3 * faults,
            octave=0.1 * faults,
            stretch=0.5 * faults,
        )
        return roll(notes, self.frame_rate, self.example_frames, start / self.frame_rate)

    def _alone(self, identity: str) -> bool:
        """Whether targets of a timbre find their example in themselves, as there is no other."""
        return len(self.passages[identity]) == 1

    def _own(self, target: int, rng: np.random.Generator) -> bool:
        """Whether a draw takes all from its target; one that is too short cannot."""
        if self.same_clip in (0, 1):
            return bool(self.same_clip)
        return rng.random() < self.same_clip and (self.overlap or self._slack(target) >= 0)

    def _notes(self, target: int, own: bool, rng: np.random.Generator) -> Notes:
        """As written, with faults, or as heard in another rendition."""
        if self.heard and rng.random() < self.heard and not self.store.items[target].drums:
            return heard_notes(self.store, self._another(target, own, rng))
        notes = self.store.notes(target)
        if rng.random() < self.corruption.share:
            notes = notes.corrupt(
                rng,
                jitter_seconds=self.corruption.jitter_seconds,
                drop=self.corruption.drop,
                extra=self.corruption.extra,
                velocity="random" if rng.random() < self.corruption.velocity else "keep",
            )
        return notes

    def _length(self, index: int) -> int:
        """Frames of an item."""
        item = self.store.items[index]
        return -(-item.length // self._hop(item))

    def _sounding(self, index: int) -> int:
        """Frames of an item before the silence that follows the end of a recording."""
        item = self.store.items[index]
        return (item.length - item.silence) // self._hop(item)

    def _hop(self, item: Item) -> int:
        """Samples per frame."""
        return round(item.rate / self.frame_rate)

    def _slack(self, index: int) -> int:
        """Frames that a target and an example within one item leave over."""
        return self._sounding(index) - self.frames - self.example_frames

    def _start(self, index: int, frames: int, rng: np.random.Generator) -> int:
        """A random start; silence is entered only as far as it must be."""
        return int(rng.integers(max(self._sounding(index) - frames, 0) + 1))

    def _apart(self, index: int, rng: np.random.Generator) -> tuple[int, int]:
        """Starts of a target and an example in one item, that overlap only if they may."""
        if self.overlap:
            return self._start(index, self.frames, rng), self._start(
                index, self.example_frames, rng
            )
        early, late = sorted(int(k) for k in rng.integers(self._slack(index) + 1, size=2))
        if rng.random() < 0.5:
            return early, late + self.frames
        return late + self.example_frames, early

    def _latent(self, index: int, start: int, frames: int) -> np.ndarray:
        """(channels, frames) float16."""
        latents = self.store.array("latents", index)
        if len(latents) < start + frames:
            raise DataError(f"the latents of item {index} of {self.store.path} are cut short")
        return np.asarray(latents[start : start + frames].T, np.float16)

    def _renditions(self, target: int) -> list[int]:
        """Items of the same score by other timbres."""
        item = self.store.items[target]
        return [
            i
            for i in self.store.by_score[item.score]
            if self.store.items[i].identity != item.identity
        ]

    def _another(self, target: int, own: bool, rng: np.random.Generator) -> int:
        """Another rendition of the target's score, or the target if there is none or `own`."""
        others = [] if own else self._renditions(target)
        return int(rng.choice(others)) if others else target

    def _source(self, target: int, own: bool, start: int, rng: np.random.Generator) -> np.ndarray:
        """The same passage by another timbre, or the target's own if there is none."""
        index = self._another(target, own, rng)
        if self.spectra:
            spectrum = self.store.array("spectra", index)[start : start + self.frames]
            return np.ascontiguousarray(spectrum.T, dtype=np.float32)
        hop = self._hop(self.store.items[target])
        return self.store.audio(index, start * hop, self.frames * hop)


def heard_notes(store: Store, index: int) -> Notes:
    """Notes that a listener heard in an item (`timbrel prepare heard`)."""
    rows = np.asarray(store.array("heard", index))
    return Notes.from_rows([(float(a), float(b), int(p), int(v)) for a, b, p, v in rows if v > 0])
