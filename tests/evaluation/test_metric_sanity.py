"""Every score under known damage, as one table: does each move the right way?

`PYTHONPATH=tests python tests/evaluation/test_metric_sanity.py` prints the table of
docs/evaluation.md.
"""

import math
import tempfile
from dataclasses import asdict
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import scipy.signal

from sounds import RATE, pitch_hz, tone
from timbrel.audio import Audio
from timbrel.evaluation.cases import Case
from timbrel.evaluation.frechet import song_distances
from timbrel.evaluation.hearing import Memory
from timbrel.evaluation.retrieval import warped_distance
from timbrel.evaluation.scores import SCORE_NAMES, listen_to, score
from timbrel.notes import Notes, Track

SECONDS, BEAT = 10.1, 0.5
PITCHES = (60, 64, 67, 72, 67, 64, 62, 65, 69, 74, 69, 65)
VELOCITIES = (110, 50, 90, 60, 120, 40, 100, 70)
SHUFFLED = (50, 90, 60, 120, 100, 70, 110, 40)  # uncorrelated with them
# What each damage does: + more, - less, = the same, . not said.
COLUMNS = (
    "semitone", "octave", "30 ms", "250 ms", "low-pass", "other", "noise", "dynamics", "silent",
    "clipped",
)  # fmt: skip
EXPECTED = {
    #                       semi octa 30ms 250m lowp othr nois dyna sile clip
    "note_f1":              "-    -    =    -    =    .    =    =    -    =",
    "note_precision":       "-    -    =    -    .    =    =    =    =    =",
    "note_recall":          "-    -    =    -    =    .    =    =    -    =",
    "pitch_class_f1":       "-    =    =    -    =    =    =    =    -    =",
    "onset_f1":             "=    =    =    .    =    =    =    =    -    =",
    "offset_f1":            "-    -    -    -    .    .    -    =    -    =",
    "velocity_f1":          "-    -    =    -    =    =    =    -    -    .",
    "velocity_correlation": ".    =    =    -    =    =    =    -    -    .",
    "octave_errors":        "=    +    =    =    =    =    =    =    =    =",
    "given_f1":             "-    -    =    -    =    =    =    =    -    =",
    "beats_any_level":      "=    =    =    .    =    =    =    =    -    =",
    "beat_f1":              "=    =    =    -    =    =    =    =    -    =",
    "drum_onset_f1":        "=    =    =    .    =    =    .    .    -    =",
    "like_example":         ".    -    =    =    -    -    -    .    .    .",
    "like_source":          ".    .    =    =    .    +    -    .    .    .",
    "like_truth":           ".    -    =    =    -    -    -    .    .    -",
    "nearer":               "=    =    =    =    -    -    .    =    =    =",
    "musicnn_example":      ".    -    =    =    -    -    -    .    .    .",
    "musicnn_source":       ".    .    =    =    .    +    .    .    .    .",
    "musicnn_nearer":       "=    .    =    =    -    -    .    .    .    .",
    "chroma":               "-    =    -    -    =    .    .    .    -    =",
    "cqt":                  "-    -    -    -    =    =    -    .    -    =",
    "onset_correlation":    "=    =    -    -    =    -    -    .    -    =",
    "log_mel_distance":     "+    +    +    +    +    +    +    +    +    +",
    "level_distance":       "=    =    =    +    =    .    +    +    +    .",
    "loudness":             "=    .    =    =    -    .    .    .    .    +",
    "bandwidth":            "=    .    =    =    -    -    +    .    =    .",
    "silent_share":         "=    =    =    =    =    =    -    =    +    =",
    "clipped_share":        "=    =    =    =    =    =    =    =    =    +",
    "chroma walk":          "+    =    =    =    =    =    =    .    +    =",
    "song Fréchet":         "+    +    .    .    +    +    +    +    +    +",
}  # fmt: skip
LATER = {"note_drift", "timbre_drift"}  # need a longer piece: tests/evaluation/test_whole_pieces.py
NOT_HEARD = {"structure_apart"}  # in outputs: tests/evaluation/test_structure.py
LEAST = {
    "log_mel_distance": 0.3,
    "level_distance": 0.5,
    "loudness": 0.5,
    "bandwidth": 300.0,
    "song Fréchet": 1.0,
}
LEAST_SIMILARITY, LEAST_SHARE = 0.04, 0.09  # of others, by name: the smallest change that counts


