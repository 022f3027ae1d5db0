"""Our own synthesiser: sounds that need no samples, of endless variety and free licence.

Every pitched kind is a sum of partials with one amplitude envelope each; kinds differ in
where the partials lie and how they fade. Parameters are constant per patch, so a patch is
a timbre. Training, validation and test patches come from disjoint regions: they differ in
the fraction of `character`, a parameter that decides the comb of partial amplitudes.
"""

from dataclasses import dataclass

import numpy as np
from scipy import signal

from timbrel.data.render.expression import CONTROL_HZ, advanced
from timbrel.notes import Notes

KINDS = ("additive", "plucked", "hollow", "bell", "fm", "bowed", "organ")
# Region of `character` per split: disjoint, so no test sound was heard in training.
REGIONS = {"train": (0.0, 0.8), "valid": (0.82, 0.9), "test": (0.92, 1.0)}
MOST_PARTIALS = 32
ATTACK_FLOOR = 0.002  # seconds; a shorter rise clicks
PEAK = 0.9  # of what is played


@dataclass(frozen=True)
class Patch:
    """Parameters of one sound."""

    kind: str
    character: float  # [0, 1], decides the comb of amplitudes; its region is the split
    tilt: float  # amplitude of partial h falls like h ** -tilt
    odd: float  # [0, 1], 1 = even partials are silent
    inharmonicity: float  # stretch of partials, as of stiff strings
    attack: float  # seconds
    decay: float  # seconds to fall by 1/e at 260 Hz; infinite sounds are 0
    damping: float  # how much faster high partials fade
    release: float  # seconds to fall by 1/e after the note
    vibrato_cents: float
    vibrato_hz: float
    breath: float  # level of noise beside the tone
    brightness: float  # how much velocity brightens
    detune_cents: float  # between two unison voices; 0 = one voice
    index: float  # of frequency modulation
    ratio: float  # of frequency modulation
    seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator, split: str = "train") -> "Patch":
        """A random patch of a split."""
        kind = str(rng.choice(KINDS))
        low, high = REGIONS[split]
        fades = kind in ("plucked", "bell") or (kind in ("fm", "additive") and rng.random() < 0.5)
        slow = not fades and rng.random() < 0.4
        return cls(
            kind=kind,
            character=float(rng.uniform(low, high)),
            tilt=float(rng.uniform(0.4, 2.4)),
            odd=float(rng.uniform(0.7, 1.0)) if kind == "hollow" else float(rng.uniform(0, 0.3)),
            inharmonicity=float(10 ** rng.uniform(-5, -3.3)) if kind == "plucked" else 0.0,
            attack=float(np.exp(rng.uniform(np.log(0.03), np.log(0.15))))
            if slow
            else float(rng.uniform(0.003, 0.02)),
            decay=float(np.exp(rng.uniform(np.log(0.15), np.log(2.5)))) if fades else 0.0,
            damping=float(rng.uniform(0.1, 1.0)),
            release=float(np.exp(rng.uniform(np.log(0.03), np.log(0.3)))),
            vibrato_cents=float(rng.uniform(5, 30)) if slow and rng.random() < 0.6 else 0.0,
            vibrato_hz=float(rng.uniform(4, 7)),
            breath=float(10 ** rng.uniform(-3, -1.2)) if rng.random() < 0.3 else 0.0,
            brightness=float(rng.uniform(0, 1)),
            detune_cents=float(rng.uniform(3, 14)) if rng.random() < 0.25 else 0.0,
            index=float(rng.uniform(0.5, 5)),
            # whole: no side band lies below the carrier, so a note sounds at its written pitch
            ratio=float(rng.choice([1, 1, 2, 3, 4, 5])),
            seed=int(rng.integers(2**31)),
        )

    @property
    def name(self) -> str:
        """Short and unique."""
        return f"synth-{self.kind}-{self.seed:08x}"

    def partials(self, pitch: int, velocity: int, rate: int) -> tuple[np.ndarray, np.ndarray]:
        """Frequencies (Hz) and amplitudes (unit energy) of a note's partials below Nyquist."""
        f0 = 440 * 2 ** ((pitch - 69) / 12)
        h = np.arange(1, MOST_PARTIALS + 1, dtype=np.float64)
        if self.kind == "bell":
            hz = f0 * np.array([1, 2.0, 2.41, 3.0, 4.53, 5.43, 6.79, 8.21])
            h = h[: len(hz)]
        elif self.kind == "organ":
            h = np.array([1, 2, 3, 4, 6, 8, 10, 12], np.float64)
            hz = f0 * h
        else:
            hz = f0 * h * np.sqrt(1 + self.inharmonicity * h**2)
        tilt = self.tilt + self.brightness * (1 - velocity / 127)
        # the comb: a fixed pattern of peaks and dips over partials, and a formant in Hz
        comb = 1 + 0.6 * np.cos(2 * np.pi * (self.character * 5 + 0.13) * h + 9 * self.character)
        formant_hz = 400 * 2 ** (3 * ((self.character * 7.3) % 1))
        formant = 1 + 2 * np.exp(-((np.log2(hz / formant_hz) / 0.6) ** 2))
        amplitude = h**-tilt * comb * formant
        amplitude[1::2] *= 1 - self.odd if self.kind not in ("bell", "organ") else 1
        keep = hz < 0.45 * rate
        hz, amplitude = hz[keep], amplitude[keep]
        return hz, amplitude / max(float(np.sqrt((amplitude**2).sum())), 1e-9)


