"""Cases of whole pieces: one ensemble plays, another is the example.

The exactly right output is the same piece by the target ensemble, drums included. Source
and target play the same parts: those that both have a player for.
"""

from dataclasses import replace

import numpy as np

from timbrel.audio import Audio
from timbrel.data.render.ensembles import Ensemble, draw_ensemble, render_mix
from timbrel.data.render.pieces import Piece, draw_piece
from timbrel.data.render.soundfont import SoundFont
from timbrel.data.render.styles import STYLES
from timbrel.errors import DataError
from timbrel.evaluation.cases import ATTEMPTS, LOUDNESS, RATE, Case, case_name, pool
from timbrel.evaluation.protocol import Protocol, Setting


def draw_piece_case(protocol: Protocol, level: str, number: int, fonts: list[SoundFont]) -> Case:
    """The case of this number at this level; see `cases.draw_cases`.

    Raises:
        DataError: the sounds at hand cannot play it.
    """
    setting = protocol.setting(level)
    timbres = pool(setting.pool, fonts) + pool(setting.pool, fonts, drums=True)
    genre, target = _genres(setting, number)
    for attempt in range(ATTEMPTS):
        rng = np.random.default_rng([protocol.seed, number, attempt])
        # a stream each, so that another genre of the target leaves piece and source alone
        streams = [np.random.default_rng(rng.integers(2**32)) for _ in range(4)]
        source = draw_ensemble(streams[0], timbres, genre)
        players = draw_ensemble(streams[1], timbres, target)
        piece = _shared(draw_piece(streams[2], protocol.seconds - 1, genre), source, players)
        other = draw_piece(streams[3], setting.example_seconds - 1, target)
        sounds = (
            _render(piece, players, protocol.seconds),
            _render(other, players, setting.example_seconds),
            _render(piece, source, protocol.seconds),
        )
        if len(piece.notes) >= 4 and all(s.loudness() > LOUDNESS - 20 for s in sounds):
            break
    else:
        raise DataError(f"protocol '{protocol.name}' finds no sound that fits its level '{level}'")
    truth, example, played = sounds
    notes, beat = piece.notes, 60 / piece.tempo
    return Case(
        name=case_name(level, number),
        level=level,
        notes=notes,
        given=setting.damage(notes, np.random.default_rng([protocol.seed, 7, number])),
        example=example,
        example_given=setting.damage_example(
            example, np.random.default_rng([protocol.seed, 8, number])
        ),
        source=played,
        truth=truth,
        facts={
            "target": players.identity,
            "target instrument": players.instrument,
            "source": source.identity,
            "source instrument": source.instrument,
            "beats per minute": round(piece.tempo, 1),
            "parts": ", ".join(piece.parts),
            "notes": len(notes),
        },
        sampling=setting.sampling,
        beats=np.arange(0, protocol.seconds - 1, beat),
    )


def _genres(setting: Setting, number: int) -> tuple[str, str]:
    """Of the piece, and of the target; over the cases of a level all take turns.

    Both have drums, or neither: the target must have all parts of the piece.
    """
    with_drums = [name for name, style in STYLES.items() if style.drums]
    genre = setting.genre or with_drums[number % len(with_drums)]
    if setting.genres == "same":
        return genre, genre
    kit = bool(STYLES[genre].drums)
    others = [n for n, style in STYLES.items() if n != genre and bool(style.drums) == kit]
    turn = number if setting.genre else number // len(with_drums)
    return genre, others[turn % len(others)]


def _shared(piece: Piece, first: Ensemble, second: Ensemble) -> Piece:
    """The parts that both ensembles have a player for."""
    both = first.players.keys() & second.players.keys()
    return replace(piece, parts={role: p for role, p in piece.parts.items() if role in both})


def _render(piece: Piece, ensemble: Ensemble, seconds: float) -> Audio:
    """Mono, at the loudness of training."""
    mix = render_mix(piece, ensemble, seconds, RATE).mix
    return Audio(mix, RATE).mono().with_loudness(LOUDNESS)
