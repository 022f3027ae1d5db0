from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import signal

from soundfonts import write_font
from sounds import RATE, pitch_hz
from timbrel.data.render.effects import Effects
from timbrel.data.render.expression import CONTROL_HZ, Manner, advanced
from timbrel.data.render.scores import draw_score
from timbrel.data.render.shares import Shares
from timbrel.data.render.soundfont import SoundFont
from timbrel.data.render.synth import Patch
from timbrel.data.render.timbres import Timbre, draw_timbres
from timbrel.notes import Notes

PITCH = 60


@pytest.fixture(params=["synthesiser", "sound font"])
def straight(request: pytest.FixtureRequest, tmp_path: Path) -> Timbre:
    """A steady, nearly pure tone, played straight."""
    if request.param == "sound font":
        write_font(tmp_path / "sine.sf2")
        font = SoundFont(tmp_path / "sine.sf2")
        source: Patch | tuple = (font, font.presets()[0])
    else:
        drawn = Patch.draw(np.random.default_rng(0))
        steady = {"decay": 0.0, "vibrato_cents": 0.0, "detune_cents": 0.0, "breath": 0.0}
        source = replace(drawn, kind="bowed", tilt=6.0, attack=0.005, release=0.03, **steady)
    return Timbre(source, Effects(), "x", "x", "own", 30, 90, 1)


def heard_cents(samples: np.ndarray, pitch: int = PITCH) -> np.ndarray:
    """Deviation from a pitch over time, at CONTROL_HZ, from the phase of its first partial."""
    hz = pitch_hz(pitch)
    sos = signal.butter(2, [hz * 0.7, hz * 1.4], "band", fs=RATE, output="sos")
    phase = np.unwrap(np.angle(signal.hilbert(signal.sosfiltfilt(sos, samples[0]))))
    step = RATE // CONTROL_HZ
    found = np.diff(phase[::step]) / (2 * np.pi * step / RATE)
    return 1200 * np.log2(np.maximum(found, 1) / hz)


