"""Metrics against values known in closed form; under known damage: test_metric_sanity.py."""

import math

import numpy as np
import pytest

from sounds import RATE, pitch_hz, tone
from timbrel.audio import Audio
from timbrel.evaluation import likeness
from timbrel.evaluation.compare import difference
from timbrel.evaluation.frechet import frechet_distance, frechet_infinity
from timbrel.evaluation.notes_metrics import note_scores
from timbrel.evaluation.signal import bandwidth, facts
from timbrel.evaluation.statistics import (
    mean_interval,
    means_interval,
    paired_difference,
    ratio_interval,
)
from timbrel.evaluation.systems import equalised, repeated
from timbrel.evaluation.transcriber import transcribe
from timbrel.notes import Notes

TUNE = [(0.3 + 0.5 * k, 0.7 + 0.5 * k, p) for k, p in enumerate((60, 64, 67, 72, 67, 64))]


def play(transpose: int = 0, later: float = 0.0, partials: int = 8, decay: float = 3.0) -> Audio:
    """The tune by decaying harmonic tones."""
    out = np.zeros(4 * RATE, np.float32)
    for onset, offset, pitch in TUNE:
        note = tone(pitch_hz(pitch + transpose), offset - onset, partials=partials)
        note *= np.exp(-decay * np.arange(len(note)) / RATE)
        out[round((onset + later) * RATE) :][: len(note)] += note
    return Audio(out[None], RATE)


def paired(first: Audio, second: Audio) -> dict[str, float]:
    a, b = likeness.pair(first, second)
    spectra = likeness.constant_q(a), likeness.constant_q(b)
    mels = likeness.log_mel_db(a), likeness.log_mel_db(b)
    strengths = likeness.onset_strength(mels[0]), likeness.onset_strength(mels[1])
    return {
        "chroma": likeness.chroma_similarity(*spectra),
        "cqt": likeness.cqt_similarity(*spectra),
        "onsets": likeness.onset_correlation(*strengths),
        "mel": likeness.log_mel_distance(*mels),
    }


def test_a_sound_is_fully_like_itself_whatever_its_level() -> None:
    quiet = Audio(0.1 * play().samples, RATE)
    scores = paired(play(), quiet)
    assert scores["chroma"] == pytest.approx(1, abs=1e-4)
    assert scores["cqt"] == pytest.approx(1, abs=1e-4)
    assert scores["onsets"] == pytest.approx(1, abs=1e-4)
    assert scores["mel"] < 0.1


def test_chroma_is_blind_to_octaves_and_the_constant_q_spectrum_is_not() -> None:
    octave, semitone = paired(play(), play(12)), paired(play(), play(1))
    assert octave["chroma"] > 0.9
    assert octave["cqt"] < 0.8 * octave["chroma"]
    assert semitone["chroma"] < 0.4


def test_a_pure_tone_lights_its_pitch_class() -> None:
    spectrum = likeness.constant_q(tone(440.0, 1.0, partials=1))
    assert likeness.chroma(spectrum)[:, 20].argmax() == 0  # A
    spectrum = likeness.constant_q(tone(pitch_hz(60), 1.0, partials=1))
    assert likeness.chroma(spectrum)[:, 20].argmax() == 3  # C


def test_a_fixed_gain_per_band_is_its_size_in_decibels() -> None:
    mel = np.random.default_rng(0).uniform(-40, -20, (50, 128))
    assert likeness.log_mel_distance(mel, mel + 6) == pytest.approx(6)
    assert likeness.log_mel_distance(mel, mel - 200) == pytest.approx(
        np.sqrt(np.mean((mel - (mel.max() - likeness.FLOOR_DB)) ** 2))
    )


