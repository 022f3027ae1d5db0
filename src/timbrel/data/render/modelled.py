"""Notes played on modelled instruments.

A note is its partials' envelopes (`excitations.py`) times oscillators, and noise; the sum of
all notes goes through the instrument's body. No two notes are alike, as nobody plays twice the
same; the same notes sound the same each time.
"""

from functools import lru_cache

import numpy as np
from scipy import ndimage, signal

from timbrel.data.render.bodies import impulse_response
from timbrel.data.render.excitations import CONTROL, EXCITATIONS, Stroke
from timbrel.data.render.expression import CONTROL_HZ, advanced
from timbrel.data.render.instruments import Instrument
from timbrel.data.render.synth import finished
from timbrel.notes import Notes

NOISE_SECONDS = 3.0  # of an instrument's noise, which each note enters elsewhere
LEVELLED = 0.8  # share (dB) of the body's differences between notes that a player evens out
SLOPE = 0.12  # of a spectrum over frequency: by velocity, for an octave of sensitivity


def render_instrument(
    own: Instrument,
    notes: Notes,
    seconds: float,
    rate: int = 44_100,
    cents: np.ndarray | None = None,
) -> np.ndarray:
    """Play notes on a modelled instrument.

    Args:
        own: the instrument.
        notes: any polyphony.
        seconds: length of the result; what rings longer is cut.
        rate: Hz.
        cents: deviation from the written pitches, at `CONTROL_HZ` points per second.

    Returns:
        (2, samples) float32, peak at most 0.9.
    """
    total = round(seconds * rate)
    out = np.zeros(total, np.float32)
    clock = advanced(cents) if cents is not None else None
    for number, (onset, offset, pitch, velocity) in enumerate(
        zip(notes.onset, notes.offset, notes.pitch, notes.velocity, strict=True)
    ):
        start = round(float(onset) * rate)
        if not 0 <= start < total:
            continue
        # seeded by the note's number: a repeated note is another stroke
        rng = np.random.default_rng([own.seed, number, int(pitch)])
        held = min(float(offset - onset), seconds - start / rate)
        note = _note(own, int(pitch), velocity / 127, held, rate, rng, clock, start / rate)
        note = note[: total - start]
        out[start : start + len(note)] += note
    if len(notes):
        out = signal.oaconvolve(out, impulse_response(own.body, rate))[:total]
    return finished(out)