def at(curve: np.ndarray, seconds: float, width: float = 0.02) -> float:
    """Median of a curve around a time."""
    rate = RATE / (RATE // CONTROL_HZ)
    return float(
        np.median(curve[round((seconds - width) * rate) : round((seconds + width) * rate)])
    )


ONE = Notes.from_rows([(0.2, 2.2, PITCH, 100)])


def test_a_vibrato_has_the_depth_and_the_rate_of_its_player(straight: Timbre) -> None:
    swaying = replace(straight, manner=Manner(vibrato_cents=30, vibrato_hz=6, vibrato_delay=0.2))
    cents = heard_cents(swaying.render(ONE, 2.5))
    rate = RATE / (RATE // CONTROL_HZ)
    steady = cents[round(0.8 * rate) : round(2.0 * rate)]
    spectrum = np.abs(np.fft.rfft(steady * np.hanning(len(steady)), 1 << 16))
    assert np.argmax(spectrum) * rate / (1 << 16) == pytest.approx(6, abs=0.3)
    assert np.percentile(steady, 98) == pytest.approx(30, abs=4)
    assert np.percentile(steady, 2) == pytest.approx(-30, abs=4)
    assert abs(at(cents, 0.32)) < 5  # straight at first


def test_a_scoop_begins_below_and_a_fall_ends_below(straight: Timbre) -> None:
    manner = Manner(scoops=1, scoop_cents=100, falls=1, fall_cents=120, bend_seconds=0.15)
    cents = heard_cents(replace(straight, manner=manner).render(ONE, 2.5))
    assert at(cents, 0.2 + 0.05) == pytest.approx(-67, abs=15)
    assert at(cents, 0.2 + 0.11) == pytest.approx(-27, abs=15)
    assert at(cents, 1.2) == pytest.approx(0, abs=3)
    assert at(cents, 2.2 - 0.05) == pytest.approx(-80, abs=15)


def test_straight_players_stay_on_the_written_pitch(straight: Timbre) -> None:
    cents = heard_cents(straight.render(ONE, 2.5))
    assert max(abs(at(cents, t)) for t in (0.3, 0.8, 1.5, 2.1)) < 3


def test_a_swell_changes_the_level_by_its_depth_and_nothing_else(straight: Timbre) -> None:
    plain = straight.render(ONE, 2.5)
    swelling = replace(straight, manner=Manner(swell_db=9, swell_seconds=1.0)).render(ONE, 2.5)
    held = slice(round(0.4 * RATE), round(2.0 * RATE))
    ratio = np.abs(swelling[0, held]) / np.maximum(np.abs(plain[0, held]), 1e-6)
    loud = np.abs(plain[0, held]) > 0.3 * np.abs(plain).max()
    drop = -20 * np.log10(ratio[loud])
    assert drop.min() == pytest.approx(0, abs=0.1)
    assert drop.max() == pytest.approx(9, abs=0.1)


def test_a_bent_stem_leaves_the_next_one_straight(straight: Timbre) -> None:
    before = straight.render(ONE, 2.5)
    fallen = Manner(falls=1, fall_cents=200, bend_seconds=0.15)
    replace(straight, manner=fallen).render(ONE, 2.1)
    np.testing.assert_array_equal(straight.render(ONE, 2.5), before)


def test_equal_notes_are_played_equally_and_others_otherwise() -> None:
    manner = Manner.draw(np.random.default_rng(2))
    manner = replace(manner, vibrato_cents=20, scoops=0.5, swell_db=6)
    first, second = (draw_score(np.random.default_rng(s), 4.0, voices=1) for s in (1, 2))
    np.testing.assert_array_equal(manner.cents(first, 5.0), manner.cents(first, 5.0))
    assert not np.array_equal(manner.gain(first, 5.0, 100), manner.gain(second, 5.0, 100))


def test_in_the_middle_of_every_note_the_pitch_is_within_50_cents() -> None:
    bent = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        manner, notes = Manner.draw(rng), draw_score(rng, 8.0, voices=int(rng.choice([1, 3])))
        cents = manner.cents(notes, 10.0)
        middles = np.round((notes.onset + notes.offset) / 2 * CONTROL_HZ).astype(int)
        alone = [np.sum((notes.onset < m) & (notes.offset > m)) == 1 for m in middles / CONTROL_HZ]
        assert np.abs(cents[middles[alone]]).max(initial=0) <= 50
        bent += np.abs(cents).max() > 50
    assert bent > 10  # elsewhere, some go further


def test_chords_are_neither_scooped_nor_fall() -> None:
    manner = Manner(scoops=1, scoop_cents=150, falls=1, fall_cents=150)
    chord = Notes.from_rows([(0.5, 1.5, pitch, 90) for pitch in (60, 64, 67)])
    assert not manner.cents(chord, 2.0).any()
    legato = Notes.from_rows([(0.5, 1.01, 60, 90), (1.0, 1.5, 64, 90)])
    assert manner.cents(legato, 2.0).any()


def test_no_notes_need_no_bend() -> None:
    manner = Manner.draw(np.random.default_rng(0))
    assert not manner.cents(Notes.empty(), 1.0).any()


def test_a_clock_advances_with_the_pitch() -> None:
    octave = advanced(np.full(1_001, 1200.0))
    assert octave[0] == 0
    assert octave[-1] == pytest.approx(2.0)


def test_pianos_bells_organs_and_drums_are_not_bent() -> None:
    timbres = draw_timbres(0, 300, "train", [], Shares(expressive=1.0))
    for timbre in timbres:
        assert isinstance(timbre.source, Patch)
        played = timbre.manner != Manner()
        assert played == (not timbre.drums and timbre.source.kind not in ("bell", "organ"))
        assert abs(timbre.source.vibrato_cents) + timbre.manner.vibrato_cents <= 50
    group = {True: [], False: []}
    for number in range(14):
        timbre = replace(timbres[0], source=("font", "preset"), group=number, drums=False)
        group[timbre.bendable].append(number)
    assert group[False] == [0, 1, 2, 12]


def test_the_share_of_expressive_timbres_changes_no_other_draw() -> None:
    plain, played = (draw_timbres(4, 100, "train", [], Shares(expressive=k)) for k in (0.0, 0.4))
    assert [replace(t, manner=Manner()) for t in played] == plain
    bendable = [t for t in played if t.bendable]
    assert np.mean([t.manner != Manner() for t in bendable]) == pytest.approx(0.4, abs=0.12)