def test_levels_are_compared_from_the_loudest_second_on() -> None:
    note = tone(440.0, 5.5)  # the half second at the end is not counted
    fading = note * 10 ** (-np.arange(len(note)) / RATE / 2)  # 10 dB a second
    first, second = likeness.levels_db(note), likeness.levels_db(0.1 * fading)
    assert first == pytest.approx(np.zeros(5), abs=0.1)
    assert second == pytest.approx([0, -10, -20, -30, -40], abs=0.1)
    assert likeness.level_distance(first, second) == pytest.approx(20, abs=0.1)
    silence = likeness.levels_db(np.zeros(2 * RATE))
    assert likeness.level_distance(silence, silence) == 0
    for seconds in (0, 1):
        assert math.isnan(likeness.level_distance(first[:seconds], second[:seconds]))
    gone = np.concatenate([note[:RATE], np.zeros(RATE, np.float32)])
    assert likeness.levels_db(gone)[1] == -likeness.LEVEL_FLOOR_DB


def test_silence_is_like_silence_only() -> None:
    silence = Audio(np.zeros((1, RATE), np.float32), RATE)
    assert paired(silence, silence)["chroma"] == 1
    assert paired(silence, play())["chroma"] < 0.01
    assert paired(silence, play())["onsets"] == 0


def test_the_signal_is_measured_in_its_units() -> None:
    assert bandwidth(tone(1000.0, 1.0, partials=1), RATE) == pytest.approx(1000, rel=0.05)
    half = np.concatenate([tone(440.0, 1.0), np.zeros(RATE, np.float32)])
    found = facts(half, RATE)
    assert found.silent_share == pytest.approx(0.5, abs=0.03)
    assert found.clipped_share == 0
    assert facts(np.clip(10 * half, -1, 1), RATE).clipped_share > 0.3
    nothing = facts(np.zeros(0, np.float32), RATE)
    assert (nothing.loudness, nothing.silent_share) == (-math.inf, 1)


def test_the_distance_of_gaussians_is_known() -> None:
    rng = np.random.default_rng(0)
    a = rng.standard_normal((40_000, 3))
    assert frechet_distance(a, a + np.array([3, 0, 4])) == pytest.approx(25, rel=1e-6)
    # variances 1 and 9 on each axis: (3 - 1)^2 each
    assert frechet_distance(a, 3 * rng.standard_normal((40_000, 3))) == pytest.approx(12, rel=0.03)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="two samples"):
        frechet_distance(a[:1], a)


def test_extrapolation_takes_most_of_the_bias_of_small_samples_away() -> None:
    rng = np.random.default_rng(1)
    reference = rng.standard_normal((20_000, 16))
    few = rng.standard_normal((120, 16))
    biased, corrected = frechet_distance(few, reference), frechet_infinity(few, reference)
    assert biased > 0.5
    assert corrected < 0.4 * biased


def test_intervals_hold_the_mean_and_shrink_with_cases() -> None:
    rng = np.random.default_rng(0)
    wide, narrow = (mean_interval(rng.standard_normal(n)) for n in (10, 1000))
    assert wide[1] < 0 < wide[2]
    assert narrow[2] - narrow[1] < 0.3 * (wide[2] - wide[1])
    assert all(math.isnan(v) for v in mean_interval([float("nan")]))
    assert mean_interval([1.0, float("nan"), 1.0])[0] == 1


@pytest.mark.parametrize(("cases", "least"), [(4, 0.8), (8, 0.89), (20, 0.91)])
def test_intervals_of_few_cases_hold_the_mean_as_often_as_they_say(
    cases: int, least: float
) -> None:
    rng = np.random.default_rng(7)
    found = [paired_difference([0.0] * cases, rng.standard_normal(cases)) for _ in range(400)]
    assert np.mean([low < 0 < high for _, low, high, _ in found]) >= least
    significant = [p < 0.05 for *_, p in found]
    assert np.mean(significant) <= 0.07


def test_one_case_has_no_interval() -> None:
    mean, low, high = mean_interval([0.28])
    assert mean == 0.28
    assert math.isnan(low)
    assert math.isnan(high)
    assert difference([0.1], [0.2]) == "+0.100"


def test_rounding_is_no_difference() -> None:
    same = np.full(14, 0.5)
    assert paired_difference(same, same + 6e-8)[3] == 1


