"""Rendering a plan into a store."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from timbrel.audio import Audio
from timbrel.data.engine import Engine, Local
from timbrel.data.level import levelled
from timbrel.data.lock import locked
from timbrel.data.render.ensembles import render_mix
from timbrel.data.render.inspection import usable
from timbrel.data.render.plan import LEAD_OUT, Plan, draw_plan
from timbrel.data.render.shares import USUAL, Shares
from timbrel.data.render.soundfont import SoundFont
from timbrel.data.render.timbres import Timbre
from timbrel.data.store import Item
from timbrel.data.writer import StoreWriter
from timbrel.errors import DataError
from timbrel.notes import Notes

RATE = 44_100
PER_SHARD = 64
PLAN_VERSION = 7  # of a plan's draws: stores of another version are not continued
LARGEST_SHARD = 2 * 1024**3  # bytes of audio


def play(plan: Plan, index: int) -> tuple[np.ndarray, Notes, float | None]:
    """Rendition `index`: mono samples (n,) float32, its notes, and its loudness in LUFS."""
    notes = plan.notes(index)
    if plan.is_mix(index):
        stereo = render_mix(plan.piece(index), plan.ensemble(index), plan.seconds, RATE).mix
    else:
        stereo = plan.timbre(index).render(notes, plan.seconds, RATE)
    samples, loudness = levelled(Audio(stereo, RATE).mono(), plan.rng(index, 78))
    return samples, notes, loudness


def _work(plan: Plan, index: int) -> Iterator[tuple[np.ndarray, Notes, float | None]]:
    """`play` for an engine."""
    yield play(plan, index)


def render_store(
    path: Path,
    seed: int,
    count: int,
    split: str,
    fonts: list[SoundFont],
    shares: Shares = USUAL,
    seconds: float = 12.0,
    engine: Engine | None = None,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Render a store, or continue one: finished shards are kept.

    Args:
        path: folder.
        seed: of all draws.
        count: renditions.
        split: whose timbres.
        fonts: sound fonts to choose from; their faulty presets are left out.
        shares: of timbres, scores and mixes.
        seconds: length of a rendition, above `LEAD_OUT`.
        engine: where it is rendered, by default here; the result does not depend on it.
        progress: called with the share that is done, above 0 and up to 1.

    Raises:
        DataError: nothing would be rendered, the seed is negative, there is no such split or
            nobody for a role of an ensemble, the folder holds something else or is in use, a font
            cannot be read, or a worker died.
    """
    if count < 1 or seconds <= LEAD_OUT:
        raise DataError(
            f"{count} renditions of {seconds:g} s cannot be rendered: at least one of more "
            f"than {LEAD_OUT:g} s is needed"
        )
    if seed < 0:
        raise DataError(f"seed is {seed}; give a whole number from 0 up")
    fonts = [usable(font) for font in fonts]
    plan = draw_plan(seed, count, split, fonts, shares, seconds)
    samples = round(seconds * RATE)
    per_shard = max(1, min(PER_SHARD, LARGEST_SHARD // (2 * samples)))
    options = {
        "version": PLAN_VERSION,
        "seed": seed,
        "count": count,
        "split": split,
        "fonts": [font.path.name for font in fonts],
        "excluded": {font.path.name: sorted(map(_place, font.excluded)) for font in fonts},
        "octaves": {font.path.name: _octaves(font) for font in fonts},
        "synth_share": shares.synthesised,
        "recorded": shares.recorded,
        "seconds": seconds,
        "mix_share": shares.mixes,
        "expressive_share": shares.expressive,
        "hybrids": shares.hybrids,
        "per_shard": per_shard,
    }
    # stores from before there were any can be continued
    later = {"modelled": shares.modelled, "held": shares.held}
    options |= {name: share for name, share in later.items() if share}
    shards = [range(k, min(k + per_shard, count)) for k in range(0, count, per_shard)]
    path.mkdir(parents=True, exist_ok=True)
    with locked(path):
        writer = StoreWriter(path, options)
        missing = [
            index for k, shard in enumerate(shards) if k not in writer.shards for index in shard
        ]
        renditions = (engine or Local()).run(_work, plan, missing)
        for shard, indices in enumerate(shards):
            if shard not in writer.shards:
                played = itertools.islice(renditions, len(indices))
                audio, notes, loudness = zip(*played, strict=True)
                items = [
                    _item(plan, shard, row, index, split, samples, loudness[row])
                    for row, index in enumerate(indices)
                ]
                writer.write_shard(shard, np.stack(audio), notes, items)
            if progress is not None:
                progress(indices.stop / count)


def _octaves(font: SoundFont) -> dict[str, int]:
    """By how many octaves presets are off, for JSON."""
    return {_place(place): by for place, by in sorted(font.octaves.items())}


def _place(preset: tuple[int, int]) -> str:
    """Bank and program, for JSON."""
    return "{}-{}".format(*preset)


def _item(
    plan: Plan, shard: int, row: int, index: int, split: str, length: int, loudness: float | None
) -> Item:
    player = plan.player(index)
    return Item(
        shard=shard,
        row=row,
        length=length,
        rate=RATE,
        identity=player.identity,
        score=plan.score_number(index),
        family=player.family,
        split=split,
        licence=player.licence,
        drums=isinstance(player, Timbre)
        and player.drums,  # of a mix, the notes are the pitched ones
        timbre=plan.player_number(index),
        low=player.low,
        high=player.high,
        loudness=loudness,
        instrument=player.instrument,
    )
