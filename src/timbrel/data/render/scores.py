"""Procedural scores: many styles, every pitch, velocity and length that an instrument has."""

from collections.abc import Callable

import numpy as np

from timbrel.data.render.phrases import KITS, Row, Setting, line, played, stack, strikes
from timbrel.notes import Notes, Track

SCALES = (
    (0, 2, 4, 5, 7, 9, 11),
    (0, 2, 3, 5, 7, 8, 10),
    (0, 2, 3, 5, 7, 9, 10),
    (0, 2, 4, 5, 7, 9, 10),
    (0, 2, 3, 5, 7, 8, 11),
    (0, 2, 4, 7, 9),
    (0, 3, 5, 7, 10),
    tuple(range(12)),
)
PROGRESSIONS = ((0, 4, 5, 3), (0, 3, 4, 4), (1, 4, 0, 0), (5, 3, 0, 4), (0, 5, 1, 4), (0, 6, 5, 4))
HELD_MOST = 14.0  # seconds
# of each piece of `KITS`
DRUM_DENSITY = np.array([0.35, 0.2, 0.8, 0.12, 0.05, 0.12])


def _counterpoint(s: Setting) -> list[Row]:
    """Independent lines."""
    return [row for _ in range(min(s.voices, 3)) for row in line(s)]


def _double(s: Setting) -> list[Row]:
    """A line with some double stops."""
    return line(s, double=True)


def _chord(s: Setting, root: int) -> list[int]:
    """Stacked thirds on a degree of the scale, as many as the voices allow or fewer."""
    return stack(s.degrees, root, int(s.rng.integers(2, max(3, s.voices + 1))))


def _chords(s: Setting) -> list[Row]:
    """Blocked or strummed chords over a progression."""
    rows: list[Row] = []
    roots = PROGRESSIONS[int(s.rng.integers(len(PROGRESSIONS)))]
    start = int(s.rng.integers(max(1, len(s.degrees) - 9)))
    bar, strum = s.beat * float(s.rng.choice([2, 4])), float(s.rng.choice([0, 0, 0.012, 0.03]))
    time, count = 0.0, 0
    while time < s.seconds:
        chord, hits = _chord(s, start + roots[count % 4]), int(s.rng.choice([1, 2, 4]))
        for hit in range(hits):
            at = time + hit * bar / hits
            for k, pitch in enumerate(chord):
                end = at + strum * k + bar / hits * s.legato
                rows.append((at + strum * k, end, pitch, s.velocity()))
        time, count = time + bar, count + 1
    return rows


