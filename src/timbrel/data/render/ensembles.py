"""Ensembles: a timbre for each role of a piece, in one room, and the mix of what they play."""

import math
from dataclasses import dataclass, replace

import numpy as np

from timbrel.audio import Audio
from timbrel.data.render.effects import Effects
from timbrel.data.render.pieces import RANGES, Piece
from timbrel.data.render.recording import Recording
from timbrel.data.render.styles import STYLES
from timbrel.data.render.timbres import Timbre, joined
from timbrel.errors import DataError

# LUFS of each role before the whole is levelled: the lead in front, the pad behind all
BALANCE = {"lead": -20.0, "drums": -21.5, "bass": -22.0, "chords": -24.0, "pad": -28.0}
BALANCE_SPREAD = 1.5  # dB, standard deviation
PEAK = 0.9  # largest of a mix
SYNTH_SHARE = 0.25  # of the pitched roles


@dataclass(frozen=True)
class Ensemble:
    """Who plays each role.

    Attributes:
        style: one of `STYLES`, whose instruments it has.
        players: a timbre for every pitched role, and for drums if the style has them.
        levels: LUFS of each role.
        identity: unique name.
        recording: through what all of it was recorded; None: it was not.
    """

    style: str
    players: dict[str, Timbre]
    levels: dict[str, float]
    identity: str
    recording: Recording | None = None

    low = min(low for low, _ in RANGES.values())  # lowest pitch of pieces
    high = max(high for _, high in RANGES.values())

    @property
    def has_kit(self) -> bool:
        """Whether it has drums."""
        return "drums" in self.players

    @property
    def family(self) -> str:
        """Recording families of its players."""
        return joined(*(timbre.family for timbre in self.players.values()))

    @property
    def licence(self) -> str:
        """Licences of its players."""
        return joined(*(timbre.licence for timbre in self.players.values()))

    @property
    def instrument(self) -> str:
        """What it is, for people."""
        return f"{self.style} ensemble"


@dataclass(frozen=True)
class Mix:
    """A piece as an ensemble plays it.

    Attributes:
        stems: (2, samples) float32 of each role that sounds.
        mix: (2, samples) float32, the sum of the stems, through the recording chain if there
            is one; peak at most `PEAK`.
    """

    stems: dict[str, np.ndarray]
    mix: np.ndarray


def draw_ensemble(rng: np.random.Generator, timbres: list[Timbre], style: str) -> Ensemble:
    """Draw players for a style.

    Each is of a General MIDI family that fits the role, or now and then from the own
    synthesiser, if there are such timbres; else any that reaches the role's range. All
    stand in one room and, if the lead is recorded, are recorded as it is, in one tuning.

    Args:
        rng: source of everything drawn.
        timbres: those to choose from, of one split.
        style: one of `STYLES`.

    Raises:
        DataError: there is no such style, or nobody for a role.
    """
    if style not in STYLES:
        raise DataError(f"there is no style '{style}'; choose one of {', '.join(STYLES)}")
    room = Effects.draw(rng)
    players: dict[str, Timbre] = {}
    for role in STYLES[style].roles:
        taken = {player.identity for player in players.values()}
        free = [t for t in timbres if t.identity not in taken] or timbres
        timbre = _pick(rng, free, role, STYLES[style].families.get(role, ()))
        shared = replace(
            timbre.effects,
            reverb_seconds=room.reverb_seconds,
            reverb_share=room.reverb_share,
            damping_hz=room.damping_hz,
            predelay_seconds=room.predelay_seconds,
            seed=room.seed,
        )
        players[role] = replace(timbre, effects=shared)
    chain = players["lead"].recording
    tuning = None if chain is None else Recording(tuning_cents=chain.tuning_cents)
    players = {role: replace(timbre, recording=tuning) for role, timbre in players.items()}
    levels = {role: BALANCE[role] + BALANCE_SPREAD * rng.standard_normal() for role in players}
    return Ensemble(style, players, levels, f"{style}-{int(rng.integers(2**31)):08x}", chain)


def _pick(
    rng: np.random.Generator, timbres: list[Timbre], role: str, families: tuple[int, ...]
) -> Timbre:
    """A timbre for a role."""
    if role == "drums":
        able = fitting = [t for t in timbres if t.drums]
    else:
        low, high = RANGES[role]
        able = [t for t in timbres if not t.drums and all(t.sounding(range(low, high + 1)))]
        synths = [t for t in able if t.group < 0] if rng.random() < SYNTH_SHARE else []
        fitting = synths or [t for t in able if t.group in families]
    choices = fitting or able
    if not choices:
        what = "no drum kit" if role == "drums" else f"no timbre reaches all of {low} to {high}"
        raise DataError(
            f"nobody can play the {role} of a piece ({what}): add a sound font, or more timbres "
            "of the own synthesiser"
        )
    return choices[int(rng.integers(len(choices)))]


def render_mix(piece: Piece, ensemble: Ensemble, seconds: float, rate: int = 44_100) -> Mix:
    """Play a piece.

    Args:
        piece: its drums are left out if the ensemble has none.
        ensemble: who plays.
        seconds: length of the result.
        rate: Hz.
    """
    stems = {}
    for role, timbre in ensemble.players.items():
        if role not in piece.parts:
            continue
        stem = timbre.render(piece.parts[role], seconds, rate)
        loudness = Audio(stem, rate).loudness()
        if math.isfinite(loudness):
            stems[role] = stem * np.float32(10 ** ((ensemble.levels[role] - loudness) / 20))
    total = sum(stems.values(), np.zeros((2, round(seconds * rate)), np.float32))
    gain = np.float32(min(1.0, PEAK / max(float(np.abs(total).max(initial=0)), 1e-9)))
    mix = gain * total
    if ensemble.recording is not None:
        mix = ensemble.recording.apply(mix, rate)
    return Mix({role: gain * stem for role, stem in stems.items()}, mix)
