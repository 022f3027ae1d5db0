"""Timbres: an instrument with its effects, and which split it belongs to.

Fonts share recordings, so splits go by recording family, never by file
(docs/data.md): a model is trained on fonts of free licence and on the synthesiser's
training region; other families and some programs are heard only in validation and test.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from timbrel.data.render.effects import Effects
from timbrel.data.render.expression import Manner
from timbrel.data.render.hybrids import Hybrid, Source
from timbrel.data.render.instruments import RANGES as INSTRUMENT_RANGES
from timbrel.data.render.instruments import Instrument
from timbrel.data.render.modelled import render_instrument
from timbrel.data.render.phrases import KITS
from timbrel.data.render.recording import Recording, replay
from timbrel.data.render.shares import USUAL, Shares
from timbrel.data.render.soundfont import Preset, SoundFont
from timbrel.data.render.styles import (
    BASS,
    BRASS,
    ENSEMBLE,
    ETHNIC,
    GUITAR,
    PIPE,
    REED,
    STRINGS,
    SYNTH_LEAD,
    SYNTH_PAD,
)
from timbrel.data.render.synth import Patch, render_kit, render_patch
from timbrel.errors import DataError
from timbrel.notes import Notes

# One or two programs of every General MIDI family that no training item plays.
HELD_OUT = frozenset({5, 11, 15, 20, 27, 35, 42, 46, 57, 66, 71, 75})
PERCUSSIVE = range(112, 119)  # steel drums, wood blocks, toms: pitched more or less, not judged
SOUND_EFFECTS = range(119, 128)  # noises: nobody plays them
SYNTH_EFFECTS = range(96, 104)  # too diffuse to judge notes by
WIDEN = 5  # semitones beyond an instrument's natural range: register belongs to structure
DRUM_SHARE = 0.06
SPLITS = {"train": 0, "valid": 1, "test": 2}
# What drum scores strike; kits without one of these would be silent there.
KIT_PIECES = frozenset(piece for kit in KITS for piece in kit)
# General MIDI families whose players bend notes: not keyboards, and nothing that is struck.
BENDABLE = frozenset(
    {GUITAR, BASS, STRINGS, ENSEMBLE, BRASS, REED, PIPE, SYNTH_LEAD, SYNTH_PAD, ETHNIC}
)
# (programs, lowest, highest, voices): natural ranges in General MIDI order
RANGES = (
    (range(0, 8), 28, 100, 6),
    (range(8, 16), 55, 100, 4),
    (range(16, 24), 36, 92, 5),
    (range(24, 32), 40, 86, 5),
    (range(32, 40), 28, 62, 1),
    (range(40, 41), 55, 98, 2),
    (range(41, 42), 48, 90, 2),
    (range(42, 43), 36, 78, 2),
    (range(43, 44), 28, 62, 1),
    (range(44, 46), 43, 90, 3),
    (range(46, 47), 30, 98, 5),
    (range(47, 48), 36, 57, 1),
    (range(48, 56), 36, 86, 5),
    (range(56, 57), 52, 86, 1),
    (range(57, 58), 40, 74, 1),
    (range(58, 59), 28, 60, 1),
    (range(59, 60), 52, 84, 1),
    (range(60, 61), 38, 79, 1),
    (range(61, 64), 40, 84, 4),
    (range(64, 66), 49, 88, 1),
    (range(66, 68), 36, 76, 1),
    (range(68, 70), 52, 91, 1),
    (range(70, 71), 34, 74, 1),
    (range(71, 72), 50, 92, 1),
    (range(72, 80), 60, 100, 1),
    (range(80, 88), 36, 96, 3),
    (range(88, 104), 36, 86, 5),
    (range(104, 112), 45, 90, 3),
    (PERCUSSIVE, 48, 84, 2),
)


@dataclass(frozen=True)
class Timbre:
    """A sound that can play notes.

    Attributes:
        source: a synthesiser patch, a modelled instrument, or a font with a preset.
        effects: room, equaliser, drive: part of the sound.
        identity: unique name.
        family: of recordings, joined by + if a layer has others; families never cross splits.
        licence: of the recordings, likewise.
        low: lowest pitch that its scores use.
        high: highest pitch that its scores use.
        voices: most notes at once.
        drums: whether pitches name pieces of a kit.
        recording: through what it was recorded; None: it was not.
        hybrid: what makes another instrument of the source; None: nothing.
    """

    source: Source
    effects: Effects
    identity: str
    family: str
    licence: str
    low: int
    high: int
    voices: int
    drums: bool = False
    group: int = field(default=-1)  # General MIDI family (program // 8), or -1
    manner: Manner = field(default=Manner())  # how its player plays
    recording: Recording | None = None
    hybrid: Hybrid | None = None

    @property
    def playable(self) -> tuple[int, int]:
        """Lowest and highest pitch that sound at all, however unusual."""
        if not isinstance(self.source, tuple):
            return 0, 127
        moved = self._transposition
        return self.source[1].low - moved, self.source[1].high - moved

    def sounding(self, pitches: Iterable[int]) -> list[bool]:
        """Whether each of some pitches sounds: within its range, a preset may lack some."""
        if not isinstance(self.source, tuple):
            return [True for _ in pitches]
        return [pitch + self._transposition in self.source[1].keys for pitch in pitches]

    @property
    def instrument(self) -> str:
        """What kind of instrument it is, for people."""
        if self.drums:
            return "drums"
        if isinstance(self.source, Patch):
            return f"synth {self.source.kind}"
        if isinstance(self.source, Instrument):
            return f"modelled {self.source.kind}"
        return self.source[1].name

    @property
    def bendable(self) -> bool:
        """Whether its notes can be bent and swell once they sound."""
        if self.drums:
            return False
        if isinstance(self.source, Patch):
            return self.source.kind not in ("bell", "organ")
        if isinstance(self.source, Instrument):
            return self.source.bendable
        return self.group in BENDABLE

    @property
    def _transposition(self) -> int:
        """Semitones by which the source plays higher than is heard; pieces of a kit stay."""
        return -self.hybrid.semitones if self.hybrid and not self.drums else 0

    def render(self, notes: Notes, seconds: float, rate: int = 44_100) -> np.ndarray:
        """(2, samples) float32 as its player plays, with effects, peak at most 1."""
        # what is played slower and replayed faster is in time, but sounds higher: out of tune,
        # or, if it was played lower, of a smaller instrument
        speed = (self.recording.speed if self.recording else 1.0) * (
            self.hybrid.speed if self.hybrid else 1.0
        )
        slow = replace(notes, onset=notes.onset * speed, offset=notes.offset * speed)
        count = round(seconds * rate)
        length = math.ceil(count * speed) / rate
        dry = self._dry(slow.transpose(self._transposition), length, rate)
        wet = self.effects.apply(replay(dry, speed, count), rate)
        if self.recording is not None:
            wet = self.recording.apply(wet, rate)
        return wet / max(1.0, float(np.abs(wet).max(initial=0)))

    def _dry(self, notes: Notes, seconds: float, rate: int) -> np.ndarray:
        """(2, samples), by the player on the instrument alone."""
        cents = self.manner.cents(notes, seconds) if self.manner.bends else None
        dry = self._sound(self.source, notes, seconds, rate, cents)
        if self.hybrid is not None and self.hybrid.layer is not None:
            layer = self._sound(self.hybrid.layer, notes, seconds, rate, cents)
            dry = self.hybrid.mixed(dry, layer)
        return dry * self.manner.gain(notes, seconds, rate) if self.manner.swell_db else dry

    def _sound(
        self, source: Source, notes: Notes, seconds: float, rate: int, cents: np.ndarray | None
    ) -> np.ndarray:
        """(2, samples) of one source."""
        if isinstance(source, tuple):
            font, preset = source
            return font.render(preset, notes, seconds, rate, cents)
        if isinstance(source, Instrument):
            return render_instrument(source, notes, seconds, rate, cents)
        if self.drums:
            return render_kit(source, notes, seconds, rate)
        return render_patch(source, notes, seconds, rate, cents)


def natural_range(program: int) -> tuple[int, int, int]:
    """(lowest pitch, highest pitch, voices) of a General MIDI program."""
    for programs, low, high, voices in RANGES:
        if program in programs:
            return low, high, voices
    return 40, 88, 3


def in_split(font: SoundFont, preset: Preset, split: str) -> bool:
    """Whether a split may use a preset.

    Training: free fonts without the held-out programs; only it has percussion with pitches.
    Validation: even programs of the "timgm" family. Test: odd ones of it, the "opl3" family,
    unknown fonts, and the held-out programs of free fonts.
    """
    if preset.drums:
        home = "train" if font.free else "valid" if font.family == "timgm" else "test"
        return split == home
    if preset.program in SOUND_EFFECTS:
        return False
    if preset.program in PERCUSSIVE:
        return font.free and split == "train"
    if font.free:
        held_out = preset.program in HELD_OUT
        return (split == "train" and not held_out) or (split == "test" and held_out)
    if preset.program in SYNTH_EFFECTS:
        return False
    if font.family == "timgm":
        return split == ("valid" if preset.program % 2 == 0 else "test")
    return split == "test"


def draw_timbres(
    seed: int,
    count: int,
    split: str,
    fonts: list[SoundFont],
    shares: Shares = USUAL,
    percussive: bool = True,
) -> list[Timbre]:
    """Draw timbres of a split, the same ones for the same arguments.

    Args:
        seed: of all draws.
        count: how many.
        split: "train", "valid" or "test".
        fonts: those to choose from; none means the synthesiser alone.
        shares: of timbres; those of scores and mixes change nothing here.
        percussive: whether there is percussion with pitches; judges of notes mean little there.

    Returns:
        `count` timbres; more of them begin with the same ones.

    Raises:
        DataError: there is no such split.
    """
    if split not in SPLITS:
        raise DataError(f"there is no split '{split}'; choose train, valid or test")
    rng = np.random.default_rng([seed, SPLITS[split]])
    chain = np.random.default_rng([seed, SPLITS[split], 1])
    presets = [(f, p) for f in fonts for p in f.presets() if in_split(f, p, split)]
    kits = [entry for entry in presets if entry[1].drums and entry[1].keys >= KIT_PIECES]
    tones = [
        entry
        for entry in presets
        if not entry[1].drums and (percussive or entry[1].program not in PERCUSSIVE)
    ]
    timbres = []
    for number in range(count):
        drums = rng.random() < DRUM_SHARE
        choices = kits if drums else tones
        if choices and rng.random() >= shares.synthesised:
            timbre = _from_font(choices, rng, number, drums)
        else:
            timbre = _from_patch(rng, split, number, drums)
        # streams of their own: the shares change nothing else
        builder = np.random.default_rng([seed, SPLITS[split], number, 85])
        if not timbre.drums and builder.random() < shares.modelled:
            timbre = _modelled(timbre, builder, split, number)
        if chain.random() < shares.recorded:
            timbre = replace(timbre, recording=Recording.draw(chain))
        player = np.random.default_rng([seed, SPLITS[split], number, 83])
        if timbre.bendable and player.random() < shares.expressive:
            timbre = replace(timbre, manner=_manner(timbre, player))
        maker = np.random.default_rng([seed, SPLITS[split], number, 84])
        if maker.random() < shares.hybrids:
            other = maker.random() >= shares.synthesised and choices
            layer = choices[int(maker.integers(len(choices)))] if other else None
            second: Source = layer or Patch.draw(maker, split)
            if not timbre.drums and builder.random() < shares.modelled:
                second = Instrument.draw(builder, split)
            timbre = _hybrid(timbre, maker, second)
        timbres.append(timbre)
    return timbres


def _hybrid(timbre: Timbre, rng: np.random.Generator, other: Source) -> Timbre:
    """Another instrument; a smaller one plays higher, and a layer's recordings are heard, too."""
    hybrid = Hybrid.draw(rng, other)
    moved = 0 if timbre.drums else hybrid.semitones
    low, high = max(21, timbre.low + moved), min(108, timbre.high + moved)
    timbre = replace(timbre, hybrid=hybrid, low=low, high=high)
    if not isinstance(hybrid.layer, tuple):  # our own
        return timbre
    font = hybrid.layer[0]
    family, licence = joined(timbre.family, font.family), joined(timbre.licence, font.licence)
    return replace(timbre, family=family, licence=licence)


