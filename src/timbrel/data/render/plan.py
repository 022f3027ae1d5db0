"""Who plays what in a rendered store, as a pure function of the index.

Scores and timbres are crossed: every score is played by several timbres, so transfer is
supervised, and every timbre plays several scores, so an example of it that plays
something else always exists. Register and tempo of a timbre's scores are independent.
Pieces and ensembles are crossed in the same way, so that mixes have pairs too; an ensemble
plays pieces of any style, so that genres cross.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from timbrel.data.render.ensembles import Ensemble, draw_ensemble
from timbrel.data.render.pieces import Piece, draw_piece
from timbrel.data.render.scores import draw_score
from timbrel.data.render.shares import USUAL, Shares
from timbrel.data.render.soundfont import SoundFont
from timbrel.data.render.styles import STYLES
from timbrel.data.render.timbres import SPLITS, Timbre, draw_timbres
from timbrel.notes import Notes

PER_TIMBRE = 4  # scores that each timbre plays, and pieces each ensemble
PER_SCORE = 2  # timbres that play each score, and ensembles each piece
LEAD_OUT = 1.0  # seconds at the end in which no note begins
POOL = 240  # timbres at least, from which ensembles are drawn


@dataclass(frozen=True)
class Plan:
    """All renditions of a store: scores by single timbres first, then mixes.

    Args:
        seed: of all draws.
        count: renditions.
        timbres: as many as `timbres_needed` of those that are no mixes.
        seconds: length of a rendition.
        split: keys all draws, so that equal seeds give no score to two splits.
        mixes: how many of the renditions are pieces played by ensembles.
        ensembles: as many as `ensembles_needed(mixes)`.
        held: share of the pitched scores whose notes are held for seconds.
    """

    seed: int
    count: int
    timbres: tuple[Timbre, ...]
    seconds: float
    split: str = "train"
    mixes: int = 0
    ensembles: tuple[Ensemble, ...] = ()
    held: float = 0.0

    def rng(self, *purpose: int) -> np.random.Generator:
        """A stream of random numbers for one purpose."""
        return np.random.default_rng([self.seed, *purpose, SPLITS[self.split]])

    @property
    def singles(self) -> int:
        """How many renditions come before the mixes."""
        return self.count - self.mixes

    def is_mix(self, index: int) -> bool:
        """Whether an ensemble plays rendition `index`."""
        return index >= self.singles

    def player_number(self, index: int) -> int:
        """Number of the timbre, or ensemble after them, that plays rendition `index`."""
        if self.is_mix(index):
            return len(self.timbres) + (index - self.singles) % len(self.ensembles)
        return index % len(self.timbres)

    def player(self, index: int) -> Timbre | Ensemble:
        """Who plays rendition `index`."""
        return self.ensemble(index) if self.is_mix(index) else self.timbre(index)

    def timbre(self, index: int) -> Timbre:
        """Who plays rendition `index`, which is no mix."""
        return self.timbres[self.player_number(index)]

    def ensemble(self, index: int) -> Ensemble:
        """Who plays rendition `index`, which is a mix."""
        return self.ensembles[self.player_number(index) - len(self.timbres)]

    def score_number(self, index: int) -> int:
        """Equal for renditions of the same notes."""
        if self.is_mix(index):
            return 2 * self.count + self._pieces[index - self.singles]
        return self._scores[index]

    @cached_property
    def _scores(self) -> list[int]:
        drums = [timbre.drums for timbre in self.timbres]
        return _crossed(drums, self.singles, lambda turn, kind: self.rng(turn, kind))

    @cached_property
    def _pieces(self) -> list[int]:
        kits = [ensemble.has_kit for ensemble in self.ensembles]
        return _crossed(kits, self.mixes, lambda turn, kind: self.rng(turn, 2 + kind))

    @cached_property
    def _players(self) -> dict[int, list[Timbre]]:
        """Timbres of each score."""
        players: dict[int, list[Timbre]] = {}
        for index, score in enumerate(self._scores):
            players.setdefault(score, []).append(self.timbre(index))
        return players

    def piece(self, index: int) -> Piece:
        """The piece of mix `index`, the same for all its ensembles; with drums if they have."""
        rng, kit = self.rng(self.score_number(index), 79), self.ensemble(index).has_kit
        styles = [name for name, style in STYLES.items() if bool(style.drums) == kit]
        return draw_piece(rng, self.seconds - LEAD_OUT, str(rng.choice(styles)))

    def notes(self, index: int) -> Notes:
        """The score of rendition `index`, the same for all its timbres.

        Its register is drawn on its own and moved only where one of its timbres would be
        silent: notes that are in the roll but not in the audio would teach the wrong thing. Notes
        that one of them lacks all the same are left out.
        Of a mix, the pitched notes of all parts.
        """
        if self.is_mix(index):
            return self.piece(index).notes.pitched()
        score = self.score_number(index)
        rng = self.rng(score, 77)
        if self.timbre(index).drums:
            return draw_score(rng, self.seconds - LEAD_OUT, drums=True)
        centre, width = rng.uniform(42, 84), rng.uniform(8, 22)
        voices = int(rng.choice([1, 1, 2, 4, 6, 8]))
        low, high = int(max(24, centre - width)), int(min(105, centre + width))
        players = self._players[score]
        floors, tops = zip(*(t.playable for t in players), strict=True)
        low, high = _fit(low, high, max(floors), min(tops))
        # drawn apart: without any, all other draws are as they were
        style = "held" if self.rng(score, 81).random() < self.held else None
        notes = draw_score(rng, self.seconds - LEAD_OUT, low, high, voices, style)
        return notes.where(np.all([t.sounding(notes.pitch) for t in players], axis=0))


def draw_plan(
    seed: int,
    count: int,
    split: str,
    fonts: list[SoundFont],
    shares: Shares = USUAL,
    seconds: float = 12.0,
) -> Plan:
    """Draw who plays.

    Args:
        seed: of all draws.
        count: renditions.
        split: "train", "valid" or "test".
        fonts: sound fonts to choose from.
        shares: of timbres, scores and mixes.
        seconds: length of a rendition.

    Returns:
        The plan, whose last `round(shares.mixes * count)` renditions are mixes.

    Raises:
        DataError: there is no such split, or nobody for a role of an ensemble.
    """
    mixes = round(shares.mixes * count)
    needed = timbres_needed(count - mixes)
    most = max(needed, POOL) if mixes else needed
    drawn = draw_timbres(seed, most, split, fonts, shares)
    timbres = drawn[:needed]
    drums = [t for t in timbres if t.drums]
    if len(drums) == 1 and len(timbres) > 2:  # it would have no partner
        timbres.remove(drums[0])
    ensembles = []
    for number in range(ensembles_needed(mixes)):
        rng = np.random.default_rng([seed, number, 80, SPLITS[split]])
        # two of a style follow each other: nobody is left without a partner
        ensembles.append(draw_ensemble(rng, drawn, list(STYLES)[number // 2 % len(STYLES)]))
    return Plan(seed, count, tuple(timbres), seconds, split, mixes, tuple(ensembles), shares.held)


def timbres_needed(count: int) -> int:
    """Timbres for `count` renditions, each playing `PER_TIMBRE` scores."""
    return max(2, -(-count // PER_TIMBRE))


def ensembles_needed(mixes: int) -> int:
    """Ensembles for `mixes` renditions: an even number, each playing `PER_TIMBRE` pieces."""
    return 2 * -(-mixes // (2 * PER_TIMBRE))


def _crossed(
    kinds: Sequence[bool], count: int, rng: Callable[[int, int], np.random.Generator]
) -> list[int]:
    """Score of every rendition; rendition `k` is by player `k % len(kinds)`.

    In each turn (one round of all players), those of a kind meet in new groups.

    Args:
        kinds: of each player; only players of a kind share scores.
        count: renditions.
        rng: (turn, kind) -> source of the groups.
    """
    scores = [0] * count
    for turn in range(-(-count // len(kinds)) if count else 0):
        first = turn * len(kinds)
        for kind in (False, True):
            peers = [
                first + number
                for number, own in enumerate(kinds)
                if own == kind and first + number < count
            ]
            shuffled = [peers[k] for k in rng(turn, int(kind)).permutation(len(peers))]
            for place, index in enumerate(shuffled):
                # one left over at the end joins the group before: no score has one player
                group = min(place // PER_SCORE, max(len(peers) // PER_SCORE - 1, 0))
                scores[index] = (first + group) * 2 + int(kind)
            if len(peers) == 1:
                scores[peers[0]] = _join(kinds, scores, peers[0])
    return scores


def _join(kinds: Sequence[bool], scores: list[int], index: int) -> int:
    """For one alone in its turn: an earlier score of its kind that its player lacks."""
    own = index % len(kinds)
    known = {scores[k] for k in range(own, index, len(kinds))}
    for before in range(index):
        if kinds[before % len(kinds)] == kinds[own] and scores[before] not in known:
            return scores[before]
    return scores[index]


def _fit(low: int, high: int, floor: int, top: int) -> tuple[int, int]:
    """A range moved, and if need be narrowed, into [floor, top]; unchanged if that is empty."""
    if floor > top:
        return low, high
    move = min(0, top - high) + max(0, floor - low)
    return min(max(low + move, floor), top), max(min(high + move, top), floor)
