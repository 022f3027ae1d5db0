"""Steady noise is taken out of examples, and nothing that is of the sound."""

import numpy as np
import pytest
from scipy import signal

from sounds import RATE
from timbrel.conditions.background import LEAST_DB, steady_noise, without_background

SECONDS = 4.0


def melody(breath: float = 0.0) -> np.ndarray:
    """Eight notes of ten harmonics, with pauses; breath sounds with its notes alone."""
    rng = np.random.default_rng(3)
    time = np.arange(int(0.5 * RATE)) / RATE
    envelope = np.minimum(time / 0.01, 1) * np.clip((0.4 - time) / 0.05, 0, 1)
    notes = []
    for pitch in (60, 64, 67, 72, 71, 67, 62, 60):
        hz = 440 * 2 ** ((pitch - 69) / 12)
        tone = sum(np.sin(2 * np.pi * hz * k * time) / k for k in range(1, 11))
        notes.append(envelope * (0.2 * tone + breath * rng.standard_normal(len(time))))
    return np.concatenate(notes).astype(np.float32)


def noise(decibels: float, sound: np.ndarray, colour: float = 0.0) -> np.ndarray:
    """So much below the sound; its power falls by `colour` times 3 dB an octave."""
    rng = np.random.default_rng(5)
    spectrum = np.fft.rfft(rng.standard_normal(len(sound)))
    spectrum *= np.maximum(np.fft.rfftfreq(len(sound), 1 / RATE), 20) ** (-colour / 2)
    wave = np.fft.irfft(spectrum, len(sound))
    level = np.sqrt((sound**2).mean()) * 10 ** (-decibels / 20)
    return (level * wave / np.sqrt((wave**2).mean())).astype(np.float32)


def decibels(wave: np.ndarray, over: np.ndarray) -> float:
    return 10 * float(np.log10((wave**2).mean() / (over**2).mean()))


@pytest.mark.parametrize("colour", [0.0, 1.0])
@pytest.mark.parametrize("below", [20.0, 30.0, 40.0])
def test_steady_noise_goes_and_the_notes_stay(below: float, colour: float) -> None:
    sound = melody()
    cleaned = without_background(sound + noise(below, sound, colour), RATE)
    assert decibels(cleaned - sound, sound) < -below - 5
    pauses = np.abs(sound) < 1e-6
    assert decibels(cleaned[pauses], noise(below, sound, colour)[pauses]) < -6


def test_what_holds_no_steady_noise_is_left_as_it_is() -> None:
    quantised = np.round(melody() * 2**15) / 2**15
    for sound in (melody(), melody(breath=0.02), quantised):
        assert without_background(sound, RATE) is sound


def test_an_example_that_is_noise_is_left_as_it_is() -> None:
    sound = melody()
    for example in (noise(0, sound), sound + noise(LEAST_DB - 3, sound)):
        assert without_background(example, RATE) is example


def test_silence_and_a_steady_tone_are_left_as_they_are() -> None:
    time = np.arange(int(SECONDS * RATE)) / RATE
    chord = sum(np.sin(2 * np.pi * hz * time) for hz in (220, 277, 330)).astype(np.float32)
    for sound in (np.zeros(RATE, np.float32), chord):
        cleaned = without_background(sound, RATE)
        assert np.abs(cleaned - sound).max() < 0.02


def test_the_noise_that_is_found_is_as_loud_as_it_is() -> None:
    sound = melody()
    hiss = noise(30, sound)
    powers = [
        np.abs(signal.stft(wave, RATE, nperseg=2048, noverlap=1536)[2]) ** 2 + 1e-20
        for wave in (sound + hiss, hiss)
    ]
    found = steady_noise(powers[0], RATE)
    assert found is not None
    high = slice(100, 1000)  # from 2 to 21 kHz
    assert 10 * np.log10(found[high].mean() / powers[1][high].mean()) == pytest.approx(0, abs=1)