def test_a_function_of_means_has_the_value_and_the_spread_of_its_cases() -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.2, 1.0, 30)
    share, low, high = ratio_interval(0.8 * truth, truth)
    assert (share, low, high) == pytest.approx((0.8, 0.8, 0.8))  # the same share in every case
    noisy = 0.8 * truth + 0.1 * rng.standard_normal(30)
    share, low, high = ratio_interval(noisy, truth)
    assert low < share < high
    assert share == pytest.approx(noisy.mean() / truth.mean())
    loss, *ends = means_interval(lambda a, b: 1 - a / b, [noisy, truth])
    assert (loss, *ends) == pytest.approx((1 - share, 1 - high, 1 - low))
    with_gap = means_interval(np.divide, [[*noisy, math.nan], [*truth, 1.0]])
    assert with_gap[0] == pytest.approx(share)
    for columns in (([], []), ([1.0, 1.0], [0.0, 0.0]), ([math.nan], [1.0])):
        assert all(math.isnan(v) for v in means_interval(np.divide, columns))


def test_a_paired_difference_sees_what_spread_between_cases_hides() -> None:
    rng = np.random.default_rng(0)
    hard = rng.uniform(0, 1, 30)
    difference, low, high, p = paired_difference(hard, hard + 0.02 + 0.01 * rng.standard_normal(30))
    assert difference == pytest.approx(0.02, abs=0.006)
    assert low > 0
    assert p < 0.01
    _, low, high, p = paired_difference(hard, rng.permutation(hard))
    assert low < 0 < high
    assert p > 0.05


def test_cases_of_the_same_sounds_prove_no_more_than_one_of_them() -> None:
    rng = np.random.default_rng(3)
    truth = rng.uniform(0.2, 1, 12)
    mine = truth * rng.uniform(0.7, 1.1, 12)
    groups = [f"sound {k}" for k in range(12)] * 7  # asked for at seven levels
    for once, often in (
        (mean_interval(mine), mean_interval(np.tile(mine, 7), groups)),
        (ratio_interval(mine, truth), ratio_interval(np.tile(mine, 7), np.tile(truth, 7), groups)),
        (
            paired_difference(truth, mine),
            paired_difference(np.tile(truth, 7), np.tile(mine, 7), groups),
        ),
    ):
        assert often == pytest.approx(once)
    # taken for independent, the same numbers seem far surer
    alone = mean_interval(np.tile(mine, 7))
    assert alone[2] - alone[1] < 0.6 * (mean_interval(mine)[2] - mean_interval(mine)[1])


def test_a_group_weighs_as_much_as_it_has_cases_and_gaps_leave_it() -> None:
    values = [1.0, 1.0, 1.0, 3.0, math.nan]
    mean, low, high = mean_interval(values, ["a", "a", "a", "b", "c"])
    assert (mean, low, high) == (1.5, 1.0, 3.0)
    p = paired_difference([0.0] * 8, [0.1] * 8, ["a"] * 4 + ["b"] * 4)[3]
    assert p == pytest.approx(2 / 2**2)  # two sounds, however often they are asked for


def test_few_cases_prove_nothing_even_if_all_agree() -> None:
    for count in (1, 3, 5, 6, 9):
        rising = [0.1 * k for k in range(1, count + 1)]
        p = paired_difference([0.0] * count, rising)[3]
        assert p == pytest.approx(2 / 2**count)
        # cases that do not differ are no evidence
        assert paired_difference([0.0] * 2 * count, [*rising, *[0.0] * count])[3] >= p
    assert paired_difference([0.5], [0.5])[3] == 1


def test_an_equalised_source_has_the_example_s_average_spectrum_and_its_own_notes() -> None:
    source, example = play(), play(partials=2, decay=0.0)
    matched = equalised(source, example)
    before, after = (paired(a, example)["mel"] for a in (source, matched))
    assert after < before
    found = transcribe(matched.samples[0], RATE)
    assert note_scores(Notes.from_rows([(a, b, p, 90) for a, b, p in TUNE]), found).f1 > 0.6


def test_repeating_fills_any_length() -> None:
    sound = Audio(np.arange(5, dtype=np.float32)[None], 10)
    assert repeated(sound, 1.2).samples[0].tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]
    assert repeated(sound, 0.3).samples[0].tolist() == [0, 1, 2]