def _arpeggio(s: Setting) -> list[Row]:
    """Broken chords, up, down or at random, straight or swung."""
    rows: list[Row] = []
    roots = PROGRESSIONS[int(s.rng.integers(len(PROGRESSIONS)))]
    start = int(s.rng.integers(max(1, len(s.degrees) - 9)))
    step, order = s.beat * float(s.rng.choice([0.25, 0.5])), int(s.rng.integers(3))
    ring = 2.5 if s.voices > 1 and s.rng.random() < 0.3 else 1.0
    for count in range(int(s.seconds / step)):
        if count % 8 == 0:
            chord = _chord(s, start + roots[(count // 8) % 4])
        pick = (count, -1 - count, int(s.rng.integers(99)))[order] % len(chord)
        at = count * step + (s.swing * step if count % 2 else 0)
        rows.append((at, at + step * s.legato * ring, chord[pick], s.velocity()))
    return rows


def _runs(s: Setting) -> list[Row]:
    """Scales up and down."""
    rows: list[Row] = []
    index, way = int(s.rng.integers(len(s.degrees))), 1
    step = s.beat * float(s.rng.choice([0.25, 0.5, 0.5, 1]))
    for count in range(int(s.seconds / step)):
        rows.append((count * step, (count + s.legato) * step, s.degrees[index], s.velocity()))
        if not 0 <= index + way < len(s.degrees) or s.rng.random() < 0.07:
            way = -way
        index = int(np.clip(index + way, 0, len(s.degrees) - 1))
    return rows


def _repeats(s: Setting) -> list[Row]:
    """The same note or chord again and again, then another."""
    rows: list[Row] = []
    time = 0.0
    while time < s.seconds:
        chord = _chord(s, int(s.rng.integers(len(s.degrees))))[: max(1, s.voices - 1)]
        step = s.beat * float(s.rng.choice([0.25, 0.5, 1]))
        for _ in range(int(s.rng.integers(2, 9))):
            rows += [(time, time + step * s.legato, pitch, s.velocity()) for pitch in chord]
            time += step
    return rows


def _cover(s: Setting) -> list[Row]:
    """Uniform pitch, velocity, log-duration and polyphony: nothing stays unheard."""
    rows: list[Row] = []
    time = 0.0
    while time < s.seconds:
        length = float(np.exp(s.rng.uniform(np.log(0.08), np.log(2.5))))
        count = int(s.rng.integers(1, min(s.voices, s.high - s.low + 1) + 1))
        for pitch in s.rng.choice(np.arange(s.low, s.high + 1), count, replace=False):
            rows.append((time, time + length, int(pitch), float(s.rng.integers(16, 128))))
        time += length * s.rng.uniform(0.9, 1.4)
    return rows


def _pads(s: Setting) -> list[Row]:
    """Long chords that overlap a little."""
    rows: list[Row] = []
    time = 0.0
    while time < s.seconds:
        length = s.beat * float(s.rng.choice([4, 8]))
        chord = _chord(s, int(s.rng.integers(max(1, len(s.degrees) - 6))))
        rows += [(time, time + 1.05 * length, pitch, s.velocity()) for pitch in chord]
        time += length
    return rows


def _held(s: Setting) -> list[Row]:
    """Notes and chords that are held until long after a struck or plucked sound has died away."""
    rows: list[Row] = []
    time = float(s.rng.uniform(0, 1))
    while time < s.seconds:
        length = float(np.exp(s.rng.uniform(np.log(2), np.log(HELD_MOST))))
        chord = _chord(s, int(s.rng.integers(len(s.degrees))))[: s.voices]
        rows += [(time, time + length * s.rng.uniform(0.5, 1), p, s.velocity()) for p in chord]
        time += length * s.rng.uniform(0.5, 1.2)
    if s.voices > 1 and s.rng.random() < 0.4:  # something moves meanwhile
        rows += line(s)
    return rows


def _drums(s: Setting) -> list[Row]:
    """A 16-step pattern with variations."""
    kit = KITS[int(s.rng.random() < 0.3)]
    pattern = s.rng.random((6, 16)) < DRUM_DENSITY[:, None]
    pattern[0, 0] = pattern[1, 4] = pattern[1, 12] = True
    return strikes(s, pattern, kit)


POLYPHONIC: dict[str, Callable[[Setting], list[Row]]] = {
    "melody": line,
    "double": _double,
    "counterpoint": _counterpoint,
    "chords": _chords,
    "arpeggio": _arpeggio,
    "runs": _runs,
    "repeats": _repeats,
    "cover": _cover,
    "pads": _pads,
}
MONOPHONIC = ("melody", "melody", "arpeggio", "runs", "repeats", "cover")
STYLES = (*POLYPHONIC, "held", "drums")  # the last two are played where they are asked for


def draw_score(
    rng: np.random.Generator,
    seconds: float,
    low: int = 36,
    high: int = 96,
    voices: int = 4,
    style: str | None = None,
    drums: bool = False,
) -> Notes:
    """Draw a score.

    Args:
        rng: source of everything drawn.
        seconds: notes begin before this time.
        low: lowest pitch.
        high: highest pitch.
        voices: most notes at once that styles aim at; 1 is strictly monophonic.
        style: one of `STYLES`, or drawn from those that all instruments play.
        drums: a drum pattern on General MIDI kit pieces.

    Returns:
        One track; no two notes overlap at one pitch.
    """
    if drums:
        style = "drums"
    elif style is None:
        style = str(rng.choice(MONOPHONIC if voices == 1 else list(POLYPHONIC)))
    key, scale = int(rng.integers(12)), SCALES[int(rng.integers(len(SCALES)))]
    degrees = [p for p in range(low, high + 1) if (p - key) % 12 in scale] or [low]
    setting = Setting(
        rng=rng,
        seconds=seconds,
        beat=60 / float(np.exp(rng.uniform(np.log(55), np.log(180)))),
        degrees=degrees,
        low=low,
        high=high,
        voices=voices,
        loudness=float(rng.uniform(45, 110)),
        spread=float(rng.uniform(2, 16)),
        legato=float(rng.uniform(0.35, 1.05)),
        swing=float(rng.choice([0, 0, 0, 0.12, 0.2])),
    )
    rows = {**POLYPHONIC, "held": _held, "drums": _drums}[style](setting)
    jitter = float(rng.choice([0, 0.004, 0.012]))
    pedal = style not in ("drums", "cover", "held") and voices > 2 and rng.random() < 0.2
    rows = played(
        rows,
        rng,
        seconds,
        jitter,
        pedal_seconds=4 * setting.beat if pedal else 0.0,
        monophonic=voices == 1 and style != "drums",
    )
    return Notes.from_rows(rows, tracks=(Track("score", 0, style == "drums"),))
