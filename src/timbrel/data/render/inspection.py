"""What is wrong with a sound font, found by listening to it.

Presets that are silent, clipped or mistuned would teach wrong things and are left out. One that
sounds octaves off is played at its written pitch, and what all sounds of a font are late by is
cut off. A font is listened to once; what was found is kept in the user's cache folder.
"""

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from timbrel.data.files import replace_file
from timbrel.data.render.soundfont import Preset, SoundFont
from timbrel.data.render.timbres import KIT_PIECES, PERCUSSIVE, SOUND_EFFECTS, natural_range
from timbrel.notes import Notes

VERSION = 3  # of what follows: results of another version are not used
RATE = 44_100
SECONDS, HELD = 1.0, 0.9  # of a rendered note
STEADY = slice(round(0.15 * RATE), round(0.85 * RATE))  # samples whose pitch is judged
SILENT = 1e-4  # peak
FRAME = 882  # samples: 20 ms
SIZE = 1 << 17  # points of a spectrum
# Share of a frame in which a clipped wave lies flat at its peak; no preset of five common
# fonts, square waves included, reaches 1 %, a sine clipped by 1 dB 28 %.
FLAT = 0.1
SHARED = 10  # percentile: sounds of slow attack say nothing of what all have in common
IN_TUNE = 25  # cents
# How much better another tuning explains the partials; 1.3 to 1.8 for the five mistuned
# presets among 614 of four common fonts, at most 1.05 for all others.
BETTER = 1.2
CENTS = np.arange(-600.0, 600.0, 5.0)
PARTIALS = np.arange(1, 9)
# dB by which a sound's partials stand above those that it would have an octave lower or higher.
# Of the presets of four common fonts six reach 42, the others at most 17: organs, of which
# nobody can say what octave they are in, stay where they are.
CLEAR_DB = 30
MOST_OCTAVES = 2

Place = tuple[int, int]  # bank, program


@dataclass(frozen=True)
class Findings:
    """What listening to a font told.

    Attributes:
        faults: what is wrong with each faulty preset.
        latency: seconds by which all its sounds are late.
        octaves: by which presets sound higher than their keys say, of those that do.
    """

    faults: dict[Place, str]
    latency: float
    octaves: dict[Place, int] = field(default_factory=dict)


def usable(font: SoundFont) -> SoundFont:
    """The same font without its faulty presets and its latency, all sounds in their octave.

    Raises:
        DataError: it cannot be read or rendered.
    """
    found = inspect(font)
    return SoundFont(font.path, frozenset(found.faults), found.latency, found.octaves)


def inspect(font: SoundFont) -> Findings:
    """Listen to a font, or remember what was found.

    Raises:
        DataError: it cannot be read or rendered.
    """
    cache = _cache_file(font)
    try:
        known = json.loads(cache.read_text())
        faults = {(bank, program): why for bank, program, why in known["faults"]}
        octaves = {(bank, program): int(by) for bank, program, by in known["octaves"]}
        return Findings(faults, float(known["latency"]), octaves)
    except (OSError, ValueError, TypeError, KeyError):  # not there, or damaged
        found = _listen_to_all(font)
    kept = {
        "faults": [[*place, why] for place, why in found.faults.items()],
        "latency": found.latency,
        "octaves": [[*place, by] for place, by in found.octaves.items()],
    }
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        replace_file(cache, json.dumps(kept).encode())
    except OSError:  # it is only slower without
        pass
    return found


def _listen_to_all(font: SoundFont) -> Findings:
    faults, octaves, latencies = {}, {}, []
    for preset in font.presets():
        if not preset.drums and preset.program in SOUND_EFFECTS:
            continue
        usual = _usual(preset)
        sounds = {k: _listen(font, preset, k) for k in {preset.low, *usual, preset.high}}
        why = _fault(preset, sounds)
        if why:
            faults[preset.bank, preset.program] = why
        elif preset.drums or preset.program not in PERCUSSIVE:
            latencies += [_first_sound(sounds[key]) for key in usual]
            by = 0 if preset.drums else _octaves([sounds[key] for key in usual], usual)
            if by and any(0 <= key + 12 * by <= 127 for key in preset.keys):
                octaves[preset.bank, preset.program] = by
    shared = float(np.percentile(latencies, SHARED)) if latencies else 0.0
    return Findings(faults, round(shared, 5), octaves)


def _fault(preset: Preset, sounds: dict[int, np.ndarray]) -> str:
    """What is wrong with a preset, judged by some of its keys; "" if nothing is."""
    silent = [key for key, sound in sorted(sounds.items()) if np.abs(sound).max() < SILENT]
    if silent:
        return f"silent at {', '.join(map(str, silent))}"
    if any(_flatness(sound) > FLAT for sound in sounds.values()):
        return "clipped: its waves are cut off at their peaks"
    # at the ends of its range, many a sound has no clear pitch
    usual = _usual(preset)
    vague = preset.drums or preset.program in PERCUSSIVE
    cents = 0.0 if vague else _mistuning([sounds[key] for key in usual], usual)
    return f"mistuned by {cents:+.0f} cents" if cents else ""


