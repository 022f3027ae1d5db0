"""Judges of whole pieces: beats, drums, velocities, drift, retrieval; and their cases."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sounds import RATE, pitch_hz, tone
from timbrel.audio import Audio
from timbrel.data.render.styles import STYLES
from timbrel.evaluation import drums, likeness
from timbrel.evaluation.beats import beat_f1, beat_strength, beats_any_level, track_beats
from timbrel.evaluation.cases import Case, draw_cases
from timbrel.evaluation.drums import drum_onset_f1, drum_onsets, hits
from timbrel.evaluation.hearing import Memory
from timbrel.evaluation.notes_metrics import velocity_f1
from timbrel.evaluation.protocol import read_protocol
from timbrel.evaluation.retrieval import reciprocal_ranks, warped_distance
from timbrel.evaluation.scores import listen_to, note_drift, score, timbre_drift
from timbrel.evaluation.timbre_embedding import Heard
from timbrel.evaluation.velocity import velocity_correlation, with_velocities
from timbrel.notes import Notes, Track

FRAME_RATE = likeness.RATE / likeness.HOP


def clicks(times: np.ndarray, seconds: float, seed: int = 0) -> np.ndarray:
    """Bursts of noise at those times."""
    out = np.zeros(round(seconds * RATE), np.float32)
    rng = np.random.default_rng(seed)
    burst = rng.standard_normal(RATE // 20) * np.exp(-np.arange(RATE // 20) / 300)
    for time in times:
        start = round(time * RATE)
        out[start:][: len(burst)] += burst[: len(out) - start]
    return 0.3 * out


def beats_of(samples: np.ndarray) -> np.ndarray:
    return track_beats(beat_strength(likeness.log_mel_db(samples)), FRAME_RATE)


@pytest.mark.parametrize("bpm", [72.0, 100.0, 133.0])
def test_beats_are_found_at_any_tempo_and_not_where_there_are_none(bpm: float) -> None:
    true = np.arange(0.3, 19.5, 60 / bpm)
    assert beat_f1(true, beats_of(clicks(true, 20.0))) > 0.95
    assert beat_f1(true, true + 0.5 * 60 / bpm) == 0
    assert len(beats_of(np.zeros(20 * RATE, np.float32))) == 0
    assert len(beats_of(clicks(true, 5.0))) == 0  # too short to have a tempo


def test_beat_f1_is_known_where_every_second_beat_is_found() -> None:
    true = np.arange(0, 30, 0.5)
    assert beat_f1(true, true + 0.06) == 1
    assert beat_f1(true, true[::2]) == pytest.approx(2 / 3, abs=0.01)
    assert beat_f1(np.zeros(0), np.zeros(0)) == 1
    assert beat_f1(true, np.zeros(0)) == 0


def test_half_and_twice_the_tempo_are_other_levels_of_the_same_beats_and_a_third_is_none() -> None:
    true = np.arange(0, 30, 0.5)
    for other in (true[::2], np.arange(0, 30, 0.25), true + 0.25):
        assert beats_any_level(true, other) > 0.95
        assert beat_f1(true, other) < 0.7
    assert beats_any_level(true, np.arange(0, 30, 0.5 / 1.5)) < 0.2
    assert beats_any_level(true, np.zeros(0)) == 0


def test_drum_hits_are_heard_in_a_mix_and_held_notes_are_not_taken_for_them() -> None:
    times = np.arange(0.5, 11.5, 0.45)
    held = sum(tone(pitch_hz(p), 12.0) for p in (48, 55, 64))
    resample = Audio((0.2 * held + clicks(times, 12.0))[None].astype(np.float32), RATE)
    found = drum_onsets(resample.resample(drums.RATE).samples[0])
    assert drum_onset_f1(times, found) > 0.9
    alone = Audio((0.2 * held)[None].astype(np.float32), RATE).resample(drums.RATE)
    assert len(drum_onsets(alone.samples[0])) <= 2
    assert len(drum_onsets(np.zeros(drums.RATE, np.float32))) == 0


def test_strokes_at_once_are_one_hit_and_pitched_notes_none() -> None:
    tracks = (Track(), Track(drums=True))
    rows = [(0.5, 1, 60, 90, 0), (1, 1.1, 36, 90, 1), (1.01, 1.1, 42, 90, 1), (2, 2.1, 38, 9, 1)]
    assert hits(Notes.from_rows(rows, tracks)).tolist() == [1, 2]
    assert drum_onset_f1(np.array([1.0, 2.0]), np.array([1.04, 3.0])) == 0.5
    assert drum_onset_f1(np.zeros(0), np.zeros(0)) == 1


def melody(velocities: list[int]) -> tuple[Notes, np.ndarray]:
    """Notes whose amplitude is the square of their velocity, and their sound."""
    rows, out = [], np.zeros(round((0.5 * len(velocities) + 1) * RATE), np.float32)
    for k, velocity in enumerate(velocities):
        pitch = 60 + 2 * (k % 5)
        note = (velocity / 127) ** 2 * tone(pitch_hz(pitch), 0.4)
        out[round(0.5 * k * RATE) + 4410 :][: len(note)] += note
        rows.append((0.5 * k + 0.1, 0.5 * k + 0.5, pitch, velocity))
    return Notes.from_rows(rows), out


def test_velocities_are_heard_in_the_sound() -> None:
    notes, sound = melody([40, 100, 60, 120, 80, 50, 110, 70])
    spectrum = likeness.constant_q(sound)
    unknown = replace(notes, velocity=np.full(len(notes), 80, np.int16))
    heard = with_velocities(unknown, spectrum)
    assert velocity_f1(notes, heard) > 0.85
    reverse = replace(heard, velocity=heard.velocity[::-1].copy())
    assert velocity_f1(notes, reverse) < 0.6
    assert velocity_correlation(notes, spectrum) > 0.9
    against = replace(notes, velocity=(160 - notes.velocity).astype(np.int16))
    assert velocity_correlation(against, spectrum) < -0.9
    assert np.isnan(velocity_correlation(unknown, spectrum))


def test_a_piece_is_found_by_its_harmony_faster_or_slower() -> None:
    rng = np.random.default_rng(0)
    pieces = [rng.dirichlet(np.full(12, 0.2), 60).T for _ in range(5)]
    slower = [np.repeat(p, 2, axis=1)[:, :100] for p in pieces]
    assert reciprocal_ranks(slower, range(5), pieces) == [1.0] * 5
    assert warped_distance(pieces[0], pieces[0]) == pytest.approx(0, abs=1e-6)
    assert 0 < warped_distance(pieces[0], pieces[1]) < 1
    assert warped_distance(pieces[0], pieces[0][:, :0]) == 1
    # told the wrong piece is right, it is not first
    assert reciprocal_ranks([pieces[0]], [1], pieces)[0] < 1


def test_what_was_heard_is_remembered_without_listening_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = Audio(melody([90, 50, 70])[1][None], RATE)
    name, heard = Memory(tmp_path).listen(sound)
    monkeypatch.setattr("timbrel.evaluation.hearing.listen", lambda audio: pytest.fail("again"))
    again_name, again = Memory(tmp_path).listen(sound)
    assert again_name == name
    assert np.array_equal(again.notes.onset, heard.notes.onset)
    assert np.array_equal(again.notes.velocity, heard.notes.velocity)
    assert np.array_equal(again.timbre.patches, heard.timbre.patches)
    assert np.array_equal(again.chroma, heard.chroma)
    assert Memory(tmp_path).recall("another") is None
    assert len(list(tmp_path.iterdir())) == 1


def cover(name: str, seconds: float, *levels: str) -> list[Case]:
    """The first case of some levels."""
    protocol = read_protocol(name)
    kept = {level: protocol.levels[level] for level in levels}
    protocol = replace(protocol, seconds=seconds, levels=kept)
    return [make() for make in draw_cases(protocol, [], 1)]


def test_covers_of_both_levels_are_the_same_piece_and_the_right_answer_has_its_drums(
    tmp_path: Path,
) -> None:
    same, other = cover("cover", 11.0, "the same genre", "another genre")
    assert np.array_equal(same.notes.onset, other.notes.onset)
    assert same.source is not None
    assert other.source is not None
    assert other.truth is not None
    assert np.array_equal(same.source.samples, other.source.samples)
    styles = [str(c.facts["target"]).split("-")[0] for c in (same, other)]
    assert styles[0] == str(same.facts["source"]).split("-")[0]
    assert styles[1] != styles[0]
    struck = hits(other.notes)
    assert other.beats is not None
    assert len(struck) > 10
    assert np.mean(np.abs(other.beats[:, None] - struck).min(1) < 0.04) > 0.6
    memory = Memory(tmp_path)
    scores, _ = score(other.truth, other, listen_to(other, memory))
    assert scores.drum_onset_f1 > 0.5
    assert 0 <= scores.beat_f1 <= 1
    assert scores.onset_correlation == pytest.approx(1, abs=1e-4)
    assert np.isnan(scores.note_drift)  # too short


def test_every_genre_meets_another_with_the_same_parts() -> None:
    assert list(read_protocol("genre").levels) == list(STYLES)
    for case in cover("genre", 4.0, "rock", "chamber"):
        source, target = (str(case.facts[k]).split("-")[0] for k in ("source", "target"))
        assert source == case.level
        assert target != source
        assert bool(STYLES[source].drums) == bool(STYLES[target].drums)


def test_a_sound_that_loses_its_notes_and_its_timbre_drifts() -> None:
    notes, _ = melody([90] * 60)
    rng = np.random.default_rng(0)
    example, other = (
        Heard(np.zeros((6, 200)), rng.standard_normal((6, 64)).astype(np.float32)) for _ in range(2)
    )

    def ending(last: Heard) -> Heard:
        judged = np.concatenate([example.judged, example.judged, last.judged])
        return Heard(np.zeros((18, 200)), judged)

    lost = notes.where(notes.onset < 20)
    assert note_drift(notes, notes, 30.0) == pytest.approx(0, abs=1e-6)
    assert note_drift(lost, notes, 30.0) == -1
    assert timbre_drift(ending(example), example) == pytest.approx(0, abs=1e-6)
    assert timbre_drift(ending(other), example) < -0.5
    drums = replace(notes, tracks=(Track(drums=True),))  # alone, they are the notes
    assert note_drift(lost, drums, 30.0) == -1