def notes(velocities: tuple[int, ...] = VELOCITIES) -> Notes:
    """A tune in eighths, over a drum on every beat."""
    count = int((SECONDS - 1) / BEAT * 2)
    tune = [
        (0.1 + k * BEAT / 2, 0.1 + k * BEAT / 2 + 0.22, PITCHES[k % 12], velocities[k % 8], 0)
        for k in range(count)
    ]
    drum = [(0.1 + k * BEAT, 0.15 + k * BEAT, 36, 100, 1) for k in range(count // 2)]
    return Notes.from_rows(tune + drum, (Track(), Track(drums=True)))


def play(
    score: Notes, partials: int = 8, decay: float = 6.0, transpose: int = 0, later: float = 0.0
) -> np.ndarray:
    """Decaying harmonic tones, and bursts of noise."""
    out = np.zeros(round(SECONDS * RATE), np.float32)
    burst = np.random.default_rng(0).standard_normal(RATE // 20).astype(np.float32)
    burst *= np.exp(-np.arange(len(burst)) / 300)
    low = scipy.signal.butter(8, 5000, fs=RATE, output="sos")
    burst = 0.5 * scipy.signal.sosfilt(low, burst).astype(np.float32)
    for onset, offset, pitch, velocity, drum in zip(
        score.onset, score.offset, score.pitch, score.velocity, score.track, strict=True
    ):
        sound = burst
        if not drum:
            sound = tone(pitch_hz(int(pitch) + transpose), offset - onset, partials=partials)
            sound = sound * np.exp(-decay * np.arange(len(sound)) / RATE)
        start = round((onset + later) * RATE)
        out[start:][: len(sound)] += 0.5 * (velocity / 127) ** 2 * sound[: len(out) - start]
    return 0.5 * out


def damaged() -> dict[str, np.ndarray]:
    """The clean sound first."""
    rng, clean = np.random.default_rng(0), play(notes())
    low = scipy.signal.butter(8, 700, fs=RATE, output="sos")
    silent = clean.copy()
    silent[len(clean) // 2 :] = 0
    return {
        "clean": clean,
        "semitone": play(notes(), transpose=1),
        "octave": play(notes(), transpose=12),
        "30 ms": play(notes(), later=0.03),
        "250 ms": play(notes(), later=0.25),
        "low-pass": scipy.signal.sosfilt(low, clean).astype(np.float32),
        "other": play(notes(), partials=3, decay=0.0),
        "noise": clean + 0.3 * float(clean.std()) * rng.standard_normal(len(clean)),
        "dynamics": play(notes(SHUFFLED)),
        "silent": silent,
        "clipped": np.clip(60 * clean, -1, 1),
    }


@cache
def table() -> dict[str, dict[str, float]]:
    """Damage -> score -> value."""
    written = notes()
    rng = np.random.default_rng(1)
    case = Case(
        name="case",
        level="level",
        notes=written,
        given=written.corrupt(rng, drop=0.1),
        example=Audio(play(written.transpose(-5))[None], RATE),
        source=Audio(play(written, partials=3, decay=0.0)[None], RATE),
        truth=Audio(play(written)[None], RATE),
        beats=np.arange(0.1, SECONDS - 1, BEAT),
    )
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        memory = Memory(Path(folder))
        ears = listen_to(case, memory)
        assert case.truth is not None
        _, right = memory.listen(case.truth)
        for name, samples in damaged().items():
            audio = Audio(samples[None].astype(np.float32), RATE)
            scores, _ = score(audio, case, ears)
            _, heard = memory.listen(audio)
            patches = right.timbre.patches
            found[name] = asdict(scores) | {
                "chroma walk": warped_distance(heard.chroma, right.chroma),
                "song Fréchet": song_distances([heard.timbre.patches], patches)[0],
            }
    return found


def moved(name: str, damage: str) -> str:
    """+, - or = against the clean sound."""
    clean, value = table()["clean"][name], table()[damage][name]
    change = 0.0 if value == clean else value - clean
    usual = LEAST_SHARE if name.endswith(("f1", "precision", "recall")) else LEAST_SIMILARITY
    if abs(change) < LEAST.get(name, usual):
        return "="
    return "+" if change > 0 else "-"


def test_every_score_has_a_damage_that_it_must_show() -> None:
    named = {name for name in EXPECTED if set(EXPECTED[name]) & {"+", "-"}}
    assert set(SCORE_NAMES) - LATER - NOT_HEARD <= named


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPECTED)
def test_a_score_moves_the_right_way(name: str) -> None:
    assert math.isfinite(table()["clean"][name])
    marks = EXPECTED[name].split()
    for damage, mark in zip(COLUMNS, marks, strict=True):
        if mark in "+-=":
            assert moved(name, damage) == mark, (damage, table()[damage][name])


if __name__ == "__main__":
    print("| | clean | " + " | ".join(COLUMNS) + " |")
    print("|---" * (len(COLUMNS) + 2) + "|")
    for key in EXPECTED:
        values = [table()[damage][key] for damage in ("clean", *COLUMNS)]
        digits = 0 if max(abs(v) for v in values if math.isfinite(v)) > 100 else 2
        print(
            f"| {key.replace('_', ' ')} | " + " | ".join(f"{v:.{digits}f}" for v in values) + " |"
        )
