"""Recording chains: what they change, and what they leave as it is."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import signal

from timbrel.data.render.recording import Recording, pink_noise
from timbrel.data.render.shares import Shares
from timbrel.data.render.timbres import draw_timbres
from timbrel.notes import Notes

RATE = 44_100


def level_db(samples: np.ndarray, low: float, high: float) -> float:
    hz, power = signal.welch(samples[0], RATE, nperseg=8192)
    return float(10 * np.log10(power[(hz > low) & (hz < high)].mean() + 1e-20))


def test_tuning_moves_the_pitch_and_not_the_time() -> None:
    timbres = draw_timbres(0, 20, "train", [], Shares(expressive=0.0))
    timbre = next(t for t in timbres if not t.drums)
    timbre = replace(timbre, effects=type(timbre.effects)())
    notes = Notes.from_rows([(4.0, 5.5, 69, 100)])
    tuned = replace(timbre, recording=Recording(tuning_cents=50))
    plain, raised = (t.render(notes, 6.0, RATE)[0] for t in (timbre, tuned))
    starts = [np.flatnonzero(np.abs(x) > 0.01 * np.abs(x).max())[0] for x in (plain, raised)]
    assert abs(starts[0] - starts[1]) < 0.005 * RATE

    def strongest(samples: np.ndarray) -> float:
        part = samples[int(4.5 * RATE) : int(5.3 * RATE)] * np.hanning(int(0.8 * RATE))
        spectrum = np.abs(np.fft.rfft(part, 1 << 19))
        return float(spectrum.argmax() * RATE / (1 << 19))

    cents = 1200 * np.log2(strongest(raised) / strongest(plain))
    assert cents == pytest.approx(50, abs=3)


def test_a_compressor_brings_soft_passages_up() -> None:
    time = np.arange(2 * RATE) / RATE
    loud_then_soft = np.where(time < 1, 1.0, 0.05) * np.sin(2 * np.pi * 440 * time)
    samples = np.stack([loud_then_soft, loud_then_soft]).astype(np.float32)
    squeezed = Recording(ratio=4, threshold_db=-24).apply(samples, RATE)
    before, after = (
        np.abs(x[0, -RATE // 2 :]).max() / np.abs(x[0, RATE // 4 : RATE // 2]).max()
        for x in (samples, squeezed)
    )
    assert after > 2 * before


def test_the_band_is_limited_and_noise_fills_pauses() -> None:
    white = 0.1 * np.random.default_rng(0).standard_normal((2, RATE))
    narrow = Recording(low_hz=150, high_hz=6_000).apply(white, RATE)
    middle = level_db(narrow, 800, 3_000)
    assert level_db(narrow, 20, 40) < middle - 15
    assert level_db(narrow, 15_000, 20_000) < middle - 12
    click = np.zeros((2, RATE), np.float32)
    click[:, 0] = 1
    noisy = Recording(noise_db=-50).apply(click, RATE)
    rms = 20 * np.log10(np.sqrt((noisy[:, 1000:] ** 2).mean()))
    assert rms == pytest.approx(-50, abs=1)


def test_pink_noise_falls_by_three_decibels_an_octave() -> None:
    noise = pink_noise(10 * RATE, np.random.default_rng(0))
    levels = [level_db(noise, hz, 2 * hz) for hz in (200, 400, 800, 1_600, 3_200, 6_400)]
    np.testing.assert_allclose(np.diff(levels), -3, atol=0.4)


def test_silence_stays_silent_and_draws_repeat() -> None:
    chain = Recording.draw(np.random.default_rng(3))
    assert chain == Recording.draw(np.random.default_rng(3))
    assert not chain.apply(np.zeros((2, 4_410), np.float32), RATE).any()


def test_recording_some_timbres_leaves_the_others_as_they_were() -> None:
    dry, some = (draw_timbres(1, 60, "train", [], Shares(recorded=share)) for share in (0.0, 0.5))
    assert [t.identity for t in dry] == [t.identity for t in some]
    recorded = [t for t in some if t.recording is not None]
    assert 15 < len(recorded) < 45
    assert [replace(t, recording=None) for t in some] == dry
