"""Which score is played by which timbre, and rendering them into a store.

Scores and timbres are crossed: every score is played by several timbres, so transfer is
supervised, and every timbre plays several scores, so an example of it that plays
something else always exists. Register and tempo of a timbre's scores are independent.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from timbrel.audio import Audio
from timbrel.data.level import levelled
from timbrel.data.lock import locked
from timbrel.data.render.scores import draw_score
from timbrel.data.render.soundfont import SoundFont
from timbrel.data.render.timbres import SPLITS, Timbre, draw_timbres
from timbrel.data.store import Item, StoreWriter
from timbrel.errors import DataError
from timbrel.notes import Notes

RATE = 44_100
PER_SHARD = 64
PER_TIMBRE = 4  # scores that each timbre plays
PER_SCORE = 2  # timbres that play each score
PLAN_VERSION = 3  # of the draws below: stores of another version are not continued
LARGEST_SHARD = 2 * 1024**3  # bytes of audio
LEAD_OUT = 1.0  # seconds at the end in which no note begins


@dataclass(frozen=True)
class Plan:
    """All renditions of a store, as a pure function of the index.

    Args:
        seed: of all draws.
        count: renditions.
        timbres: as many as `timbres_needed(count)`.
        seconds: length of a rendition.
        split: keys all draws, so that equal seeds give no score to two splits.
    """

    seed: int
    count: int
    timbres: tuple[Timbre, ...]
    seconds: float
    split: str = "train"

    def rng(self, *purpose: int) -> np.random.Generator:
        """A stream of random numbers for one purpose."""
        return np.random.default_rng([self.seed, *purpose, SPLITS[self.split]])

    def timbre_number(self, index: int) -> int:
        """Number of the timbre that plays rendition `index`; one turn is one round of all."""
        return index % len(self.timbres)

    def timbre(self, index: int) -> Timbre:
        """Who plays rendition `index`."""
        return self.timbres[self.timbre_number(index)]

    def score_number(self, index: int) -> int:
        """Equal for renditions of the same notes."""
        return self._scores[index]

    @cached_property
    def _scores(self) -> list[int]:
        """Score of every rendition: in each turn, the timbres of a kind meet in new groups."""
        scores = [0] * self.count
        for turn in range(-(-self.count // len(self.timbres))):
            first = turn * len(self.timbres)
            for drums in (False, True):
                peers = [
                    first + number
                    for number, timbre in enumerate(self.timbres)
                    if timbre.drums == drums and first + number < self.count
                ]
                rng = self.rng(turn, int(drums))
                shuffled = [peers[k] for k in rng.permutation(len(peers))]
                for place, index in enumerate(shuffled):
                    # one left over at the end joins the group before: no score has one timbre
                    group = min(place // PER_SCORE, max(len(peers) // PER_SCORE - 1, 0))
                    scores[index] = (first + group) * 2 + int(drums)
                if len(peers) == 1:
                    scores[peers[0]] = self._join(peers[0], scores)
        return scores

    def _join(self, index: int, scores: list[int]) -> int:
        """For one alone in its turn: an earlier score of its kind that its timbre lacks."""
        own = self.timbre_number(index)
        known = {scores[k] for k in range(own, index, len(self.timbres))}
        for before in range(index):
            same_kind = self.timbre(before).drums == self.timbre(index).drums
            if same_kind and scores[before] not in known:
                return scores[before]
        return scores[index]

    @cached_property
    def _players(self) -> dict[int, list[Timbre]]:
        """Timbres of each score."""
        players: dict[int, list[Timbre]] = {}
        for index, score in enumerate(self._scores):
            players.setdefault(score, []).append(self.timbre(index))
        return players

    def notes(self, index: int) -> Notes:
        """The score of rendition `index`, the same for all its timbres.

        Its register is drawn on its own and moved only where one of its timbres would be
        silent: notes that are in the roll but not in the audio would teach the wrong thing.
        """
        score = self.score_number(index)
        rng = self.rng(score, 77)
        if self.timbre(index).drums:
            return draw_score(rng, self.seconds - LEAD_OUT, drums=True)
        centre, width = rng.uniform(42, 84), rng.uniform(8, 22)
        voices = int(rng.choice([1, 1, 2, 4, 6]))
        low, high = int(max(24, centre - width)), int(min(105, centre + width))
        floors, tops = zip(*(t.playable for t in self._players[score]), strict=True)
        low, high = _fit(low, high, max(floors), min(tops))
        return draw_score(rng, self.seconds - LEAD_OUT, low, high, voices)


def _fit(low: int, high: int, floor: int, top: int) -> tuple[int, int]:
    """A range moved, and if need be narrowed, into [floor, top]; unchanged if that is empty."""
    if floor > top:
        return low, high
    move = min(0, top - high) + max(0, floor - low)
    return min(max(low + move, floor), top), max(min(high + move, top), floor)


def timbres_needed(count: int) -> int:
    """Timbres for `count` renditions, each playing `PER_TIMBRE` scores."""
    return max(2, -(-count // PER_TIMBRE))


def play(plan: Plan, index: int) -> tuple[np.ndarray, Notes]:
    """Rendition `index`: mono samples (n,) float32, and its notes."""
    samples, notes, _ = _play(plan, index)
    return samples, notes


def _play(plan: Plan, index: int) -> tuple[np.ndarray, Notes, float | None]:
    """`play`, with the loudness in LUFS that was reached."""
    notes, timbre = plan.notes(index), plan.timbre(index)
    mono = Audio(timbre.render(notes, plan.seconds, RATE), RATE).mono()
    samples, loudness = levelled(mono, plan.rng(index, 78))
    return samples, notes, loudness


_PLAN: Plan | None = None


def _use_plan(plan: Plan, parent: int) -> None:
    """In a worker process: remember the plan, so that fonts are loaded once."""
    global _PLAN
    _PLAN = plan
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """A pool's workers wait for ever when their parent is killed; these end with it."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _play_index(index: int) -> tuple[np.ndarray, Notes, float | None]:
    assert _PLAN is not None
    return _play(_PLAN, index)


