import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sounds import RATE, pitch_hz, tone
from timbrel.audio import Audio
from timbrel.errors import InputError, ModelError
from timbrel.evaluation import packaged, timbre_embedding, timbre_judge, transcriber
from timbrel.evaluation.cases import Case
from timbrel.evaluation.hearing import Memory
from timbrel.evaluation.mel import mel_filters
from timbrel.evaluation.notes_metrics import note_scores, velocity_f1
from timbrel.evaluation.scores import listen_to
from timbrel.evaluation.timbre_embedding import hear, similarity
from timbrel.evaluation.transcriber import posteriors, transcribe
from timbrel.notes import Notes

TUNE = [(0.3 + 0.5 * k, 0.7 + 0.5 * k, p, 90) for k, p in enumerate((60, 64, 67, 72, 67, 64))]


def play(rows: list[tuple[float, float, int, int]], seconds: float = 4.0) -> np.ndarray:
    """Decaying harmonic tones."""
    out = np.zeros(round(seconds * RATE), np.float32)
    for onset, offset, pitch, _ in rows:
        note = tone(pitch_hz(pitch), offset - onset)
        note *= np.exp(-3 * np.arange(len(note)) / RATE)
        start = round(onset * RATE)
        out[start : start + len(note)] += note
    return out


def test_a_tune_is_transcribed() -> None:
    assert note_scores(Notes.from_rows(TUNE), transcribe(play(TUNE), RATE)).f1 > 0.8


def test_transcription_follows_a_shift_across_its_windows() -> None:
    here = transcribe(play(TUNE), RATE)
    later = np.concatenate([np.zeros(round(1.3 * RATE), np.float32), play(TUNE)])
    assert note_scores(here.shift(1.3), transcribe(later, RATE)).f1 > 0.9


def test_silence_has_no_notes_and_posteriors_cover_the_audio() -> None:
    assert len(transcribe(np.zeros(RATE, np.float32), RATE)) == 0
    onset, sounding = posteriors(np.zeros(3 * RATE, np.float32), RATE)
    assert onset.shape == sounding.shape == (88, 259)


def test_audio_that_is_not_numbers_is_refused() -> None:
    bad = np.full(RATE, np.nan, np.float32)
    for judge in (transcribe, hear):
        with pytest.raises(InputError, match="not numbers"):
            judge(bad, RATE)


@pytest.fixture
def judges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the judges' weights, in place of them; nothing is loaded yet."""
    home = tmp_path / "timbrel/evaluation/weights"
    shutil.copytree(packaged.FOLDER, home)
    monkeypatch.setattr(packaged, "FOLDER", home)
    monkeypatch.setattr("timbrel.checksum.PACKAGE", tmp_path / "timbrel")
    for load in (transcriber._session, timbre_embedding._weights, timbre_judge._judge):
        load.cache_clear()
    return home


def overwrite(path: Path) -> None:
    """Change some bytes in the middle."""
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes(16) + content[middle + 16 :])


@pytest.mark.parametrize(
    ("name", "judge"),
    [
        ("basic_pitch.onnx", lambda x: transcribe(x, RATE)),
        ("musicnn.npz", lambda x: hear(x, RATE)),
        ("timbre_judge.safetensors", lambda x: hear(x, RATE)),
    ],
)
@pytest.mark.parametrize(("harm", "words"), [(Path.unlink, "missing"), (overwrite, "damaged")])
def test_a_judge_whose_weights_are_not_whole_says_how_to_repair_it(
    judges: Path,
    name: str,
    judge: Callable[[np.ndarray], object],
    harm: Callable[[Path], None],
    words: str,
) -> None:
    harm(judges / name)
    cure = "--force-reinstall`.*`git checkout -- src/timbrel/evaluation/weights`"
    with pytest.raises(ModelError, match=rf"/{name} is {words}.*{cure}"):
        judge(tone(440, 1.0))
    # an evaluation ends, instead of finding fault with every output
    sound, notes = Audio(tone(440, 1.0)[None], RATE), Notes.from_rows(TUNE)
    with pytest.raises(ModelError, match=cure):
        listen_to(Case("", "", notes, notes, sound, None, None), Memory(judges))


def test_a_perfect_estimate_scores_one_and_nothing_scores_zero() -> None:
    notes = Notes.from_rows(TUNE)
    perfect, nothing = note_scores(notes, notes), note_scores(notes, Notes.empty())
    assert perfect.f1 == perfect.pitch_class_f1 == perfect.onset_f1 == 1
    assert perfect.octave_error_rate == 0
    assert nothing.f1 == nothing.precision == nothing.recall == 0
    assert note_scores(Notes.empty(), Notes.empty()).f1 == 1