def render_patch(
    patch: Patch,
    notes: Notes,
    seconds: float,
    rate: int = 44_100,
    cents: np.ndarray | None = None,
) -> np.ndarray:
    """Play notes with a patch.

    Args:
        patch: the sound; drum tracks are played by `render_kit` instead.
        notes: any polyphony.
        seconds: length of the result; what rings longer is cut.
        rate: Hz.
        cents: deviation from the written pitches, at `CONTROL_HZ` points per second.

    Returns:
        (2, samples) float32, peak at most `PEAK`.
    """
    total = round(seconds * rate)
    out = np.zeros(total, np.float32)
    clock = advanced(cents) if cents is not None else None
    seen: dict[tuple[int, int, int], np.ndarray] = {}
    for onset, offset, pitch, velocity in zip(
        notes.onset, notes.offset, notes.pitch, notes.velocity, strict=True
    ):
        start = round(float(onset) * rate)
        held = round(float(offset - onset) * rate)
        if not 0 <= start < total:
            continue
        key = (int(pitch), int(velocity) // 4, held)
        if clock is not None:  # no two notes are alike
            note = _note(patch, int(pitch), int(velocity), held, rate, clock, start / rate)
        else:
            if key not in seen:
                seen[key] = _note(patch, int(pitch), int(velocity), held, rate)
            note = seen[key]
        note = note[: total - start]
        out[start : start + len(note)] += note
    return finished(out)


def finished(out: np.ndarray) -> np.ndarray:
    """Mono (samples,) to stereo (2, samples) float32, peak at most `PEAK`."""
    peak = float(np.abs(out).max(initial=0))
    if peak > PEAK:
        out = out * np.float32(PEAK / peak)
    return np.stack([out, out]).astype(np.float32)


def _note(
    patch: Patch,
    pitch: int,
    velocity: int,
    held: int,
    rate: int,
    clock: np.ndarray | None = None,
    onset: float = 0.0,
) -> np.ndarray:
    """One note (samples,), release included.

    With a `clock` (see `advanced`), its pitch is bent as the clock runs from `onset` on.
    """
    release = max(patch.release, 0.01)
    count = held + int(4.6 * release * rate)
    time = np.arange(count, dtype=np.float32) / rate
    tone = _frequency_modulated if patch.kind == "fm" else _partials
    turned = time  # what oscillators are driven by
    if clock is not None:
        points = np.arange(len(clock)) / CONTROL_HZ - onset
        turned = np.interp(time, points, clock - np.interp(0, points, clock))
    wave = tone(patch, pitch, velocity, time, turned, rate)
    if patch.detune_cents:
        ratio = 2 ** (patch.detune_cents / 1200)
        wave = 0.6 * wave + 0.6 * np.interp(time * ratio, time, wave, right=0).astype(np.float32)
    if patch.breath:
        noise = np.random.default_rng(patch.seed + pitch).standard_normal(count)
        cut = min(8_000.0, 0.4 * rate)
        sos = signal.butter(2, [300, cut], btype="band", fs=rate, output="sos")
        wave = wave + patch.breath * signal.sosfilt(sos, noise).astype(np.float32)
    attack = max(patch.attack * (1.5 - velocity / 127), ATTACK_FLOOR)
    envelope = np.minimum(time / attack, 1)
    envelope[held:] *= np.exp(-(time[held:] - held / rate) / release)
    fade = min(64, count)
    envelope[count - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
    loudness = 0.2 * (velocity / 127) ** 1.6
    return (loudness * wave * envelope).astype(np.float32)


def _partials(
    patch: Patch, pitch: int, velocity: int, time: np.ndarray, turned: np.ndarray, rate: int
) -> np.ndarray:
    """Sum of partials, each with its own decay."""
    hz, amplitude = patch.partials(pitch, velocity, rate)
    strong = amplitude > 1e-3
    hz, amplitude = hz[strong], amplitude[strong]
    phase = 2 * np.pi * turned
    if patch.vibrato_cents:
        depth = np.log(2) * patch.vibrato_cents / 1200
        sway = depth / (2 * np.pi * patch.vibrato_hz) * np.sin(2 * np.pi * patch.vibrato_hz * time)
        phase = phase + 2 * np.pi * sway * np.minimum(time / 0.4, 1)
    wave = np.zeros(len(time), np.float32)
    start = np.random.default_rng(patch.seed).uniform(0, 2 * np.pi, MOST_PARTIALS)
    slow = patch.decay * (260 / hz[0]) ** 0.5 if patch.decay else 0.0
    for k, (f, a) in enumerate(zip(hz, amplitude, strict=True)):
        partial = np.sin((f * phase + start[k]).astype(np.float32))
        if slow:
            partial *= np.exp(-time * ((1 + patch.damping * k) / slow))
        wave += np.float32(a) * partial
    return wave


def _frequency_modulated(
    patch: Patch, pitch: int, velocity: int, time: np.ndarray, turned: np.ndarray, rate: int
) -> np.ndarray:
    """Two operators (Chowning, 1973); the index follows velocity and fades."""
    f0 = 440 * 2 ** ((pitch - 69) / 12)
    # Carson's rule: keep the highest side band below Nyquist
    room = max((0.45 * rate - f0) / (patch.ratio * f0) - 1, 0.0)
    index = min(patch.index * (0.4 + 0.6 * velocity / 127) * (1 + patch.character) / 2, room)
    fade = np.exp(-time / patch.decay) if patch.decay else 0.5 + 0.5 * np.exp(-time / 0.3)
    inner = np.sin((2 * np.pi * f0 * patch.ratio * turned).astype(np.float32))
    wave = np.sin((2 * np.pi * f0 * turned + index * fade * inner).astype(np.float32))
    out: np.ndarray = wave * (fade if patch.decay else 1)
    return out


def render_kit(patch: Patch, notes: Notes, seconds: float, rate: int = 44_100) -> np.ndarray:
    """Play General MIDI drum notes with a kit derived from a patch: (2, samples) float32."""
    total = round(seconds * rate)
    out = np.zeros(total, np.float32)
    rng = np.random.default_rng(patch.seed)
    hits: dict[int, np.ndarray] = {}
    for onset, pitch, velocity in zip(notes.onset, notes.pitch, notes.velocity, strict=True):
        start = round(float(onset) * rate)
        if not 0 <= start < total:
            continue
        if int(pitch) not in hits:
            hits[int(pitch)] = _hit(patch, int(pitch), rng, rate)
        hit = hits[int(pitch)][: total - start] * np.float32((velocity / 127) ** 1.4)
        out[start : start + len(hit)] += hit
    return finished(out)


def _hit(patch: Patch, pitch: int, rng: np.random.Generator, rate: int) -> np.ndarray:
    """One drum: a falling tone for skins, filtered noise for metal, both for a snare."""
    kick, snare = pitch in (35, 36), pitch in (37, 38, 39, 40)
    tom, hat = pitch in (41, 43, 45, 47, 48, 50), pitch in (42, 44)
    length = 0.5 if kick or tom else 0.25 if snare else 0.08 if hat else 0.9
    length *= 0.6 + 0.8 * patch.character
    time = np.arange(int(rate * length)) / rate
    fade = np.exp(-5 * time / length)
    base = 50.0 if kick else 90 + 6 * (pitch - 41) if tom else 190.0
    sweep = base * (1 + (3 if kick else 0.6) * np.exp(-time / 0.02))
    tone = np.sin(2 * np.pi * np.cumsum(sweep) / rate) * fade
    noise = rng.standard_normal(len(time)) * fade
    edge = 1_500.0 if snare else 5_000 + 3_000 * patch.character
    sos = signal.butter(2, min(edge, 0.4 * rate), btype="high", fs=rate, output="sos")
    metal = signal.sosfilt(sos, noise)
    mix = (1.0, 0.03) if kick or tom else (0.5, 0.5) if snare else (0.0, 0.5)
    return (0.5 * (mix[0] * tone + mix[1] * metal)).astype(np.float32)
