"""Pieces for an ensemble: roles in a style, over a common key, tempo and progression."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from timbrel.data.render.phrases import KITS, Row, Setting, line, played, stack, strikes
from timbrel.data.render.styles import STYLES, Style
from timbrel.errors import DataError
from timbrel.notes import Notes, Track

# Lowest and highest pitch of each role; whoever plays a role must reach all of it.
RANGES = {"bass": (28, 51), "chords": (50, 75), "lead": (57, 86), "pad": (48, 73)}
PAD_SHARE = 0.6  # of the pieces; the other roles are always there
ACCENT = 8.0  # velocity: how much louder a bar begins


@dataclass(frozen=True)
class Piece:
    """What an ensemble plays.

    Attributes:
        style: one of `STYLES`.
        key: pitch class of the tonic.
        scale: pitch classes above it.
        tempo: beats per minute.
        progression: degree of the scale for each bar, repeated.
        parts: notes of each role, one track each.
    """

    style: str
    key: int
    scale: tuple[int, ...]
    tempo: float
    progression: tuple[int, ...]
    parts: dict[str, Notes]

    @cached_property
    def notes(self) -> Notes:
        """All parts, a track each."""
        rows = [
            (*row, number)
            for number, part in enumerate(self.parts.values())
            for row in zip(part.onset, part.offset, part.pitch, part.velocity, strict=True)
        ]
        return Notes.from_rows(rows, tuple(part.tracks[0] for part in self.parts.values()))

    @property
    def bar_seconds(self) -> float:
        """Length of a bar."""
        return STYLES[self.style].beats * 60 / self.tempo

    def chord(self, seconds: float) -> list[int]:
        """Pitch classes of the chord at a time, from the root up."""
        bar = int(seconds / self.bar_seconds + 1e-6)
        root = self.progression[bar % len(self.progression)]
        octaves = [self.key + 12 * octave + step for octave in range(3) for step in self.scale]
        return [pitch % 12 for pitch in stack(octaves, root, STYLES[self.style].tones)]


def draw_piece(rng: np.random.Generator, seconds: float, style: str | None = None) -> Piece:
    """Draw a piece.

    Args:
        rng: source of everything drawn.
        seconds: notes begin before this time.
        style: one of `STYLES`, or drawn.

    Raises:
        DataError: there is no such style.
    """
    if style is None:
        style = str(rng.choice(list(STYLES)))
    if style not in STYLES:
        raise DataError(f"there is no style '{style}'; choose one of {', '.join(STYLES)}")
    manner = STYLES[style]
    frame = Piece(
        style=style,
        key=int(rng.integers(12)),
        scale=manner.scales[int(rng.integers(len(manner.scales)))],
        tempo=float(rng.uniform(*manner.tempo)),
        progression=manner.progressions[int(rng.integers(len(manner.progressions)))],
        parts={},
    )
    loudness = float(rng.uniform(60, 100))
    roles = [role for role in manner.roles if role != "pad" or rng.random() < PAD_SHARE]
    return replace(
        frame, parts={role: _part(frame, role, rng, seconds, loudness) for role in roles}
    )


def _part(
    piece: Piece, role: str, rng: np.random.Generator, seconds: float, loudness: float
) -> Notes:
    """Draw what one role plays."""
    style = STYLES[piece.style]
    low, high = RANGES.get(role, (0, 127))
    setting = Setting(
        rng=rng,
        seconds=seconds,
        beat=60 / piece.tempo,
        degrees=[p for p in range(low, high + 1) if (p - piece.key) % 12 in piece.scale],
        low=low,
        high=high,
        voices=1 if role in ("bass", "lead") else style.tones,
        loudness=loudness,
        spread=float(rng.uniform(2, 8)),
        legato=float(rng.uniform(0.6, 1.0)),
        length_odds=style.lead,
    )
    rows = _ROLES[role](piece, setting)
    rows = [(_swung(a, piece, style), _swung(b, piece, style), p, v) for a, b, p, v in rows]
    rows = played(rows, rng, seconds, style.loose, monophonic=setting.voices == 1)
    program = 0 if role == "drums" else 8 * style.families[role][0]
    return Notes.from_rows(rows, tracks=(Track(role, program, role == "drums"),))


def _swung(time: float, piece: Piece, style: Style) -> float:
    """A time (seconds) where the first half of every beat is longer and the rest shorter."""
    beat, place = divmod(time * piece.tempo / 60, 1)
    half = (1 + style.swing) / 2
    swung = place * 2 * half if place < 0.5 else half + (place - 0.5) * 2 * (1 - half)
    return (beat + swung) * 60 / piece.tempo


def _figure(
    piece: Piece,
    s: Setting,
    patterns: tuple[str, ...],
    sound: Callable[[str, float], list[int]],
) -> list[Row]:
    """One of the patterns over all bars; `sound` says which pitches a symbol at a time has."""
    pattern = patterns[int(s.rng.integers(len(patterns)))]
    step, bar = s.beat / 4, STYLES[piece.style].beats * 4
    symbols = [pattern[k % len(pattern)] for k in range(-(-int(s.seconds / step) // bar) * bar)]
    begins = [k for k, symbol in enumerate(symbols) if symbol != "."]
    rows: list[Row] = []
    for begin, end in itertools.pairwise([*begins, len(symbols)]):
        if symbols[begin] == "-":
            continue
        accent = ACCENT if begin % bar == 0 else 0.0
        for pitch in sound(symbols[begin], begin * step):
            until = (begin + (end - begin) * s.legato) * step
            rows.append((begin * step, until, pitch, s.velocity(accent)))
    return rows


def _bass(piece: Piece, s: Setting) -> list[Row]:
    """Roots, fifths, octaves, and steps between them."""

    def root(time: float) -> int:
        return s.low + (piece.chord(time)[0] - s.low) % 12

    def sound(symbol: str, time: float) -> list[int]:
        chord, lowest = piece.chord(time), root(time)
        tone = 2 if symbol == "f" else int(s.rng.integers(len(chord))) if symbol == "w" else 0
        if symbol == "o":
            return [lowest + 12]
        if symbol == "a":  # from above where there is nothing below
            following = root(time + piece.bar_seconds)
            return [following + (-1 if following > s.low and s.rng.random() < 0.5 else 1)]
        return [lowest + (chord[tone] - chord[0]) % 12]

    return _figure(piece, s, STYLES[piece.style].bass, sound)


def _harmony(piece: Piece, s: Setting, patterns: tuple[str, ...]) -> list[Row]:
    """Chords, whole or broken, in the inversion that lies nearest to a drawn centre."""
    lowest = int(s.rng.integers(s.low, s.high - 10))

    def sound(symbol: str, time: float) -> list[int]:
        voicing = sorted(lowest + (tone - lowest) % 12 for tone in piece.chord(time))
        return voicing if symbol == "x" else [voicing[int(symbol) % len(voicing)]]

    return _figure(piece, s, patterns, sound)


def _chords(piece: Piece, s: Setting) -> list[Row]:
    return _harmony(piece, s, STYLES[piece.style].chords)


def _pad(piece: Piece, s: Setting) -> list[Row]:
    return _harmony(piece, replace(s, legato=1.02), STYLES[piece.style].pad)


def _lead(piece: Piece, s: Setting) -> list[Row]:
    """A line in a register of its own, on chord tones at the beats."""
    first = int(s.rng.integers(max(1, len(s.degrees) - 9)))
    return line(replace(s, degrees=s.degrees[first : first + 10]), chord=piece.chord)


def _drums(piece: Piece, s: Setting) -> list[Row]:
    style = STYLES[piece.style]
    patterns = style.drums[int(s.rng.integers(len(style.drums)))]
    steps = max(len(pattern) for pattern in patterns)
    table = [[(p or ".")[k % len(p or ".")] == "x" for k in range(steps)] for p in patterns]
    return strikes(s, np.array(table), KITS[style.kit])


_ROLES: dict[str, Callable[[Piece, Setting], list[Row]]] = {
    "bass": _bass,
    "chords": _chords,
    "lead": _lead,
    "pad": _pad,
    "drums": _drums,
}