def _note(
    own: Instrument,
    pitch: int,
    velocity: float,
    held: float,
    rate: int,
    rng: np.random.Generator,
    clock: np.ndarray | None,
    onset: float,
) -> np.ndarray:
    """(samples,) of one note before the body, release included."""
    hop = round(rate / CONTROL)
    tail = 5 * own.release
    points = int((held + tail) * rate / hop) + 2
    seconds = np.arange(points) * (hop / rate)  # of the points
    turned = _turned(own, seconds, rng, clock, onset)
    # the oscillators run in steady time, which the player's clock then reads
    steps = int(turned[-1] * rate / hop) + 3
    time = np.arange(steps)[:, None] * (hop / rate)
    order, hz = own.partials(pitch, rate)
    effort = 2 ** (own.sensitivity * (velocity - 0.7) + rng.normal(0, 0.12))
    cutoff = own.cutoff_hz * effort * (hz[0] / 260) ** own.follow
    stroke = Stroke(hz, order, time, max(cutoff, 0.7 * hz[0]), rng)
    envelopes = EXCITATIONS[own.kind](own, stroke)
    # force steepens or flattens all of the spectrum, whatever a cutoff does
    envelopes = envelopes * (hz / hz[0]) ** (SLOPE * own.sensitivity * (velocity - 0.7))
    shimmer = own.shimmer_db * (
        _wander(rng, steps, hop / rate, 1) + 0.7 * _wander(rng, steps, hop / rate, len(hz))
    )
    envelopes = envelopes * 10 ** ((shimmer + rng.normal(0, 0.8, len(hz))) / 20)
    envelopes /= np.sqrt((np.abs(envelopes) ** 2).sum(1).max())
    heard = np.sqrt((np.abs(envelopes * own.body.gain(hz)) ** 2).sum(1).max())
    after = np.maximum(time - np.interp(held, seconds, turned), 0)
    damped = 1 + own.damping * np.minimum(hz / 2_000, 3)
    envelopes = envelopes * np.exp(-after / own.release * damped)
    phase = own.trait(5).uniform(0, 2 * np.pi, len(hz)) * own.trait(6).uniform(0, 1)
    wave = _oscillate(hz, envelopes * np.exp(1j * phase), hop, rate)
    count = (points - 1) * hop
    read = np.interp(np.arange(count) / hop, np.arange(points), turned) * rate
    wave = ndimage.map_coordinates(wave, [read], np.float32, order=3, mode="nearest")
    wave = wave / heard**LEVELLED + _noise(own, seconds, held, hz[0], velocity, rate, rng, count)
    fade = min(64, count)
    wave[count - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
    loudness = 0.25 * velocity**1.5 * 10 ** (rng.normal(0, 0.7) / 20)
    return (loudness * wave).astype(np.float32)


def _turned(
    own: Instrument,
    seconds: np.ndarray,
    rng: np.random.Generator,
    clock: np.ndarray | None,
    onset: float,
) -> np.ndarray:
    """(points,) what a clock shows that runs with the pitch, as it wanders, sways and is bent."""
    elapsed = seconds
    if clock is not None:
        reading = np.interp(seconds + onset, np.arange(len(clock)) / CONTROL_HZ, clock)
        elapsed = reading - reading[0]
        # beyond the end of the clock nothing is heard, but time goes on
        elapsed = elapsed + np.maximum(seconds + onset - (len(clock) - 1) / CONTROL_HZ, 0)
    cents = own.jitter_cents * _wander(rng, len(seconds), seconds[1], 1)[:, 0]
    cents += rng.normal(0, 1.2)
    if own.vibrato_cents:
        sway = np.sin(2 * np.pi * own.vibrato_hz * seconds + rng.uniform(0, 2 * np.pi))
        cents += own.vibrato_cents * sway * np.clip((seconds - 0.15) / 0.3, 0, 1)
    if own.jitter_cents > 1:  # blown, bowed, sung: the pitch is found within the attack
        cents += rng.normal(-10, 15) * np.exp(-seconds / (0.5 * own.attack + 0.01))
    steps = np.diff(elapsed) * 2 ** (cents[1:] / 1_200)
    return np.concatenate([[0.0], np.cumsum(steps)])


def _wander(rng: np.random.Generator, points: int, step: float, columns: int) -> np.ndarray:
    """(points, columns) of unit variance: lines between random values, 14 a second."""
    place = np.arange(points) * (14 * step)
    before = place.astype(int)
    knots = rng.standard_normal((before[-1] + 2, columns))
    part = (place - before)[:, None]
    lines: np.ndarray = knots[before] * (1 - part) + knots[before + 1] * part
    return lines * 1.22


def _oscillate(hz: np.ndarray, envelopes: np.ndarray, hop: int, rate: int) -> np.ndarray:
    """The sum of partials: (partials,) Hz and (points, partials) complex -> (samples,).

    Between two points every partial is faded over linearly, which makes the sum a product of
    two matrices: envelopes, turned to each point's phase, and windowed oscillations.
    """
    turns = np.outer(np.arange(len(envelopes)) * (hop / rate), hz)
    at_points = envelopes * np.exp(2j * np.pi * (turns % 1))
    around = np.arange(-hop, hop)
    angle = 2 * np.pi * np.outer(hz, around) / rate
    window = 1 - np.abs(around) / hop
    left = np.concatenate([at_points.real, -at_points.imag], 1).astype(np.float32)
    right = np.concatenate([np.cos(angle) * window, np.sin(angle) * window]).astype(np.float32)
    grains = left @ right
    wave: np.ndarray = (grains[:-1, hop:] + grains[1:, :hop]).reshape(-1)
    return wave


def _noise(
    own: Instrument,
    seconds: np.ndarray,
    held: float,
    f0: float,
    velocity: float,
    rate: int,
    rng: np.random.Generator,
    count: int,
) -> np.ndarray:
    """(count,) breath or bow, the attack's burst and the damper's, in pulses of the period."""
    hiss = _hiss(own, rate)
    envelope = own.breath * (1 - np.exp(-seconds / own.attack))
    short = own.trait(7).uniform(0.004, 0.04)
    envelope = envelope + own.burst * np.exp(-seconds / short) * (0.4 + velocity)
    after = seconds - held
    envelope = envelope * np.exp(-np.maximum(after, 0) / (0.5 * own.release))
    envelope = envelope + 0.1 * own.burst * (after > 0) * np.exp(-np.maximum(after, 0) / short)
    place = int(rng.integers(len(hiss)))
    noise = np.take(hiss, np.arange(place, place + count), mode="wrap")
    if own.grain > 0.3:
        time = np.arange(count, dtype=np.float32) / rate
        noise = noise * (1 + own.grain * np.cos(np.float32(2 * np.pi * f0) * time))
    noise *= np.interp(np.arange(count) / rate, seconds, envelope).astype(np.float32)
    return noise


@lru_cache(maxsize=64)
def _hiss(own: Instrument, rate: int) -> np.ndarray:
    """Noise of the instrument's colour, of unit power once it has passed the body."""
    rng = own.trait(8)
    count = round(NOISE_SECONDS * rate)
    hz = np.maximum(np.fft.rfftfreq(count, 1 / rate), 1.0)
    steep = rng.uniform(0.5, 2.5)
    colour = 1 / (1 + (np.abs(np.log2(hz / own.noise_hz)) / rng.uniform(0.7, 2.5)) ** (2 * steep))
    spectrum = colour * np.fft.rfft(rng.standard_normal(count))
    hiss = np.fft.irfft(spectrum, count)
    passed = np.fft.irfft(spectrum * own.body.gain(hz), count)
    return (hiss / np.sqrt(np.square(passed).mean())).astype(np.float32)
