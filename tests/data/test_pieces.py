from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sounds import RATE
from timbrel.audio import Audio
from timbrel.data.render.effects import Effects
from timbrel.data.render.ensembles import BALANCE, PEAK, Ensemble, draw_ensemble, render_mix
from timbrel.data.render.phrases import KITS
from timbrel.data.render.pieces import RANGES, Piece, draw_piece
from timbrel.data.render.recording import Recording
from timbrel.data.render.shares import Shares
from timbrel.data.render.soundfont import Preset, SoundFont
from timbrel.data.render.styles import STYLES
from timbrel.data.render.timbres import Timbre, draw_timbres
from timbrel.errors import DataError

SECONDS = 12.0


@pytest.fixture(scope="module")
def timbres() -> list[Timbre]:
    return draw_timbres(0, 60, "train", [], Shares(expressive=0.0))


def pieces(style: str, count: int = 6) -> list[Piece]:
    return [draw_piece(np.random.default_rng(seed), SECONDS, style) for seed in range(count)]


@pytest.mark.parametrize("style", STYLES)
def test_every_role_of_a_style_plays_in_its_range(style: str) -> None:
    for piece in pieces(style):
        assert {"bass", "chords", "lead"} <= set(piece.parts) <= set(STYLES[style].roles)
        assert ("drums" in piece.parts) == bool(STYLES[style].drums)
        for role, notes in piece.parts.items():
            assert len(notes) > 2
            assert notes.onset.max() < SECONDS
            if role == "drums":
                assert set(notes.pitch.tolist()) <= set(KITS[STYLES[style].kit])
            else:
                low, high = RANGES[role]
                assert low <= notes.pitch.min()
                assert notes.pitch.max() <= high


@pytest.mark.parametrize("style", STYLES)
def test_roles_agree_on_key_and_chords(style: str) -> None:
    shares = []
    for piece in pieces(style):
        scale = {(piece.key + step) % 12 for step in piece.scale}
        for role in ("chords", "lead", "pad"):
            if role in piece.parts:
                assert {int(p) % 12 for p in piece.parts[role].pitch} <= scale
        chords = piece.parts["chords"]
        for onset, pitch in zip(chords.onset, chords.pitch, strict=True):
            # where a bar begins, the chord before may be struck a little late, or this early
            near = {c for shift in (-0.05, 0.05) for c in piece.chord(max(0, onset + shift))}
            assert pitch % 12 in near
        bass = piece.parts["bass"]
        at_bars = np.abs(bass.onset / piece.bar_seconds % 1 + 1e-3) < 0.03
        roots = [
            p % 12 == piece.chord(t + 0.05)[0] for t, p in zip(bass.onset, bass.pitch, strict=True)
        ]
        shares += [r for r, first in zip(roots, at_bars, strict=True) if first]
    assert not shares or np.mean(shares) > 0.9


def test_a_chord_is_stacked_from_its_root_over_the_progression() -> None:
    piece = replace(pieces("rock", 1)[0], key=0, scale=(0, 2, 4, 5, 7, 9, 11), tempo=120.0)
    piece = replace(piece, progression=(0, 4, 5, 3))
    bars = [sorted(piece.chord(2.0 * bar + 0.1)) for bar in range(5)]
    assert bars == [[0, 4, 7], [2, 7, 11], [0, 4, 9], [0, 5, 9], [0, 4, 7]]
    assert piece.chord(2.1)[0] == 7


def test_swing_delays_the_second_half_of_a_beat_by_a_third() -> None:
    places = []
    for piece in pieces("swing"):
        hats = piece.parts["drums"]
        places += list((hats.onset[hats.pitch == 51] * piece.tempo / 60) % 1)
    off = np.array([p for p in places if 0.4 < p < 0.9])
    assert len(off) > 20
    assert np.median(off) == pytest.approx(2 / 3, abs=0.03)


def test_techno_is_strictly_on_the_grid() -> None:
    for piece in pieces("techno"):
        steps = piece.notes.onset * piece.tempo / 60 * 4
        assert np.abs(steps - np.round(steps)).max() < 1e-3


def test_the_same_seed_draws_the_same_piece_and_other_seeds_others() -> None:
    first, second, other = (draw_piece(np.random.default_rng(s), SECONDS) for s in (5, 5, 6))
    np.testing.assert_array_equal(first.notes.onset, second.notes.onset)
    np.testing.assert_array_equal(first.notes.pitch, second.notes.pitch)
    assert (first.style, first.tempo) != (other.style, other.tempo)


def test_a_piece_has_a_track_for_each_part() -> None:
    piece = pieces("rock", 1)[0]
    assert [track.name for track in piece.notes.tracks] == list(piece.parts)
    assert len(piece.notes) == sum(map(len, piece.parts.values()))
    assert len(piece.notes.drums()) == len(piece.parts["drums"])


