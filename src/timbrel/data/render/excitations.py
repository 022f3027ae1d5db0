"""Excitations: how the partials of each kind of modelled instrument live through a note.

Each gives a matrix of envelopes, a row a moment and a column a partial, before the body.
No partial is as steady as the others: strings fade in two stages and beat, tubes brighten as
they swell, vowels move.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from timbrel.data.render.instruments import MODES, MOST_PARTIALS, Instrument

CONTROL = 345  # points a second of a partial's envelope


@dataclass(frozen=True)
class Stroke:
    """What the player does once.

    Attributes:
        hz: (partials,) frequencies.
        order: (partials,) number of each, from 1.
        time: (points, 1) seconds since the onset.
        cutoff_hz: above which the excitation falls.
        rng: of what differs from note to note.
    """

    hz: np.ndarray
    order: np.ndarray
    time: np.ndarray
    cutoff_hz: float
    rng: np.random.Generator

    def rise(self, seconds: float | np.ndarray) -> np.ndarray:
        """From 0 to 1: (points, 1), or (points, partials) if each has a time."""
        rising: np.ndarray = 1 - np.exp(-self.time / seconds)
        return rising

    def softened(self, cutoff_hz: float | np.ndarray, order: float = 2.0) -> np.ndarray:
        """Amplitudes left below a cutoff; (points, partials) if it moves."""
        return 1 / (1 + (self.hz / cutoff_hz) ** order)


def _plucked(own: Instrument, stroke: Stroke) -> np.ndarray:
    """A string that is plucked or hammered: two polarisations, one of which rings on."""
    place = own.position * float(np.exp(0.04 * stroke.rng.standard_normal()))
    comb = np.abs(np.sin(np.pi * place * stroke.order)) + 0.03
    amplitude = stroke.order**-own.tilt * comb * stroke.softened(stroke.cutoff_hz)
    slow = own.decay * (260 / stroke.hz[0]) ** 0.6 / (1 + own.damping * (stroke.hz / 1_000) ** 1.2)
    slow = np.maximum(slow * np.exp(own.trait(2).normal(0, 0.25, MOST_PARTIALS))[: len(slow)], 0.05)
    lasting = own.trait(3).uniform(0.1, 0.6, MOST_PARTIALS)[: len(slow)]
    return amplitude * stroke.rise(0.001) * _doublet(own, stroke, slow, lasting)


def _struck(own: Instrument, stroke: Stroke) -> np.ndarray:
    """A bar, plate or membrane: few modes, which a hard mallet brings out."""
    count = len(MODES[0]) + 10
    level = own.trait(2).uniform(-10, 0, count) - 14 * (np.arange(count) >= len(MODES[0]))
    amplitude = 10 ** (level[stroke.order - 1] / 20) * stroke.softened(stroke.cutoff_hz)
    gain = own.body.gain(stroke.hz)
    # the pitch is that of the first: no other may drown it
    most = 0.3 * gain[0] / gain
    amplitude = np.minimum(
        amplitude / max(amplitude[0], 1e-6), np.where(stroke.order == 1, 1, most)
    )
    fade = (
        own.decay * (260 / stroke.hz[0]) ** 0.5 / (stroke.hz / stroke.hz[0]) ** (0.8 + own.damping)
    )
    lasting = own.trait(3).uniform(0.3, 0.9, count)[stroke.order - 1]
    motor = 1 + 0.5 * own.movement * (own.position > 0.35) * np.sin(
        2 * np.pi * own.vibrato_hz * stroke.time + stroke.rng.uniform(0, 2 * np.pi)
    )
    rung = _doublet(
        own, stroke, np.maximum(fade, np.where(stroke.order == 1, 0.08, 0.015)), lasting
    )
    return amplitude * stroke.rise(0.0008) * motor * rung


def _doublet(own: Instrument, stroke: Stroke, fade: np.ndarray, lasting: np.ndarray) -> np.ndarray:
    """Two oscillations a few cents apart, of which the stronger fades faster."""
    apart = stroke.hz * (2 ** (own.detune_cents / 2_400) - 1) * own.trait(4).uniform(0.3, 1)
    turn = np.exp(1j * np.pi * np.minimum(apart, CONTROL / 4) * stroke.time)
    first = np.exp(-stroke.time / (0.3 * fade)) * (1 - lasting)
    rung: np.ndarray = first * turn.conj() + lasting * np.exp(-stroke.time / fade) * turn
    return rung


def _blown(own: Instrument, stroke: Stroke) -> np.ndarray:
    """A tube: the louder it is, while it swells too, the brighter."""
    effort = stroke.rise(own.attack) * (1 + 0.5 * own.movement * np.exp(-stroke.time / 0.07))
    effort = effort * (1 - (1 - own.sustain) * 0.5 * stroke.rise(own.pace))
    amplitude = stroke.order ** -(0.6 * own.tilt) * np.where(stroke.order % 2, 1, 1 - own.odd)
    bright = stroke.cutoff_hz * (0.15 + 0.85 * np.minimum(effort, 1.3) ** (0.5 + own.resonance / 3))
    # each partial speaks in its own time
    speaks = own.attack * np.exp(stroke.rng.normal(0, 0.4, len(stroke.hz)))
    return amplitude * effort * stroke.rise(speaks) * stroke.softened(bright, 2 + own.tilt)


def _bowed(own: Instrument, stroke: Stroke) -> np.ndarray:
    """A string under a bow (Helmholtz's motion): a sawtooth with a comb of where it is bowed."""
    place = own.position * float(np.exp(0.08 * stroke.rng.standard_normal()))
    amplitude = (np.abs(np.sin(np.pi * place * stroke.order)) + 0.06) / stroke.order
    catches = own.attack * (0.6 + own.damping * 0.05 * stroke.order)
    catches = catches * np.exp(stroke.rng.normal(0, 0.5, len(stroke.hz)))
    pressure = 1 - (1 - own.sustain) * 0.5 * np.cos(np.pi * np.minimum(stroke.time / own.pace, 1))
    bright = stroke.cutoff_hz * (0.5 + pressure)
    return amplitude * pressure * stroke.rise(catches) * stroke.softened(bright, 1.5)


def _vocal(own: Instrument, stroke: Stroke) -> np.ndarray:
    """A reed or glottis with formants that move from one vowel towards another."""
    rng = own.trait(2)
    centre = np.array([500, 1_400, 2_600, 3_600]) * np.exp(rng.uniform(-0.5, 0.5, (2, 4)))
    width = 70 * np.exp(rng.uniform(0, 1.4, 4)) * np.sqrt(centre[0] / 500)
    strength = 10 ** (rng.uniform((-3, -14, -20, -26), (0, 0, -3, -6)) / 20)
    moved = own.movement * (1 - np.exp(-stroke.time / own.pace))
    heard = np.full((len(stroke.time), len(stroke.hz)), 0.03)
    for (start, end), wide, strong in zip(centre.T, width, strength, strict=True):
        near = (stroke.hz - start * (end / start) ** moved) / wide
        heard = heard + strong / np.sqrt(1 + near**2)
    source = stroke.order ** -(0.4 + 0.7 * own.tilt) * np.where(stroke.order % 2, 1, 1 - own.odd)
    return source * heard * stroke.rise(own.attack) * stroke.softened(stroke.cutoff_hz, 1.5)


def _analogue(own: Instrument, stroke: Stroke) -> np.ndarray:
    """An oscillator (saw, pulse, or several saws) into a resonant low-pass that moves."""
    wave = int(own.trait(2).integers(3))
    wander = 0.1 * own.movement * np.sin(2 * np.pi * stroke.time / own.pace)
    amplitude = np.ones((1, 1)) / stroke.order
    if wave == 1:
        width = np.clip(own.position + wander, 0.03, 0.5)
        amplitude = amplitude * np.sin(np.pi * stroke.order * width)
    elif wave == 2 and own.detune_cents:
        spread = own.detune_cents * np.array([-1, -0.6, -0.25, 0.0, 0.3, 0.55, 0.95]) / 1_200
        beat = np.minimum(np.abs(stroke.hz), 6_000)  # what beats faster than `CONTROL` cannot
        turn = stroke.time * (2**spread - 1) + stroke.rng.random(7) * 1e-2
        voices = sum(np.exp(2j * np.pi * beat * turn[:, [k]]) for k in range(7))
        amplitude = amplitude * (1.5 + voices)
    opened = own.sweep * np.exp(-stroke.time / own.pace)
    cutoff = np.clip(stroke.cutoff_hz * 2**opened, 150, 18_000)
    ratio = stroke.hz / np.maximum(cutoff, 0.8 * stroke.hz[0])
    low_pass = 1 / np.sqrt((1 - ratio**2) ** 2 + (ratio / own.resonance) ** 2)
    return amplitude * low_pass * _contour(own, stroke, stroke.rise(own.attack))


def _evolving(own: Instrument, stroke: Stroke) -> np.ndarray:
    """A path through three spectra, on which each partial comes and goes in its own time."""
    rng = own.trait(2)
    count = len(stroke.hz)
    tables = rng.normal(0, rng.uniform(4, 12), (3, MOST_PARTIALS))[:, :count]
    tables[:, 0] = np.maximum(tables[:, 0], 0)  # the written pitch is always there
    cycle = 0.5 - 0.5 * np.cos(2 * np.pi * stroke.time / (2 * own.pace) * (rng.random() < 0.5))
    place = 2 * own.movement * np.where(cycle > 0, cycle, stroke.rise(own.pace))
    near, far = np.minimum(place, 1), np.maximum(place - 1, 0)
    db = tables[0] + near * (tables[1] - tables[0]) + far * (tables[2] - tables[1])
    amplitude = 10 ** (db / 20) * stroke.order**-own.tilt * stroke.softened(stroke.cutoff_hz, 1.5)
    comes = own.attack * np.exp(rng.normal(0, 0.6, MOST_PARTIALS))[:count]
    return amplitude * _contour(own, stroke, stroke.rise(comes))


def _contour(own: Instrument, stroke: Stroke, rising: np.ndarray) -> np.ndarray:
    """Attack, decay and sustain; high partials decay faster."""
    fade = own.decay / (1 + own.damping * (stroke.order - 1) * 0.2)
    shape: np.ndarray = rising * (own.sustain + (1 - own.sustain) * np.exp(-stroke.time / fade))
    return shape


EXCITATIONS: dict[str, Callable[[Instrument, Stroke], np.ndarray]] = {
    "plucked": _plucked,
    "blown": _blown,
    "bowed": _bowed,
    "struck": _struck,
    "vocal": _vocal,
    "analogue": _analogue,
    "evolving": _evolving,
}
