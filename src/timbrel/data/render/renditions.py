"""Which score is played by which timbre, and rendering them into a store.

Scores and timbres are crossed: every score is played by several timbres, so transfer is
supervised, and every timbre plays several scores, so an example of it that plays
something else always exists. Register and tempo of a timbre's scores are independent.
"""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from timbrel.audio import Audio
from timbrel.data.render.scores import draw_score
from timbrel.data.render.soundfont import SoundFont
from timbrel.data.render.timbres import Timbre, draw_timbres
from timbrel.data.store import Item, StoreWriter
from timbrel.notes import Notes

RATE = 44_100
PER_SHARD = 64
PER_TIMBRE = 6  # scores that each timbre plays
PER_SCORE = 2  # timbres that play each score
LOUDNESS, LOUDNESS_SPREAD = -23.0, 2.0  # LUFS: mean, standard deviation
LEAD_OUT = 1.0  # seconds at the end in which no note begins


@dataclass(frozen=True)
class Plan:
    """All renditions of a store, as a pure function of the index.

    Args:
        seed: of all draws.
        count: renditions.
        timbres: as many as `timbres_needed(count)`.
        seconds: length of a rendition.
    """

    seed: int
    count: int
    timbres: tuple[Timbre, ...]
    seconds: float

    def timbre(self, index: int) -> Timbre:
        """Who plays rendition `index`."""
        return self.timbres[self._timbre_number(index)]

    def _timbre_number(self, index: int) -> int:
        """Neighbours in the list of a kind (pitched, drums) share a score."""
        return index % len(self.timbres)

    def score_number(self, index: int) -> int:
        """Equal for renditions of the same notes: pairs of timbres, a new pairing each round."""
        number, turn = self._timbre_number(index), index // len(self.timbres)
        drums = self.timbres[number].drums
        peers = [k for k, t in enumerate(self.timbres) if t.drums == drums]
        order = np.random.default_rng([self.seed, turn, int(drums)]).permutation(len(peers))
        place = int(order[peers.index(number)]) // PER_SCORE
        return (turn * len(self.timbres) + place) * 2 + int(drums)

    def notes(self, index: int) -> Notes:
        """The score of rendition `index`, drawn for one of its timbres' ranges."""
        score, timbre = self.score_number(index), self.timbre(index)
        rng = np.random.default_rng([self.seed, score, 77])
        if timbre.drums:
            return draw_score(rng, self.seconds - LEAD_OUT, drums=True)
        # the score is the same for all its timbres, so its range comes from its number
        centre, width = rng.uniform(42, 84), rng.uniform(8, 22)
        voices = int(rng.choice([1, 1, 2, 4, 6]))
        low, high = int(max(24, centre - width)), int(min(105, centre + width))
        return draw_score(rng, self.seconds - LEAD_OUT, low, high, voices)


def timbres_needed(count: int) -> int:
    """Timbres for `count` renditions, each playing `PER_TIMBRE` scores."""
    return max(2, -(-count // PER_TIMBRE))


def play(plan: Plan, index: int) -> tuple[np.ndarray, Notes]:
    """Rendition `index`: mono samples (n,) float32, and its notes."""
    notes, timbre = plan.notes(index), plan.timbre(index)
    stereo = timbre.render(notes, plan.seconds, RATE)
    rng = np.random.default_rng([plan.seed, index, 78])
    target = LOUDNESS + LOUDNESS_SPREAD * float(rng.standard_normal())
    mono = Audio(stereo, RATE).mono().with_loudness(target)
    return mono.samples[0], notes


_PLAN: Plan | None = None


def _use_plan(plan: Plan) -> None:
    """In a worker process: remember the plan, so that fonts are loaded once."""
    global _PLAN
    _PLAN = plan


def _play_index(index: int) -> tuple[np.ndarray, Notes]:
    assert _PLAN is not None
    return play(_PLAN, index)


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
        workers: processes.
        progress: called with the share that is done.
    """
    timbres = draw_timbres(seed, timbres_needed(count), split, fonts, synth_share)
    plan = Plan(seed, count, tuple(timbres), seconds)
    writer = StoreWriter(path)
    with ProcessPoolExecutor(workers, initializer=_use_plan, initargs=(plan,)) as pool:
        for shard in range(-(-count // PER_SHARD)):
            indices = range(shard * PER_SHARD, min((shard + 1) * PER_SHARD, count))
            if shard not in writer.shards:
                rendered = list(pool.map(_play_index, indices))
                audio = np.stack([samples for samples, _ in rendered])
                items = [
                    _item(plan, shard, row, index, split, audio.shape[1])
                    for row, index in enumerate(indices)
                ]
                writer.write_shard(shard, audio, [notes for _, notes in rendered], items)
            if progress is not None:
                progress(indices.stop / count)


def _item(plan: Plan, shard: int, row: int, index: int, split: str, length: int) -> Item:
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
    )