def render_store(
    path: Path,
    seed: int,
    count: int,
    split: str,
    fonts: list[SoundFont],
    synth_share: float = 0.4,
    seconds: float = 12.0,
    workers: int = 1,
    progress: Callable[[float], None] | None = None,
    recorded: float = 0.0,
) -> None:
    """Render a store, or continue one: finished shards are kept.

    Args:
        path: folder.
        seed: of all draws.
        count: renditions.
        split: whose timbres.
        fonts: sound fonts to choose from.
        synth_share: share of the own synthesiser's timbres.
        seconds: length of a rendition.
        workers: processes; the result does not depend on it.
        progress: called with the share that is done.
        recorded: share of the timbres that is heard through a recording chain.

    Raises:
        DataError: the folder holds something else or is in use, a font cannot be read, or a
            worker died.
    """
    if count < 1 or seconds <= LEAD_OUT:
        raise DataError(
            f"{count} renditions of {seconds:g} s cannot be rendered: at least one of more "
            f"than {LEAD_OUT:g} s is needed"
        )
    timbres = draw_timbres(seed, timbres_needed(count), split, fonts, synth_share, recorded)
    drums = [t for t in timbres if t.drums]
    if len(drums) == 1 and len(timbres) > 2:  # it would have no partner
        timbres.remove(drums[0])
    plan = Plan(seed, count, tuple(timbres), seconds, split)
    samples = round(seconds * RATE)
    per_shard = max(1, min(PER_SHARD, LARGEST_SHARD // (2 * samples)))
    options = {
        "version": PLAN_VERSION,
        "seed": seed,
        "count": count,
        "split": split,
        "fonts": [font.path.name for font in fonts],
        "synth_share": synth_share,
        "recorded": recorded,
        "seconds": seconds,
        "per_shard": per_shard,
    }
    shards = [range(k, min(k + per_shard, count)) for k in range(0, count, per_shard)]
    path.mkdir(parents=True, exist_ok=True)
    with locked(path), _player(plan, workers) as play_all:
        writer = StoreWriter(path, options)
        for shard, indices in enumerate(shards):
            if shard not in writer.shards:
                audio, notes, loudness = zip(*play_all(indices), strict=True)
                items = [
                    _item(plan, shard, row, index, split, samples, loudness[row])
                    for row, index in enumerate(indices)
                ]
                writer.write_shard(shard, np.stack(audio), notes, items)
            if progress is not None:
                progress(indices.stop / count)


@contextmanager
def _player(
    plan: Plan, workers: int
) -> Iterator[Callable[[range], Iterable[tuple[np.ndarray, Notes, float | None]]]]:
    """A function that plays many renditions, here or in several processes."""
    if workers <= 1:
        yield lambda indices: [_play(plan, index) for index in indices]
        return
    with ProcessPoolExecutor(workers, initializer=_use_plan, initargs=(plan, os.getpid())) as pool:
        try:
            yield lambda indices: pool.map(_play_index, indices)
        except BrokenProcessPool as error:
            raise DataError(
                "a rendering process was killed (is memory short?); run again to continue"
            ) from error


def _item(
    plan: Plan, shard: int, row: int, index: int, split: str, length: int, loudness: float | None
) -> Item:
    timbre = plan.timbre(index)
    return Item(
        shard=shard,
        row=row,
        length=length,
        rate=RATE,
        identity=timbre.identity,
        score=plan.score_number(index),
        family=timbre.family,
        split=split,
        licence=timbre.licence,
        drums=timbre.drums,
        timbre=plan.timbre_number(index),
        low=timbre.low,
        high=timbre.high,
        loudness=loudness,
        instrument=timbre.instrument,
    )
