"""Hybrids: notes and times stay, resonances move, a second sound joins."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import signal

from soundfonts import write_font
from timbrel.data.render.effects import Effects
from timbrel.data.render.ensembles import Ensemble
from timbrel.data.render.hybrids import Hybrid
from timbrel.data.render.shares import Shares
from timbrel.data.render.soundfont import SoundFont
from timbrel.data.render.synth import Patch
from timbrel.data.render.timbres import Timbre, draw_timbres
from timbrel.notes import Notes

RATE = 44_100
NOTES = Notes.from_rows([(0.5, 1.5, 57, 100)])


@pytest.fixture(scope="module")
def bowed() -> Timbre:
    timbres = draw_timbres(0, 60, "train", [], Shares(expressive=0.0))
    found = next(t for t in timbres if isinstance(t.source, Patch) and t.source.kind == "bowed")
    assert isinstance(found.source, Patch)
    steady = replace(found.source, vibrato_cents=0.0, detune_cents=0.0, attack=0.005, breath=0.0)
    return replace(found, source=steady, effects=Effects())


def centroid(timbre: Timbre) -> float:
    hz, power = signal.welch(timbre.render(NOTES, 2.0, RATE)[0], RATE, nperseg=8192)
    return float((hz * power).sum() / power.sum())


def strongest_comb(timbre: Timbre) -> float:
    """The pitch, by autocorrelation, in Hz."""
    samples = timbre.render(NOTES, 2.0, RATE)[0][int(0.8 * RATE) : int(1.2 * RATE)]
    own = signal.correlate(samples, samples)[len(samples) - 1 :]
    lag = 60 + int(own[60:800].argmax())
    return RATE / lag


@pytest.mark.parametrize("semitones", [-5, 5])
def test_size_moves_neither_pitch_nor_onset(bowed: Timbre, semitones: int) -> None:
    sized = replace(bowed, hybrid=Hybrid(semitones))
    assert strongest_comb(sized) == pytest.approx(220, rel=0.01)
    for timbre in (bowed, sized):
        samples = np.abs(timbre.render(NOTES, 2.0, RATE)[0])
        onset = np.flatnonzero(samples > 0.05 * samples.max())[0]
        assert onset == pytest.approx(0.5 * RATE, abs=0.006 * RATE)


def test_resonances_move_with_size(bowed: Timbre) -> None:
    """The synthesiser's formant is fixed in Hz, so replaying it faster must raise it."""
    noise = replace(bowed.source, breath=0.3)
    breathy = replace(bowed, source=noise)
    smaller, larger = (centroid(replace(breathy, hybrid=Hybrid(k))) for k in (6, -6))
    assert smaller > 1.05 * larger


def test_a_layer_plays_the_same_notes_beside_the_instrument(bowed: Timbre) -> None:
    rng = np.random.default_rng(5)
    other = replace(bowed, source=Patch.draw(rng))
    layered = replace(bowed, hybrid=Hybrid(0, other.source, 0.0))
    own, second, both = (t.render(NOTES, 2.0, RATE)[0] for t in (bowed, other, layered))
    gain = np.linalg.lstsq(np.stack([own, second], 1), both, rcond=None)[0]
    np.testing.assert_allclose(np.stack([own, second], 1) @ gain, both, atol=1e-4)
    share = gain * np.sqrt([np.square(own).mean(), np.square(second).mean()])
    assert share[0] == pytest.approx(share[1], rel=0.01)  # 0 dB against the own


def test_a_silent_layer_changes_nothing() -> None:
    own = np.ones((2, 10), np.float32)
    assert Hybrid(0, None, 0.0).mixed(own, np.zeros_like(own)) is own


def test_making_some_hybrids_leaves_the_others_as_they_were() -> None:
    plain, some = (draw_timbres(1, 60, "train", [], Shares(hybrids=share)) for share in (0.0, 0.5))
    assert [t.identity for t in plain] == [t.identity for t in some]
    assert 15 < sum(t.hybrid is not None for t in some) < 45
    for before, after in zip(plain, some, strict=True):
        if after.hybrid is None:
            assert after == before
        elif not after.drums:
            moved = after.hybrid.semitones
            assert after.low == max(21, before.low + moved)
            assert after.high == min(108, before.high + moved)


def test_a_layer_of_a_font_brings_its_family_and_licence(tmp_path: Path) -> None:
    write_font(tmp_path / "FluidR3_tiny.sf2")
    fonts = [SoundFont(tmp_path / "FluidR3_tiny.sf2")]
    plain, some = (draw_timbres(0, 60, "train", fonts, Shares(hybrids=h)) for h in (0.0, 1.0))
    found = set()
    for before, after in zip(plain, some, strict=True):
        assert after.hybrid is not None
        own, layered = (isinstance(s, tuple) for s in (after.source, after.hybrid.layer))
        found.add((own, layered))
        labels = (before.family, before.licence)
        if layered and not own:
            labels = ("fluid+synth-train", "MIT+own")
        assert (after.family, after.licence) == labels
    assert len(found) == 4  # fonts and our own, with a layer of a font and without one


def test_an_ensemble_names_the_families_of_its_hybrids_once(bowed: Timbre) -> None:
    lead = replace(bowed, family="fluid+synth-train", licence="MIT+own")
    bass = replace(bowed, family="fluid", licence="MIT")
    ensemble = Ensemble("rock", {"lead": lead, "bass": bass}, {}, "two")
    assert (ensemble.family, ensemble.licence) == ("fluid+synth-train", "MIT+own")
