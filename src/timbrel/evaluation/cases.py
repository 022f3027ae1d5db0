"""Cases: questions with a known answer, rendered for the purpose.

A case asks for some notes with the sound of an example. As everything is rendered, the
exactly right output exists: the target's own rendition of the notes. Notes are a score for
one instrument, or a piece for an ensemble (`pieces`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from timbrel.audio import Audio
from timbrel.data.render.inspection import usable
from timbrel.data.render.scores import draw_score
from timbrel.data.render.shares import Shares
from timbrel.data.render.soundfont import SoundFont
from timbrel.data.render.timbres import HELD_OUT, Timbre, draw_timbres
from timbrel.errors import DataError
from timbrel.evaluation.likeness import levels_db
from timbrel.evaluation.protocol import Protocol, Setting
from timbrel.notes import Notes

RATE = 44_100
LOUDNESS = -23.0  # LUFS, that of training
EXAMPLE_SECONDS = 6.0
WINDOW = 16  # semitones of a score where registers are compared
HELD_SECONDS = 6.0  # of the note that tells what fades
FADED_DB, LASTING_DB = -18.0, -6.0  # its last second, from its loudest on
POOL_SIZE = 240  # timbres drawn to choose from
ATTEMPTS = 200  # before a protocol is found impossible with the sounds at hand


@dataclass(frozen=True, eq=False)
class Case:
    """One question.

    Attributes:
        name: unique in its protocol.
        level: of what the protocol varies.
        notes: what should be heard.
        given: what the model is given; differs from `notes` if there are faults.
        example: the target's timbre, playing another score.
        source: the notes, played by another timbre; None if unknown.
        truth: the exactly right answer; None if unknown.
        facts: about the case, for the report.
        sampling: options of `Timbrel.render` that the case fixes.
        example_given: what the model is given of the example, if it differs from that.
        beats: seconds, where a listener would tap; None if unknown.
    """

    name: str
    level: str
    notes: Notes
    given: Notes
    example: Audio
    source: Audio | None
    truth: Audio | None
    facts: dict[str, str | float] = field(default_factory=dict)
    sampling: dict[str, float] = field(default_factory=dict)
    example_given: Audio | None = None
    beats: np.ndarray | None = None

    @property
    def example_heard(self) -> Audio:
        """What the model is given of the example."""
        return self.example if self.example_given is None else self.example_given

    @property
    def seconds(self) -> float:
        """Length that is asked for."""
        for audio in (self.truth, self.source):
            if audio is not None:
                return audio.seconds
        return self.notes.seconds + 1.0


def draw_cases(
    protocol: Protocol, fonts: list[SoundFont], limit: int | None = None
) -> list[Callable[[], Case]]:
    """All cases of a protocol, unrendered: call one to get it.

    The same protocol and fonts give the same cases; the n-th of every level shares its
    timbres and scores wherever the level allows, so that levels can be compared.

    Args:
        protocol: what is asked.
        fonts: sounds beside the own synthesiser's; faulty presets are left out, as in training.
        limit: cases per level, fewer than the protocol's.
    """
    fonts = [usable(font) for font in fonts]
    count = protocol.cases if limit is None else min(limit, protocol.cases)
    return [
        partial(_draw, protocol, level, number, fonts)
        for level in protocol.levels
        for number in range(count)
    ]


_POOLS: dict[tuple[str, tuple[str, ...]], list[Timbre]] = {}


def pool(name: str, fonts: list[SoundFont], drums: bool = False) -> list[Timbre]:
    """Timbres to choose from.

    Args:
        name: "<instrument>-<recording>", each "seen" or "unseen" in training: instruments
            by General MIDI program, recordings by family; the synthesiser's test region is
            unseen in both.
        fonts: sounds beside the own synthesiser's.
        drums: kits, which have no program, instead of pitched timbres.
    """
    key = name, tuple(font.path.name for font in fonts)
    if key not in _POOLS:
        instrument, recording = name.split("-")
        split = "train" if name == "seen-seen" else "test"
        shares = Shares(synthesised=0.25, expressive=0.0)
        drawn = draw_timbres(2026, POOL_SIZE, split, fonts, shares, percussive=False)
        _POOLS[key] = [t for t in drawn if t.drums or _fits(t, split, instrument, recording)]
    return [t for t in _POOLS[key] if t.drums == drums]


def case_name(level: str, number: int) -> str:
    """Unique in a protocol."""
    return f"{level}-{number:03d}"


def _fits(timbre: Timbre, split: str, instrument: str, recording: str) -> bool:
    if not isinstance(timbre.source, tuple):
        return split == "train" or (instrument, recording) == ("unseen", "unseen")
    font, preset = timbre.source
    known = preset.program not in HELD_OUT, font.free
    return known == (instrument == "seen", recording == "seen")


def render(timbre: Timbre, notes: Notes, seconds: float) -> Audio:
    """Mono, at the loudness of training."""
    return Audio(timbre.render(notes, seconds, RATE), RATE).mono().with_loudness(LOUDNESS)


def _draw(protocol: Protocol, level: str, number: int, fonts: list[SoundFont]) -> Case:
    setting = protocol.setting(level)
    if setting.genres:
        from timbrel.evaluation.pieces import draw_piece_case

        return draw_piece_case(protocol, level, number, fonts)
    timbres = pool(setting.pool, fonts, drums=setting.players == "kits")
    if len(timbres) < 2:
        raise DataError(
            f"protocol '{protocol.name}' needs sounds of the kind '{setting.pool}', and there "
            "are none; install more sound fonts (timbrel fonts)"
        )
    for attempt in range(ATTEMPTS):
        rng = np.random.default_rng([protocol.seed, number, attempt])
        target, source = (timbres[int(i)] for i in rng.choice(len(timbres), 2, replace=False))
        case = _case(protocol, level, number, target, source, rng)
        if case is not None:
            return case
    raise DataError(f"protocol '{protocol.name}' finds no sound that fits its level '{level}'")


def _case(
    protocol: Protocol,
    level: str,
    number: int,
    target: Timbre,
    source: Timbre,
    rng: np.random.Generator,
) -> Case | None:
    """A case with this target, or None if the two timbres or the registers do not fit."""
    setting = protocol.setting(level)
    if alike(target, source):
        return None  # nothing would have to change
    if setting.sustain and setting.sustain != sustain(target):
        return None
    ranges = _ranges(target, source, setting, rng)
    if ranges is None:
        return None
    # two streams, so that what is varied in the notes leaves the example as it is
    notes = draw_score(
        np.random.default_rng(rng.integers(2**32)),
        protocol.seconds - 1,
        *ranges[0],
        setting.voices,
        setting.score or None,
        drums=target.drums,
    )
    other = draw_score(
        np.random.default_rng(rng.integers(2**32)),
        setting.example_seconds - 1,
        *ranges[1],
        2,
        drums=target.drums,
    )
    if len(notes) < 4 or len(other) < 3:
        return None
    truth = render(target, notes, protocol.seconds)
    example = render(target, other, setting.example_seconds)
    played = render(source, notes, protocol.seconds)
    if min(truth.loudness(), example.loudness(), played.loudness()) < LOUDNESS - 20:
        return None  # outside what a font can play
    return Case(
        name=case_name(level, number),
        level=level,
        notes=notes,
        # equal draws at all levels: a larger fault is the same fault, larger (but for notes that
        # are added, where more of them are others)
        given=setting.damage(notes, np.random.default_rng([protocol.seed, 7, number])),
        example=example,
        example_given=setting.damage_example(
            example, np.random.default_rng([protocol.seed, 8, number])
        ),
        source=played,
        truth=truth,
        facts={
            "target": target.identity,
            "target instrument": target.instrument,
            "target family": target.family,
            "source": source.identity,
            "source instrument": source.instrument,
            "notes": len(notes),
        },
        sampling=setting.sampling,
    )


def alike(one: Timbre, other: Timbre) -> bool:
    """Whether two timbres are two pianos, say, or one kit of a font with other effects."""
    if one.group >= 0:
        return one.group == other.group
    if not isinstance(one.source, tuple) or not isinstance(other.source, tuple):
        return False
    (font, preset), (another, played) = one.source, other.source
    return font.path == another.path and preset == played


def sustain(timbre: Timbre) -> str:
    """What becomes of a note that is held: it "fades", it "lasts", or neither clearly: ""."""
    held = Notes.from_rows([(0.0, HELD_SECONDS, (timbre.low + timbre.high) // 2, 90)])
    level = levels_db(timbre.render(held, HELD_SECONDS, RATE).mean(0))[-1]
    return "fades" if level < FADED_DB else "lasts" if level > LASTING_DB else ""


def _ranges(
    target: Timbre, source: Timbre, setting: Setting, rng: np.random.Generator
) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Lowest and highest pitch of notes and of example; None if these timbres have none."""
    if setting.register_gap:
        own = [(t.low + t.high) // 2 for t in (source, target)]
        if (own[0] - own[1]) * np.sign(setting.register_gap) < 12 * abs(setting.register_gap):
            return None
        notes, example = ((c - WINDOW // 2, c + WINDOW // 2) for c in own)
        return notes, example
    low, high = max(target.low, 36), min(target.high, 92)
    centres = _centres(low, high, setting.octave_gap, rng)
    if centres is None:
        return None
    half = min(WINDOW, high - low) // 2 if setting.octave_gap is not None else (high - low) // 2
    notes, example = ((c - half, c + half) for c in centres)
    return notes, example


def _centres(
    low: int, high: int, gap: int | None, rng: np.random.Generator
) -> tuple[int, int] | None:
    """Centres of the registers of notes and example, `gap` octaves apart (None: anywhere)."""
    middle = (low + high) // 2
    if gap is None:
        return (middle, middle) if high - low >= 12 else None
    room = high - low - WINDOW - 12 * abs(gap)
    if room < 0:
        return None
    lower = low + WINDOW // 2 + int(rng.integers(room + 1))
    upper = lower + 12 * abs(gap)
    return (upper, lower) if gap > 0 else (lower, upper)