def joined(*names: str) -> str:
    """Families or licences as one name, each once, even if some are joined already."""
    return "+".join(sorted({part for name in names for part in name.split("+")}))


def _manner(timbre: Timbre, rng: np.random.Generator) -> Manner:
    """How somebody plays it; a sound that sways by itself is given no second vibrato."""
    manner = Manner.draw(rng)
    if not isinstance(timbre.source, tuple) and timbre.source.vibrato_cents:
        manner = replace(manner, vibrato_cents=0.0)
    return manner


def _from_font(
    choices: list[tuple[SoundFont, Preset]], rng: np.random.Generator, number: int, drums: bool
) -> Timbre:
    font, preset = choices[int(rng.integers(len(choices)))]
    low, high, voices = natural_range(preset.program)
    low, high = max(low - WIDEN, preset.low, 21), min(high + WIDEN, preset.high, 108)
    if high - low < 12:
        low, high = preset.low, preset.high
    return Timbre(
        source=(font, preset),
        effects=Effects.draw(rng),
        identity=f"{number}-{font.path.stem}-{preset.bank}-{preset.program}",
        family=font.family,
        licence=font.licence,
        low=low,
        high=high,
        voices=voices,
        drums=drums,
        group=-1 if drums else preset.program // 8,
    )


def _from_patch(rng: np.random.Generator, split: str, number: int, drums: bool) -> Timbre:
    patch = Patch.draw(rng, split)
    centre = int(rng.integers(48, 78))
    return Timbre(
        source=patch,
        effects=Effects.draw(rng),
        identity=f"{number}-{patch.name}",
        family=f"synth-{split}",
        licence="own",
        low=max(21, centre - 24),
        high=min(108, centre + 24),
        voices=int(rng.choice([1, 3, 5])),
        drums=drums,
    )


def _modelled(timbre: Timbre, rng: np.random.Generator, split: str, number: int) -> Timbre:
    """A modelled instrument with the effects of another timbre; it has a part of its range."""
    own = Instrument.draw(rng, split)
    lowest, highest, voices = INSTRUMENT_RANGES[own.kind]
    width = int(rng.integers(30, 49))
    low = int(rng.integers(lowest, max(lowest, highest - width) + 1))
    return replace(
        timbre,
        source=own,
        identity=f"{number}-{own.name}",
        family=f"modelled-{split}",
        licence="own",
        low=low,
        high=min(highest, low + width),
        voices=int(rng.choice(voices)),
        group=-1,
    )
