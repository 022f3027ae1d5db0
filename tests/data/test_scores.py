import numpy as np
import pytest

from timbrel.data.render.scores import STYLES, draw_score


@pytest.mark.parametrize("style", [s for s in STYLES if s != "drums"])
def test_every_style_stays_in_range_and_never_overlaps_a_pitch(style: str) -> None:
    for seed in range(8):
        notes = draw_score(np.random.default_rng(seed), 10, 48, 80, 4, style)
        assert len(notes) > 2
        assert notes.pitch.min() >= 48
        assert notes.pitch.max() <= 80
        assert notes.onset.max() < 10
        for pitch in np.unique(notes.pitch):
            same = notes.where(notes.pitch == pitch)
            assert (same.onset[1:] >= same.offset[:-1] - 1e-9).all()


def test_one_voice_is_strictly_monophonic() -> None:
    for seed in range(40):
        notes = draw_score(np.random.default_rng(seed), 10, 50, 80, voices=1)
        assert (notes.onset[1:] >= notes.offset[:-1] - 1e-9).all()


def test_held_scores_are_held() -> None:
    for voices in (1, 4):
        scores = [
            draw_score(np.random.default_rng(s), 11, 50, 74, voices, "held") for s in range(9)
        ]
        longest = [float((n.offset - n.onset).max()) for n in scores]
        assert min(longest) > 0.8
        assert np.median(longest) > 3


def test_cover_reaches_every_pitch_soft_and_loud() -> None:
    scores = [draw_score(np.random.default_rng(s), 12, 50, 74, 4, "cover") for s in range(12)]
    pitches = np.concatenate([n.pitch for n in scores])
    velocities = np.concatenate([n.velocity for n in scores])
    assert set(range(50, 75)) <= set(pitches.tolist())
    assert velocities.min() < 25
    assert velocities.max() > 120


def test_drums_are_flagged_and_use_kit_pieces() -> None:
    notes = draw_score(np.random.default_rng(0), 10, drums=True)
    assert len(notes.drums()) == len(notes) > 20
    assert set(notes.pitch.tolist()) <= {35, 36, 38, 40, 42, 44, 45, 46, 49, 50, 51}


def test_the_same_seed_draws_the_same_score() -> None:
    first, second = (draw_score(np.random.default_rng(5), 10) for _ in range(2))
    np.testing.assert_array_equal(first.onset, second.onset)
    np.testing.assert_array_equal(first.pitch, second.pitch)
