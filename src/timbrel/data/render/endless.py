"""Renditions without end: audio for training that no store has to hold."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from timbrel.data.render.inspection import usable
from timbrel.data.render.plan import Plan, draw_plan
from timbrel.data.render.renditions import RATE, play
from timbrel.data.render.shares import Shares
from timbrel.data.render.soundfont import SoundFont, find_fonts

CHAPTER = 480  # renditions of a plan; then another is drawn
SHARES = Shares(recorded=0.3, hybrids=0.5, mixes=0.05)  # the command's, and some mixes
Item = tuple[int, int, int]  # seed, stream, number


@dataclass(frozen=True)
class Endless:
    """Streams of renditions with timbres of the training split: any number of any stream at once.

    Args:
        fonts: without faulty presets (`inspection.usable`); none: the own synthesiser alone.
        seconds: length of a rendition.
        shares: of timbres, scores and mixes; by default those of `timbrel prepare render`, and
            some mixes.
    """

    fonts: tuple[SoundFont, ...] = ()
    seconds: float = 12.0
    shares: Shares = SHARES

    @property
    def rate(self) -> int:
        """Hz."""
        return RATE

    @property
    def length(self) -> int:
        """Samples of a rendition."""
        return round(self.seconds * RATE)

    def describe(self) -> dict[str, object]:
        """What the audio depends on besides the seed, for JSON."""
        presets = [[font.path.name, len(font.presets())] for font in self.fonts]
        own = self.shares
        shares = [own.synthesised, own.recorded, own.expressive, own.hybrids, own.mixes]
        if own.modelled or own.held:  # only then: runs from before there were any go on
            shares += [own.modelled, own.held]
        return {"presets": presets, "seconds": self.seconds, "shares": shares}

    def rendition(self, item: Item) -> np.ndarray:
        """Mono samples (length,) float32, a pure function of (seed, stream, number)."""
        seed, stream, number = item
        chapter, place = divmod(number, CHAPTER)
        plan, order = _chapter(self, seed, stream, chapter)
        return play(plan, int(order[place]))[0]


def with_fonts() -> Endless:
    """Renditions with the sound fonts of this machine that are of free licence."""
    fonts = [font for path in find_fonts() if (font := SoundFont(path)).free]
    if not fonts:
        print(
            "no sound font of free licence found (see `timbrel fonts`): "
            "all timbres come from the synthesiser"
        )
    return Endless(tuple(usable(font) for font in fonts))


def render(endless: Endless, item: Item) -> Iterator[np.ndarray]:
    """`Endless.rendition` for an engine."""
    yield endless.rendition(item)


@lru_cache(maxsize=2)  # neighbours of a chapter's end need both
def _chapter(endless: Endless, seed: int, stream: int, chapter: int) -> tuple[Plan, np.ndarray]:
    """A chapter's plan, and the order in which it is played: mixes do not come last."""
    rng = np.random.default_rng([seed, stream, chapter])
    plan = draw_plan(
        int(rng.integers(2**31)),
        CHAPTER,
        "train",
        list(endless.fonts),
        endless.shares,
        endless.seconds,
    )
    return plan, rng.permutation(CHAPTER)
