"""What is wrong with notes and examples that are given, and what they are judged by."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sounds import RATE, estimate_hz, tone
from timbrel.audio import Audio
from timbrel.evaluation.cases import draw_cases
from timbrel.evaluation.job import Job
from timbrel.evaluation.protocol import Setting, read_protocol, slowed
from timbrel.evaluation.run import evaluate, judge
from timbrel.evaluation.systems import EXAMPLE, FILTERED, references
from timbrel.notes import Notes


def test_every_fault_is_a_fault_of_the_same_case() -> None:
    faults = read_protocol("midi-faults")
    names = (
        "clean",
        "jitter 100 ms",
        "5 % dropped",
        "40 % dropped",
        "40 % added",
        "tempo drifts 5 %",
    )
    levels = {name: faults.levels[name] for name in names}
    cases = [
        make() for make in draw_cases(replace(faults, seconds=4.0, levels=levels), [], limit=1)
    ]
    clean = cases[0]
    assert clean.given is clean.notes
    assert clean.truth is not None
    for case in cases[1:]:
        assert case.truth is not None
        assert np.array_equal(case.truth.samples, clean.truth.samples), case.level
        assert np.array_equal(case.example.samples, clean.example.samples), case.level
        assert case.given is not case.notes
    by_level = {case.level: case for case in cases}
    assert len(by_level["40 % dropped"].given) < len(by_level["5 % dropped"].given)
    assert len(by_level["40 % added"].given) > len(clean.notes)


def test_an_example_is_given_shorter_noisier_and_quieter_and_judged_by_the_whole() -> None:
    protocol = replace(read_protocol("example"), seconds=4.0)
    names = ("8 s", "1 s", "noise 10 dB below", "20 dB quieter")
    levels = {name: protocol.levels[name] for name in names}
    whole, short, noisy, quiet = (
        make() for make in draw_cases(replace(protocol, levels=levels), [], 1)
    )
    assert whole.example_given is None
    for case in (short, noisy, quiet):
        assert np.array_equal(case.example.samples, whole.example.samples)
    given = [case.example_given for case in (short, noisy, quiet)]
    assert given[0] is not None
    assert given[0].seconds == pytest.approx(1.0)
    assert np.mean(given[0].samples ** 2) >= np.mean(whole.example.samples**2)
    assert given[1] is not None
    noise = given[1].samples - whole.example.samples
    ratio = np.mean(whole.example.samples**2) / np.mean(noise**2)
    assert 10 * np.log10(ratio) == pytest.approx(10, abs=0.2)
    assert given[2] is not None
    assert np.allclose(given[2].samples, 0.1 * whole.example.samples, atol=1e-6)


def test_every_recorded_example_is_a_recording_of_the_same_case() -> None:
    protocol = replace(read_protocol("recorded"), seconds=4.0)
    clean, *recorded = (make() for make in draw_cases(protocol, [], 1))
    again = [make() for make in draw_cases(protocol, [], 1)][1:]
    assert clean.example_given is None
    assert len(recorded) == 6
    assert clean.truth is not None
    for case, same in zip(recorded, again, strict=True):
        assert case.truth is not None
        assert np.array_equal(case.truth.samples, clean.truth.samples), case.level
        assert np.array_equal(case.example.samples, clean.example.samples), case.level
        assert case.given is case.notes
        assert case.example_given is not None
        assert np.array_equal(case.example_heard.samples, same.example_heard.samples), case.level
    for one, other in itertools.pairwise(case.example_heard for case in recorded):
        length = min(one.samples.shape[1], other.samples.shape[1])
        assert not np.allclose(one.samples[:, :length], other.samples[:, :length], atol=1e-3)


def recorded(samples: np.ndarray, seed: int = 0, **faults: float) -> np.ndarray:
    """(n,) -> (n',): an example as given."""
    example = Audio(samples[None].astype(np.float32), RATE)
    given = Setting(**faults).damage_example(example, np.random.default_rng(seed))  # type: ignore[arg-type]
    assert given is not None
    assert given.samples.shape[0] == 1
    return given.samples[0]


def test_a_room_sounds_on_and_is_drawn_by_the_seed() -> None:
    struck = np.pad(tone(440, 0.2), (0, RATE))
    tails = [recorded(struck, seed, example_room=0.5)[RATE // 4 :] for seed in (0, 0, 1)]
    assert np.abs(tails[0]).max() > 0.02
    assert np.array_equal(tails[0], tails[1])
    assert not np.allclose(tails[0], tails[2], atol=1e-3)


def test_a_microphone_hears_a_band_and_a_compressor_brings_soft_notes_up() -> None:
    noise = np.random.default_rng(0).standard_normal(2 * RATE)
    heard = recorded(0.1 * noise, example_low_hz=300.0, example_high_hz=3400.0)
    power = np.abs(np.fft.rfft(heard)) ** 2
    hz = np.fft.rfftfreq(len(heard), 1 / RATE)
    low, middle, high = (
        10 * np.log10(power[(hz > a) & (hz < b)].mean())
        for a, b in ((20, 80), (600, 2000), (9000, 16_000))
    )
    assert middle - low > 20
    assert middle - high > 15
    steps = np.concatenate([tone(440, 1.0), 0.03 * tone(440, 1.0)])
    squeezed = recorded(steps, example_ratio=6.0)
    loud, soft = squeezed[RATE // 2 : RATE], squeezed[-RATE // 2 :]
    assert np.abs(soft).max() / np.abs(loud).max() > 1.8 * 0.03


def test_an_example_out_of_tune_is_sharp_to_its_end() -> None:
    heard = recorded(tone(440, 2.0), example_cents=30.0)
    cents = 1200 * np.log2(estimate_hz(heard, 400, 500) / 440)
    assert cents == pytest.approx(30, abs=1)
    assert np.abs(heard[-200:]).max() > 0.5 * np.abs(heard).max()  # no silence was added


def test_a_room_leaves_the_noise_as_it_is() -> None:
    note = tone(440, 1.0)
    room = recorded(note, example_room=0.5)
    noisy = recorded(note, example_noise=20.0)
    both = recorded(note, example_room=0.5, example_noise=20.0)
    drawn = np.random.default_rng(0).standard_normal(len(note))
    for noise in (noisy - note, both - room):
        assert np.corrcoef(noise, drawn)[0, 1] > 0.999


def test_rows_are_given_the_example_with_its_faults_and_judged_by_the_clean_one(
    tmp_path: Path,
) -> None:
    levels = {"clean": {}, "as loud as its noise": {"example_noise": 0.0}}
    protocol = replace(read_protocol("recorded"), seconds=4.0, levels=levels)
    rows = {name: references()[name] for name in (EXAMPLE, FILTERED)}
    clean, filtered, noisy, filtered_by_noise = (
        record
        for make in draw_cases(protocol, [], 1)
        for record in judge(make, rows, tmp_path, set())
    )
    assert noisy.example == clean.example  # what likeness is judged by
    assert clean.scores["like_example"] > 0.9
    assert noisy.scores["like_example"] < 0.6
    assert filtered_by_noise.heard != filtered.heard


def test_notes_that_jitter_before_the_beginning_are_no_failure(tmp_path: Path) -> None:
    faults = read_protocol("midi-faults")
    level = {"jitter 100 ms": faults.levels["jitter 100 ms"]}
    job = Job(replace(faults, seconds=4.0, levels=level), limit=2)
    assert any(make().given.onset.min() < 0 for make in job.cases())
    assert not [r for r in evaluate(job, tmp_path / "report") if r.failure]


def test_a_tempo_that_drifts_ends_slower_by_its_share() -> None:
    notes = Notes.from_rows([(k, k + 0.5, 60, 90) for k in range(100)])
    gaps = np.diff(slowed(notes, 0.1).onset)
    assert gaps[0] == pytest.approx(1, abs=0.01)
    assert gaps[-1] == pytest.approx(1.1, abs=0.01)
