"""Disentanglement of any network, measured on the passages of a store.

How well a linear probe finds the instrument in structure codes of audio, how much of the
pitch it finds in timbre codes, how far timbre codes spread, how far apart structure is when it
comes from notes and from audio, and whether noise still matters; if asked, also what an adversary
that is trained afresh finds of timbre in structure. Beside what is found in codes
stands what the same probe finds in the written notes alone, where register gives much away, in
the sound itself, which is what leaks if everything does, and in noise.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from timbrel.audio import Audio
from timbrel.conditions.listener import Listener, hear_notes
from timbrel.conditions.structure import RollEncoder, Structure
from timbrel.conditions.timbre import Timbre
from timbrel.data.batch import WARMUP
from timbrel.data.store import Store
from timbrel.diffusion.guidance import Guidance
from timbrel.generate.windows import Sampling, generate
from timbrel.network import Network
from timbrel.notes import Notes
from timbrel.roll import roll
from timbrel.training import disentanglement, fresh_adversary

TIMBRES = 40  # that the probe tells apart, at most
PASSAGES = 160  # of all; more of the same items cost much and tell little
CROPS = 12  # passages of each timbre, at most
NOISES, WIDTH = 20, 32  # codes of noise, and their numbers
BAND = 8  # pitches of one channel of notes, for an adversary; more channels teach it less
COMPARED = 96  # passages whose structures are compared, each with all others
LEAST_ITEMS = 4  # of a timbre; fewer cannot be cut into folds
SEEDS = 3  # noises for each of a few items
NOISY_ITEMS = 4
PIECES = 16  # passages encoded at once


@dataclass(frozen=True)
class Passage:
    """A crop of an item."""

    item: int
    start: int  # frame
    label: int  # number of the timbre


class ProbeSet:
    """Passages of pitched timbres, the same ones for the same store.

    Args:
        store: renditions or recordings with notes and latents.
        frame_rate: latent frames per second.
        frames: length of a passage.
    """

    def __init__(self, store: Store, frame_rate: float, frames: int) -> None:
        self.store, self.frame_rate, self.frames = store, frame_rate, frames
        self.passages: list[Passage] = []
        rng = np.random.default_rng(0)
        groups = {
            identity: found
            for identity, items in sorted(store.by_identity.items())
            if len(found := [i for i in items if self._usable(i)]) >= LEAST_ITEMS
        }
        names = sorted(groups)
        rng.shuffle(names)
        names = names[:TIMBRES]
        for label, name in enumerate(names):
            crops = range(min(CROPS, PASSAGES // len(names)))
            for item, _ in zip(itertools.cycle(groups[name]), crops, strict=False):
                start = int(rng.integers(self._frames(item) - frames + 1))
                self.passages.append(Passage(item, start, label))

    def _frames(self, index: int) -> int:
        item = self.store.items[index]
        return (item.length - item.silence) // round(item.rate / self.frame_rate)

    def _usable(self, index: int) -> bool:
        item = self.store.items[index]
        return not item.drums and item.notes != "none" and self._frames(index) >= self.frames

    @property
    def labels(self) -> int:
        """How many timbres there are to tell apart."""
        return len({p.label for p in self.passages})

    @cached_property
    def label(self) -> Tensor:
        """(passages,) number of the timbre."""
        return torch.tensor([p.label for p in self.passages])

    @cached_property
    def score(self) -> Tensor:
        """(passages,) number of the score."""
        return torch.tensor([self.store.items[p.item].score for p in self.passages])

    @cached_property
    def fold(self) -> Tensor:
        """(draws, passages) see `disentanglement.folds`."""
        return disentanglement.folds(self.score)

    @cached_property
    def notes_alone(self) -> Tensor:
        """(passages, 5) see `_summary`; the first is mean pitch."""
        return _summary(torch.stack([self.roll(p)[:, :, WARMUP:] for p in self.passages]))

    def instrument_in(self, codes: Tensor) -> float:
        """What a probe finds in codes (passages, dim)."""
        return disentanglement.identify(codes, self.label, self.fold)

    def pitch_in(self, codes: Tensor) -> float:
        """What a probe finds in codes (passages, dim) of those in which a note sounds."""
        some = self.notes_alone[:, 2] > 0
        pitch, fold = self.notes_alone[some, 0], self.fold[:, some]
        return disentanglement.explained(codes[some], pitch, self.label[some], fold)

    @cached_property
    def controls(self) -> dict[str, float]:
        """What the probes find where no code is; of noise, what 19 of 20 codes do not exceed."""
        sound, noises = pooled(self.sound), self.noises
        return {
            "chance/instrument": 1 / self.labels,
            "notes/instrument": self.instrument_in(self.notes_alone),
            "noise/instrument": float(np.quantile([self.instrument_in(x) for x in noises], 0.95)),
            "sound/instrument": self.instrument_in(sound),
            "noise/pitch": float(np.quantile([self.pitch_in(x) for x in noises], 0.95)),
            "sound/pitch": self.pitch_in(sound),
        }

    @property
    def sound(self) -> Tensor:
        """(passages, channels, frames)."""
        return torch.stack([self.latent(p) for p in self.passages])

    @property
    def noises(self) -> Tensor:
        """(NOISES, passages, WIDTH).

        One code an item, which says nothing of timbre or pitch, but tells more by accident than
        one a passage.
        """
        item = torch.tensor([p.item for p in self.passages]).unique(return_inverse=True)[1]
        random = torch.Generator().manual_seed(0)
        return torch.randn(NOISES, len(item), WIDTH, generator=random)[:, item]

    def latent(self, p: Passage) -> Tensor:
        """(channels, frames)."""
        latents = self.store.array("latents", p.item)[p.start : p.start + self.frames]
        return torch.from_numpy(latents.T.astype(np.float32))

    def audio(self, p: Passage) -> Tensor:
        """(samples,) of the passage, sound for sound."""
        hop = round(self.store.items[p.item].rate / self.frame_rate)
        return torch.from_numpy(self.store.audio(p.item, p.start * hop, self.frames * hop))

    def roll(self, p: Passage, notes: Notes | None = None) -> Tensor:
        """(3, 128, WARMUP + frames) of the written notes, or of others at their place."""
        begin = (p.start - WARMUP) / self.frame_rate
        notes = self.store.notes(p.item) if notes is None else notes
        return torch.from_numpy(roll(notes, self.frame_rate, WARMUP + self.frames, begin, True))

    def partner(self, p: Passage) -> Passage | None:
        """The same passage in another rendition."""
        mine = self.store.items[p.item]
        for other in self.store.by_score[mine.score]:
            if self.store.items[other].identity != mine.identity:
                return Passage(other, p.start, p.label)
        return None


@torch.no_grad()
def probe(
    network: Network,
    passages: ProbeSet,
    device: torch.device,
    listener: Listener | None = None,
    afresh: bool = False,
) -> dict[str, float]:
    """All numbers; those that the store or the network does not allow are left out.

    Args:
        network: any checkpoint.
        passages: to measure on; with fewer than two timbres only spreads are measured.
        device: where the network is.
        listener: of the model, through which audio enters a network that reads notes.
        afresh: whether to train adversaries too; too slow to be looked at while a model trains.
    """
    todo = passages.passages
    if not todo:
        return {}
    timbre = _timbres(network, passages, todo, device)
    found = {
        "timbre/spread": disentanglement.spread(timbre),
        "timbre/effective_rank": disentanglement.effective_rank(timbre),
        "output/spread_over_seeds": spread_over_seeds(network, passages, device),
    }
    heard = _heard_codes(network, passages, todo, device, listener)
    if passages.labels > 1 and len(passages.fold.unique()) > 1:
        if heard is not None:
            found["structure/instrument"] = passages.instrument_in(pooled(heard))
            if afresh:
                found |= _guessed(passages, heard, timbre)
        found["timbre/instrument"] = passages.instrument_in(timbre)
        found["timbre/pitch"] = passages.pitch_in(timbre)
        found |= passages.controls
    found |= _distances(network, passages, device, listener, heard)
    return found


def _guessed(passages: ProbeSet, heard: Tensor, timbre: Tensor) -> dict[str, float]:
    """Errors of adversaries trained afresh, on structure codes of audio and where no code is.

    Args:
        passages: that were heard.
        heard: (passages, structure_dim, frames).
        timbre: (passages, timbre_dim), which they guess: so what they find in the sound itself
            is of this network too.
    """
    rolls = torch.stack([passages.roll(p)[..., WARMUP:] for p in passages.passages])
    inputs = {
        "structure": heard,
        "sound": passages.sound,
        "notes": F.avg_pool2d(rolls, (BAND, 1)).flatten(1, 2),
        "noise": passages.noises[0, :, :, None].expand(-1, -1, passages.frames),
    }
    splits = {
        "error_over_chance": fresh_adversary.by_score(passages.score),
        "error_over_chance_unheard": fresh_adversary.unheard(passages.label, passages.score),
    }
    return {
        f"{what}/{name}": fresh_adversary.error_over_chance(codes, timbre, passages.label, turns)
        for name, turns in splits.items()
        for what, codes in inputs.items()
        if turns
    }


def _distances(
    network: Network,
    passages: ProbeSet,
    device: torch.device,
    listener: Listener | None,
    heard: Tensor | None,
) -> dict[str, float]:
    """How far apart the structure of one passage is by its two doors, and in two renditions."""
    found: dict[str, float] = {}
    todo = passages.passages[:COMPARED]
    if heard is None:
        return found
    heard = heard[:COMPARED]
    if isinstance(network.structure_encoder, RollEncoder):
        written = _pieces(lambda part: _from_notes(network, passages, part, device).code, todo)
        found["structure/audio_from_notes"] = disentanglement.apart(heard, written)
    twins = [(k, q) for k, p in enumerate(todo) if (q := passages.partner(p)) is not None]
    if len(twins) > 1:
        others = _heard_codes(network, passages, [q for _, q in twins], device, listener)
        assert others is not None
        mine = heard[[k for k, _ in twins]]
        found["structure/between_renditions"] = disentanglement.apart(mine, others)
    return found


def _heard_codes(
    network: Network,
    passages: ProbeSet,
    todo: list[Passage],
    device: torch.device,
    listener: Listener | None,
) -> Tensor | None:
    """Structure codes of audio, or None if the network cannot hear."""
    if network.cqt is not None:
        return _pieces(lambda part: _from_audio(network, passages, part, device).code, todo)
    if listener is None:
        return None
    return _pieces(lambda part: _from_listening(network, passages, part, device, listener), todo)


def _from_audio(
    network: Network, passages: ProbeSet, part: list[Passage], device: torch.device
) -> Structure:
    assert network.cqt is not None
    return network.structure_encoder(network.cqt(_stack(passages.audio, part, device)))


def _from_notes(
    network: Network, passages: ProbeSet, part: list[Passage], device: torch.device
) -> Structure:
    drums = torch.zeros(len(part), dtype=torch.bool, device=device)
    rolls = _stack(passages.roll, part, device)
    return network.structure_encoder(rolls, drums).after(WARMUP)


def _from_listening(
    network: Network,
    passages: ProbeSet,
    part: list[Passage],
    device: torch.device,
    listener: Listener,
) -> Tensor:
    """As `Timbrel.listen` does, passage by passage."""
    rolls = []
    for p in part:
        audio = Audio(passages.audio(p)[None].numpy(), passages.store.items[p.item].rate)
        samples = audio.resample(listener.config.rate).samples
        notes = hear_notes(listener, torch.from_numpy(samples).to(device))
        moved = notes.shift(p.start / passages.frame_rate)
        rolls.append(passages.roll(p, moved))
    drums = torch.zeros(len(part), dtype=torch.bool, device=device)
    return network.structure_encoder(torch.stack(rolls).to(device), drums).after(WARMUP).code


def spread_over_seeds(network: Network, passages: ProbeSet, device: torch.device) -> float:
    """Standard deviation of latents over noises, over that over items; 0: noise is ignored."""
    chosen = [next(p for p in passages.passages if p.label == k) for k in range(passages.labels)]
    made = []
    for p in chosen[:NOISY_ITEMS]:
        read = _from_notes if network.cqt is None else _from_audio
        structure = read(network, passages, [p], device)
        timbre = _timbre(network, passages, [p], device)
        for seed in range(SEEDS):
            sampling = Sampling(4, Guidance(1.0, 1.0), seed)
            pieces = generate(network, structure.between, passages.frames, timbre, sampling)
            made.append(torch.cat(list(pieces), 2)[0].cpu())
    table = torch.stack(made).unflatten(0, (-1, SEEDS))
    over_items = table.flatten(0, 1).std(0).mean()
    return float(table.std(1).mean() / over_items.clamp_min(1e-9))


def _timbres(
    network: Network, passages: ProbeSet, todo: list[Passage], device: torch.device
) -> Tensor:
    """(items, timbre_dim)."""
    return _pieces(lambda part: _timbre(network, passages, part, device).vector, todo)


def _timbre(
    network: Network, passages: ProbeSet, part: list[Passage], device: torch.device
) -> Timbre:
    """Of the passages themselves, with their written notes."""
    rolls = _stack(passages.roll, part, device)[..., WARMUP:]
    return network.timbre(_stack(passages.latent, part, device), rolls)


def _stack(
    get: Callable[[Passage], Tensor], part: Sequence[Passage], device: torch.device
) -> Tensor:
    return torch.stack([get(p) for p in part]).to(device)


def _pieces(encode: Callable[[list[Passage]], Tensor], todo: Sequence[Passage]) -> Tensor:
    """Codes of many passages, a few at a time."""
    parts = [list(todo[k : k + PIECES]) for k in range(0, len(todo), PIECES)]
    return torch.cat([encode(part).float().cpu() for part in parts])


def pooled(codes: Tensor) -> Tensor:
    """Mean and deviation over time: (items, dim, frames) -> (items, 2 dim)."""
    return torch.cat([codes.mean(2), codes.std(2)], 1)


def _summary(rolls: Tensor) -> Tensor:
    """What notes alone give away: (items, 3, 128, frames) -> (items, 5).

    Mean and spread of pitch, voices at once, onsets a frame, velocity.
    """
    onset, sounding, velocity = rolls.unbind(1)
    pitch = torch.arange(128.0)[:, None]
    weight = sounding.sum((1, 2)).clamp_min(1e-6)
    mean = (sounding * pitch).sum((1, 2)) / weight
    square = (sounding * pitch.square()).sum((1, 2)) / weight
    loud = (sounding * velocity).sum((1, 2)) / weight
    deviation = (square - mean.square()).clamp_min(0).sqrt()
    return torch.stack(
        [mean, deviation, sounding.sum(1).mean(1), (onset > 0).float().sum(1).mean(1), loud], 1
    )
