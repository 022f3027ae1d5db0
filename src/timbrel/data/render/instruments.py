"""Modelled instruments: parameters of what excites them, how they ring, and their body.

Where a sound font is recorded and the synthesiser adds steady partials, these follow how
instruments work (`excitations.py`): a source, whose partials each live their own life, and a
`Body` with fixed resonances. Training, validation and test instruments come from disjoint
regions of `character`, which decides the pattern of the body's resonances.
"""

from dataclasses import dataclass

import numpy as np

from timbrel.data.render.bodies import Body
from timbrel.data.render.synth import REGIONS

MOST_PARTIALS = 72
HIGHEST = 0.36  # of the rate: above, interpolation would fold bent partials back
# (lowest pitch, highest pitch, choices of voices): wide, as one instrument has a part of it
RANGES = {
    "plucked": (28, 100, (1, 3, 5, 6)),
    "blown": (34, 100, (1,)),
    "bowed": (28, 100, (1, 1, 2)),
    "struck": (40, 105, (1, 3, 4)),
    "vocal": (36, 90, (1, 1, 3)),
    "analogue": (26, 98, (1, 3, 5)),
    "evolving": (30, 98, (1, 3, 5)),
}
KINDS = tuple(RANGES)
FADING = ("plucked", "struck")
# Ratios of modes: free bar, tuned bar, bell, kettledrum, tine, pan
MODES = np.array(
    [
        [1, 2.756, 5.404, 8.933, 13.34, 18.64],
        [1, 4.0, 10.0, 17.6, 25.0, 34.0],
        [1, 2.0, 2.4, 3.0, 4.0, 5.33],
        [1, 1.5, 1.99, 2.44, 2.89, 3.33],
        [1, 6.267, 17.55, 20.1, 26.0, 34.4],
        [1, 2.0, 3.01, 4.1, 5.2, 6.3],
    ]
)


@dataclass(frozen=True)
class Instrument:
    """Parameters of one; what they leave open follows from `seed`."""

    kind: str
    character: float  # [0, 1], decides the pattern of the body; its region is the split
    body: Body
    tilt: float  # amplitude of partial h falls like h ** -tilt
    odd: float  # [0, 1], 1 = even partials are silent
    position: float  # of plectrum, hammer or bow along the string; width of a pulse
    stiffness: float  # of strings: how much partials are stretched
    cutoff_hz: float  # above which the excitation falls, at 260 Hz and velocity 90
    follow: float  # [0, 1], how much of the pitch the cutoff follows
    sensitivity: float  # octaves by which full velocity opens the cutoff against none
    resonance: float  # Q of a filter
    sweep: float  # octaves by which a filter opens at the attack
    movement: float  # [0, 1], how far the spectrum moves in a note
    pace: float  # seconds, of such movement
    attack: float  # seconds
    decay: float  # seconds to fall by 1/e at 260 Hz; or to what is sustained
    sustain: float  # [0, 1], what sounds on
    damping: float  # how much faster high partials fade
    release: float  # seconds to fall by 1/e after the note
    breath: float  # level of noise beside the tone
    burst: float  # level of noise at the attack
    grain: float  # [0, 1], how much noise comes in pulses, once a period
    noise_hz: float  # centre of the noise
    vibrato_cents: float
    vibrato_hz: float
    jitter_cents: float  # standard deviation of the pitch's wandering
    shimmer_db: float  # standard deviation of the level's wandering
    detune_cents: float  # between unison strings, doublets of modes, or voices
    seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator, split: str = "train") -> "Instrument":
        """A random one of a split."""

        def uniform(low: float, high: float) -> float:
            return float(rng.uniform(low, high))

        def log(low: float, high: float) -> float:
            return float(np.exp(rng.uniform(np.log(low), np.log(high))))

        kind = str(rng.choice(KINDS))
        fades = kind in FADING or (kind in ("analogue", "evolving") and rng.random() < 0.4)
        winded = kind in ("blown", "bowed", "vocal")
        character = uniform(*REGIONS[split])
        depth = uniform(0.4, 1) if winded or kind == "plucked" else uniform(0.1, 0.7)
        slow = not fades and rng.random() < 0.45
        vibrato = not fades and rng.random() < (0.35 if winded else 0.15)
        return cls(
            kind=kind,
            character=character,
            body=Body.draw(rng, character, depth),
            tilt=uniform(0.1, 1.3),
            odd=uniform(0.6, 0.98) if kind == "blown" and rng.random() < 0.35 else uniform(0, 0.3),
            position=uniform(0.04, 0.5) if kind != "bowed" else uniform(0.03, 0.2),
            stiffness=log(1e-5, 3e-4) if kind == "plucked" else 0.0,
            cutoff_hz=log(800, 14_000),
            follow=uniform(0.1, 0.9),
            sensitivity=uniform(1.2, 4.5),
            resonance=log(0.6, 5),
            sweep=uniform(0, 4) if rng.random() < 0.7 else uniform(-2, 0),
            movement=uniform(0.1, 1),
            pace=log(0.08, 2.5),
            attack=log(0.03, 0.16) if slow else log(0.002, 0.03),
            decay=log(0.4, 5) if kind == "plucked" else log(0.2, 2.5),
            sustain=0.0 if fades else uniform(0.4, 1),
            damping=log(0.05, 1.5),
            release=log(0.03, 0.3),
            breath=log(0.002, 0.16) if winded else log(0.0001, 0.004),
            burst=log(0.02, 0.8) if kind in FADING or winded else log(0.001, 0.05),
            grain=uniform(0, 1) if kind in ("bowed", "vocal") else uniform(0, 0.5),
            noise_hz=log(300, 6_000),
            vibrato_cents=uniform(6, 30) if vibrato else 0.0,
            vibrato_hz=uniform(4.2, 6.8),
            jitter_cents=log(1, 5) if winded else uniform(0, 1),
            shimmer_db=log(0.4, 2.5) if winded else log(0.05, 0.6),
            detune_cents=log(0.2, 5) if fades else log(3, 16) if rng.random() < 0.4 else 0.0,
            seed=int(rng.integers(2**31)),
        )

    @property
    def name(self) -> str:
        """Short and unique."""
        return f"modelled-{self.kind}-{self.seed:08x}"

    @property
    def bendable(self) -> bool:
        """Whether its notes can be bent: whatever is not struck."""
        return self.kind != "struck"

    def trait(self, number: int) -> np.random.Generator:
        """A stream for what is the same in all its notes."""
        return np.random.default_rng([self.seed, number])

    def partials(self, pitch: float, rate: int) -> tuple[np.ndarray, np.ndarray]:
        """Numbers, from 1, and frequencies (Hz) of those below `HIGHEST` of the rate.

        The first is as written. Of bars some between others may be too high.
        """
        f0 = 440 * 2 ** ((pitch - 69) / 12)
        h = np.arange(1, MOST_PARTIALS + 1, dtype=np.float64)
        if self.kind == "struck":
            rng = self.trait(1)
            one, other = MODES[rng.choice(len(MODES), 2, replace=False)]
            mix = rng.beta(0.5, 0.5)
            high = np.sort(rng.uniform(2.5, 24, 10))  # faint and short: texture
            hz = f0 * np.concatenate([one**mix * other ** (1 - mix), high])
        else:
            # stretched back, so that the first is where it is written
            hz = f0 * h * np.sqrt((1 + self.stiffness * h**2) / (1 + self.stiffness))
        played = hz < max(HIGHEST * rate, 1.01 * f0)
        return np.flatnonzero(played) + 1, hz[played]
