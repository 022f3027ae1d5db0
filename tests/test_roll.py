import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timbrel.notes import Notes, Track
from timbrel.roll import ONSET, SOUNDING, VELOCITY, roll

RATE = 43.06640625

note = st.tuples(st.floats(0, 3), st.floats(0.02, 2), st.integers(40, 44), st.integers(1, 127)).map(
    lambda n: (n[0], n[0] + n[1], n[2], n[3])
)
pieces = st.lists(note, max_size=12).map(Notes.from_rows)


@settings(max_examples=60, deadline=None)
@given(pieces, st.integers(0, 60))
def test_shifting_notes_by_frames_shifts_the_roll(notes: Notes, frames: int) -> None:
    here = roll(notes, RATE, 240)
    there = roll(notes.shift(frames / RATE), RATE, 240 + frames)
    np.testing.assert_allclose(there[:, :, frames:], here, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(pieces, st.integers(0, 120), st.integers(1, 100))
def test_cutting_a_roll_equals_rolling_the_cut(notes: Notes, start: int, length: int) -> None:
    whole = roll(notes, RATE, 240)[:, :, start : start + length]
    part = roll(notes.cut(start / RATE, (start + length) / RATE), RATE, whole.shape[2])
    np.testing.assert_allclose(part, whole, atol=1e-5)
    np.testing.assert_allclose(roll(notes, RATE, whole.shape[2], start / RATE), whole, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(pieces)
def test_values_lie_between_zero_and_one(notes: Notes) -> None:
    rolled = roll(notes, RATE, 200)
    assert np.isfinite(rolled).all()
    assert rolled.min(initial=0) >= 0
    assert rolled.max(initial=0) <= 1


@settings(max_examples=60, deadline=None)
@given(pieces)
def test_sounding_adds_up_to_the_time_that_a_pitch_sounds(notes: Notes) -> None:
    rolled = roll(notes, RATE, 300)
    for pitch in range(40, 45):
        times = np.zeros(30_000, bool)
        for a, b in zip(
            notes.onset[notes.pitch == pitch], notes.offset[notes.pitch == pitch], strict=True
        ):
            times[int(a * 5000) : int(b * 5000)] = True
        assert rolled[SOUNDING, pitch].sum() / RATE == pytest.approx(times.sum() / 5000, abs=0.005)


def test_no_notes_give_an_empty_roll() -> None:
    assert roll(Notes.empty(), RATE, 50).sum() == 0
    assert roll(Notes.empty(), RATE, 0).shape == (3, 128, 0)


def test_repeated_notes_of_one_pitch_stay_apart() -> None:
    notes = Notes.from_rows([(k * 0.25, (k + 1) * 0.25, 60, 90) for k in range(4)])
    assert (roll(notes, RATE, 50)[ONSET, 60] > 0).sum() == 4


def test_two_tracks_at_one_pitch_do_not_add_up() -> None:
    tracks = (Track(), Track())
    notes = Notes.from_rows([(0, 1, 60, 127, 0), (0, 1, 60, 127, 1)], tracks)
    rolled = roll(notes, RATE, 40)
    assert rolled[VELOCITY].max() == 1
    assert rolled[SOUNDING].max() == 1


def test_the_onset_tells_where_in_its_frame_it_lies() -> None:
    notes = Notes.from_rows([(10.25 / RATE, 20 / RATE, 60, 90)])
    rolled = roll(notes, RATE, 30)
    assert rolled[ONSET, 60, 10] == pytest.approx(0.75, abs=1e-5)
    assert rolled[SOUNDING, 60, 10] == pytest.approx(0.75, abs=1e-5)


def test_the_first_frame_says_how_long_ago_a_note_began_if_it_is_asked() -> None:
    notes = Notes.from_rows([(0.0, 3.0, 60, 90), (0.5, 0.8, 62, 90), (1.0, 3.0, 64, 90)])
    start = 1.0
    known = roll(notes, RATE, 40, start, ages=True)
    assert known[ONSET, 60, 0] == pytest.approx(-start * RATE)
    assert known[ONSET, 62, 0] == 0  # it is over
    assert known[ONSET, 64, 0] == 1  # it begins here
    np.testing.assert_array_equal(np.maximum(known, 0), roll(notes, RATE, 40, start))
    twice = Notes.from_rows([(0.0, 3.0, 60, 90), (0.6, 2.0, 60, 30)])
    assert roll(twice, RATE, 4, start, ages=True)[ONSET, 60, 0] == pytest.approx(-0.4 * RATE)