def test_a_wrong_octave_shows_in_pitch_class_and_octave_errors_alone() -> None:
    notes = Notes.from_rows(TUNE)
    scores = note_scores(notes, notes.transpose(12))
    assert scores.f1 == 0
    assert scores.pitch_class_f1 == 1
    assert scores.octave_error_rate == 1
    scores = note_scores(notes, notes.transpose(1))
    assert scores.f1 == scores.pitch_class_f1 == scores.octave_error_rate == 0
    assert scores.onset_f1 == 1


@pytest.mark.parametrize(("heard", "errors"), [((60,), 0.0), ((72,), 0.0), ((84,), 0.5)])
def test_a_note_heard_where_it_is_is_nobody_s_octave_error(
    heard: tuple[int, ...], errors: float
) -> None:
    octave = Notes.from_rows([(0.5, 1, pitch, 90) for pitch in (60, 72)])
    estimate = Notes.from_rows([(0.5, 1, pitch, 90) for pitch in heard])
    assert note_scores(octave, estimate).octave_error_rate == errors


@pytest.mark.parametrize(("seconds", "f1"), [(0.04, 1.0), (0.06, 0.0)])
def test_onsets_may_be_50_ms_off(seconds: float, f1: float) -> None:
    notes = Notes.from_rows(TUNE)
    assert note_scores(notes, notes.shift(seconds)).f1 == f1


def test_where_time_begins_does_not_matter() -> None:
    notes = Notes.from_rows(TUNE).shift(-1)
    assert note_scores(notes, notes).f1 == 1
    assert note_scores(notes, notes.shift(0.01)).f1 == 1
    assert velocity_f1(notes, notes.shift(0.01)) == 1


def test_half_of_the_notes_missing_halves_recall_alone() -> None:
    notes = Notes.from_rows(TUNE)
    scores = note_scores(notes, notes.where(np.arange(6) % 2 == 0))
    assert (scores.precision, scores.recall) == (1.0, 0.5)


def test_offsets_and_velocities_count_only_where_they_should() -> None:
    notes = Notes.from_rows(TUNE)
    short = Notes.from_rows([(a, a + 0.2, p, v) for a, _, p, v in TUNE])
    scores = note_scores(notes, short)
    assert (scores.f1, scores.offset_f1) == (1.0, 0.0)
    assert note_scores(notes, notes).offset_f1 == 1
    loud = Notes.from_rows([(a, b, p, 20 + 15 * k) for k, (a, b, p, _) in enumerate(TUNE)])
    softer = Notes.from_rows([(a, b, p, 10 + 7 * k) for k, (a, b, p, _) in enumerate(TUNE)])
    reverse = Notes.from_rows([(a, b, p, 95 * (k % 2) + 10) for k, (a, b, p, _) in enumerate(TUNE)])
    assert velocity_f1(loud, softer) == 1  # up to a linear change of scale
    assert velocity_f1(loud, reverse) < 0.7


def test_mel_filters_have_unit_area_and_cover_the_spectrum() -> None:
    filters = mel_filters(16_000, 512, 96)
    assert filters.shape == (96, 257)
    wide = filters[-10:].sum(1) * 16_000 / 512
    np.testing.assert_allclose(wide, 1, atol=0.1)


def test_the_timbre_judge_hears_sounds_of_any_length_and_loudness() -> None:
    sound = tone(440, 5.2, partials=12)
    vectors = hear(sound, RATE).judged
    assert vectors.shape == (3, timbre_judge.DIM)  # patches of 3 s, one a second
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(hear(0.01 * sound, RATE).judged, vectors, atol=1e-3)
    short = hear(sound[: RATE // 2], RATE).judged
    assert short.shape == (1, timbre_judge.DIM)
    other_rate = Audio(sound[None], RATE).resample(32_000)
    assert similarity(hear(other_rate.samples[0], 32_000).judge, vectors.mean(0)) > 0.9


def test_the_embedding_hears_timbre_before_notes() -> None:
    def saw(rows: list[tuple[float, float, int, int]], partials: int, decay: float) -> np.ndarray:
        out = np.zeros(4 * RATE, np.float32)
        for onset, offset, pitch, _ in rows:
            note = tone(pitch_hz(pitch), offset - onset, partials=partials)
            note *= np.exp(-decay * np.arange(len(note)) / RATE)
            out[round(onset * RATE) :][: len(note)] += note
        return out

    other = [(a, b, 126 - p, v) for a, b, p, v in TUNE]
    plucked, elsewhere, organ = saw(TUNE, 20, 8), saw(other, 20, 8), saw(TUNE, 2, 0)
    vectors = [hear(x, RATE).judge for x in (plucked, elsewhere, organ)]
    same_timbre = similarity(vectors[0], vectors[1])
    same_notes = similarity(vectors[0], vectors[2])
    assert same_timbre > same_notes
    assert similarity(vectors[0], hear(0.1 * plucked, RATE).judge) > 0.99
