import itertools
from dataclasses import replace

import numpy as np
import pytest

from sounds import RATE, estimate_hz, pitch_hz
from timbrel.data.render.effects import Effects
from timbrel.data.render.scores import draw_score
from timbrel.data.render.synth import KINDS, REGIONS, Patch, render_kit, render_patch
from timbrel.notes import Notes


def patch(kind: str, seed: int = 0, split: str = "train") -> Patch:
    drawn = Patch.draw(np.random.default_rng(seed), split)
    return replace(drawn, kind=kind, vibrato_cents=0.0, detune_cents=0.0, breath=0.0, ratio=1.0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pitch", [40, 57, 69, 88])
def test_notes_are_in_tune(kind: str, pitch: int) -> None:
    sound = replace(patch(kind), inharmonicity=0.0, decay=1.0)
    samples = render_patch(sound, Notes.from_rows([(0, 2, pitch, 90)]), 2.0)[0]
    hz = pitch_hz(pitch)
    found = estimate_hz(samples, hz * 0.8, hz * 1.2)
    assert 1200 * abs(np.log2(found / hz)) < 5


@pytest.mark.parametrize("kind", KINDS)
def test_notes_begin_when_written_and_fade_after_their_end(kind: str) -> None:
    notes = Notes.from_rows([(0.5, 1.0, 60, 100)])
    samples = render_patch(replace(patch(kind), attack=0.004, release=0.05), notes, 2.0)[0]
    first = int(np.argmax(np.abs(samples) > 1e-3 * np.abs(samples).max())) / RATE
    assert np.abs(samples[: int(0.5 * RATE)]).max() == 0
    assert first == pytest.approx(0.5, abs=0.002)
    assert np.abs(samples[int(1.4 * RATE) :]).max() < 0.02 * np.abs(samples).max()


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_aliases(kind: str) -> None:
    samples = render_patch(patch(kind), Notes.from_rows([(0, 1, 100, 120)]), 1.0)[0]
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    low = spectrum[: int(pitch_hz(100) * 0.45)].sum()
    assert low < 1e-4 * spectrum.sum()


def test_no_drawn_sound_has_a_partial_below_its_note() -> None:
    notes, hz = Notes.from_rows([(0, 1, 60, 100)]), pitch_hz(60)
    for seed in range(80):
        sound = replace(Patch.draw(np.random.default_rng(seed)), breath=0.0)
        samples = render_patch(sound, notes, 1.0)[0]
        spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
        assert spectrum[: int(0.8 * hz)].sum() < 1e-3 * spectrum.sum(), sound


def test_splits_draw_from_disjoint_regions() -> None:
    ranges = sorted(REGIONS.values())
    assert all(a[1] < b[0] for a, b in itertools.pairwise(ranges))
    for split, (low, high) in REGIONS.items():
        drawn = [Patch.draw(np.random.default_rng(s), split).character for s in range(200)]
        assert low <= min(drawn) <= max(drawn) <= high


def test_rendering_is_deterministic_finite_and_unclipped() -> None:
    for seed in range(12):
        rng = np.random.default_rng(seed)
        sound, notes = Patch.draw(rng), draw_score(rng, 2.0, voices=6)
        first, second = (render_patch(sound, notes, 2.5) for _ in range(2))
        np.testing.assert_array_equal(first, second)
        assert np.isfinite(first).all()
        assert np.abs(first).max() <= 0.9 + 1e-6


def test_louder_notes_are_louder() -> None:
    soft, loud = (
        np.abs(render_patch(patch("additive"), Notes.from_rows([(0, 1, 60, v)]), 1.0)).mean()
        for v in (30, 110)
    )
    assert loud > 3 * soft


def test_every_kit_piece_is_heard() -> None:
    rng = np.random.default_rng(0)
    for pitch in (36, 38, 42, 46, 49, 45):
        samples = render_kit(Patch.draw(rng), Notes.from_rows([(0.1, 0.2, pitch, 100)]), 1.0)
        assert np.abs(samples).max() > 0.02


def test_effects_are_the_same_each_time_and_keep_the_peak() -> None:
    samples = render_patch(patch("plucked"), Notes.from_rows([(0, 0.5, 60, 100)]), 1.0)
    for seed in range(10):
        effects = Effects.draw(np.random.default_rng(seed))
        first, second = (effects.apply(samples, RATE) for _ in range(2))
        np.testing.assert_array_equal(first, second)
        assert np.abs(first).max() == pytest.approx(np.abs(samples).max(), rel=1e-3)


def test_effects_leave_silence_silent() -> None:
    effects = Effects.draw(np.random.default_rng(1))
    assert np.abs(effects.apply(np.zeros((2, 4410), np.float32), RATE)).max() == 0