def test_an_unknown_style_is_named(timbres: list[Timbre]) -> None:
    for draw in (draw_piece, draw_ensemble):
        with pytest.raises(DataError, match="no style 'polka'"):
            draw(np.random.default_rng(0), timbres, "polka")


def ensemble(timbres: list[Timbre], style: str = "rock", seed: int = 0) -> Ensemble:
    return draw_ensemble(np.random.default_rng(seed), timbres, style)


def test_an_ensemble_has_a_player_of_its_own_for_each_role_in_one_room(
    timbres: list[Timbre],
) -> None:
    for style in STYLES:
        drawn = ensemble(timbres, style)
        assert set(drawn.players) == set(STYLES[style].roles)
        assert len({t.identity for t in drawn.players.values()}) == len(drawn.players)
        assert len({t.effects.seed for t in drawn.players.values()}) == 1
        assert drawn.has_kit == bool(STYLES[style].drums)
    assert ensemble(timbres, seed=1).identity != ensemble(timbres, seed=2).identity


def test_players_are_of_families_that_fit_their_roles(timbres: list[Timbre]) -> None:
    programs = [replace(timbres[k], group=k % 14, drums=False) for k in range(50)]
    kit = replace(timbres[0], drums=True)
    for seed in range(20):
        drawn = ensemble([*programs, kit], "chamber", seed)
        for role, timbre in drawn.players.items():
            assert timbre.group in STYLES["chamber"].families[role]


def test_a_role_that_nobody_can_play_is_named(timbres: list[Timbre]) -> None:
    with pytest.raises(DataError, match="drums of a piece"):
        ensemble([t for t in timbres if not t.drums])
    with pytest.raises(DataError, match="reaches all of 28 to 51"):
        ensemble([t for t in timbres if t.drums])
    preset = Preset(0, 0, "with a hole", 0, 127, frozenset(range(128)) - {40})
    holed = replace(timbres[0], source=(SoundFont(Path("none.sf2")), preset), drums=False)
    kit = next(t for t in timbres if t.drums)
    with pytest.raises(DataError, match="reaches all of 28 to 51"):
        ensemble([holed, kit])


def test_a_mix_is_the_sum_of_its_stems_and_never_clips(timbres: list[Timbre]) -> None:
    piece = draw_piece(np.random.default_rng(3), 3.0, "rock")
    mix = render_mix(piece, ensemble(timbres), 4.0, RATE)
    assert set(mix.stems) == set(piece.parts)
    assert mix.mix.shape == (2, 4 * RATE)
    np.testing.assert_allclose(sum(mix.stems.values()), mix.mix, atol=1e-5)
    assert np.abs(mix.mix).max() <= PEAK + 1e-6


def test_the_lead_is_in_front_and_the_pad_behind(timbres: list[Timbre]) -> None:
    differences = []
    for seed in range(6):
        piece = draw_piece(np.random.default_rng(seed), 3.0, "ballad")
        if "pad" not in piece.parts:
            continue
        stems = render_mix(piece, ensemble(timbres, "ballad", seed), 4.0, RATE).stems
        lead, pad = (Audio(stems[role], RATE).loudness() for role in ("lead", "pad"))
        differences.append(lead - pad)
    assert len(differences) > 2
    assert np.mean(differences) == pytest.approx(BALANCE["lead"] - BALANCE["pad"], abs=2.5)


def test_an_ensemble_without_a_kit_leaves_the_drums_out(timbres: list[Timbre]) -> None:
    piece = draw_piece(np.random.default_rng(3), 3.0, "rock")
    dry = {r: replace(t, effects=Effects()) for r, t in ensemble(timbres).players.items()}
    quartet = replace(ensemble(timbres, "chamber"), players={k: dry[k] for k in ("bass", "lead")})
    assert set(render_mix(piece, quartet, 4.0, RATE).stems) == {"bass", "lead"}


def test_a_recorded_ensemble_is_in_one_tuning_and_goes_through_one_chain(
    timbres: list[Timbre],
) -> None:
    chain = Recording(tuning_cents=40, noise_db=-30)
    others = [replace(t, recording=Recording(tuning_cents=-40)) for t in timbres]
    for lead, recording in ((chain, chain), (None, None)):
        drawn = ensemble([replace(t, recording=lead) for t in others])
        assert drawn.recording == recording
        tunings = {t.recording and t.recording.tuning_cents for t in drawn.players.values()}
        assert tunings == {recording and 40}
    piece = draw_piece(np.random.default_rng(3), 1.0, "rock")
    heard = render_mix(piece, ensemble([replace(t, recording=chain) for t in timbres]), 2.0, RATE)
    assert np.abs(heard.mix[:, -100:]).max() > 1e-4  # the noise of the chain
    assert np.abs(heard.mix).max() <= PEAK + 1e-6