def _usual(preset: Preset) -> list[int]:
    """Three keys of the natural range, as far as it sounds; of a kit, those that are played."""
    if preset.drums:
        return sorted(preset.keys & KIT_PIECES)
    low, high, _ = natural_range(preset.program)
    low, high = max(low, preset.low), min(high, preset.high)
    if high < low:
        low, high = preset.low, preset.high
    wanted = np.linspace(low, high, 5)[1:4]
    return sorted({min(preset.keys, key=lambda key: (abs(key - w), key)) for w in wanted})


def _listen(font: SoundFont, preset: Preset, key: int) -> np.ndarray:
    """A loud note: the louder channel, (samples,)."""
    stereo = font.render(preset, Notes.from_rows([(0.0, HELD, key, 110)]), SECONDS, RATE)
    return stereo[int(np.argmax(np.abs(stereo).max(1)))]


def _first_sound(sound: np.ndarray) -> float:
    """When (seconds) a note passes -40 dB of its peak; some samples begin with noise."""
    return int(np.argmax(np.abs(sound) > 1e-2 * np.abs(sound).max())) / RATE


def _flatness(sound: np.ndarray) -> float:
    """Median over frames of the share of samples that lie flat at the frame's peak."""
    frames = sound[: len(sound) // FRAME * FRAME].reshape(-1, FRAME)
    frames = frames[np.abs(frames).max(1) > 0.1 * np.abs(sound).max()]
    top = np.abs(frames) > 0.999 * np.abs(frames).max(1, keepdims=True)
    flat = top[:, 1:-1] & top[:, :-2] & top[:, 2:]
    return float(np.median(flat.mean(1)))


def _mistuning(sounds: list[np.ndarray], keys: list[int]) -> float:
    """By how many cents (modulo octaves) all keys are off; 0 if they are in tune."""
    total = np.zeros(len(CENTS))
    for sound, key in zip(sounds, keys, strict=True):
        fit = _fit(sound[STEADY], key)
        total += fit / max(float(fit.max()), 1e-9)
    best = int(np.argmax(total))
    in_tune = float(total[np.abs(CENTS) <= IN_TUNE].max())
    return float(CENTS[best]) if total[best] > BETTER * in_tune else 0.0


def _fit(steady: np.ndarray, key: int) -> np.ndarray:
    """How well partials at each of CENTS explain a note, in the best of three octaves."""
    spectrum = np.sqrt(_power(steady))
    strength = np.log1p(100 * spectrum / max(float(spectrum.max()), 1e-9))
    fits = []
    for octave in (-12, 0, 12):
        hz = 440 * 2 ** ((key + octave - 69 + CENTS[:, None] / 100) / 12) * PARTIALS
        heard = strength[np.minimum(np.round(hz * SIZE / RATE).astype(int), SIZE // 2)]
        fits.append((heard * (hz < 0.49 * RATE) / np.sqrt(PARTIALS)).sum(1))
    best: np.ndarray = np.max(fits, axis=0)
    return best


def _octaves(sounds: list[np.ndarray], keys: list[int]) -> int:
    """By how many octaves all keys clearly sound above what they say; 0 if that is not clear."""
    pitches = 440 * 2 ** ((np.array(keys) - 69) / 12)
    notes = [(_power(sound[STEADY]), hz) for sound, hz in zip(sounds, pitches, strict=True)]
    by = 0
    # what has no odd partials of its pitch sounds an octave higher, ...
    while by < MOST_OCTAVES and all(_evenness(p, 2.0**by * hz) > CLEAR_DB for p, hz in notes):
        by += 1
    # ... and one lower if hardly any but odd ones of half of it
    while by > -MOST_OCTAVES and all(_evenness(p, 2.0**by * hz / 2) < -CLEAR_DB for p, hz in notes):
        by -= 1
    return by


def _power(steady: np.ndarray) -> np.ndarray:
    """Power spectrum, `SIZE` points."""
    return np.abs(np.fft.rfft(steady * np.hanning(len(steady)), SIZE)) ** 2


def _evenness(power: np.ndarray, hz: float) -> float:
    """How much more power (dB) the even partials of a pitch have than the odd ones."""
    partials = hz * PARTIALS[PARTIALS * hz < 0.45 * RATE]
    centres = np.round(partials * SIZE / RATE).astype(int)
    reach = np.maximum(2, np.round(centres * (2 ** (IN_TUNE / 1200) - 1)).astype(int))
    heard = [power[max(0, c - r) : c + r + 1].max() for c, r in zip(centres, reach, strict=True)]
    odd, even = sum(heard[::2]), sum(heard[1::2])
    return float(10 * np.log10((even + 1e-12) / (odd + 1e-12)))


def _cache_file(font: SoundFont) -> Path:
    """Where findings about a font of this very content are kept."""
    try:
        with font.path.open("rb") as file:
            digest = hashlib.file_digest(file, "blake2b").hexdigest()[:32]
    except OSError:  # reading it will say so
        digest = "missing"
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "timbrel" / f"font-{digest}-{VERSION}.json"
