"""Fixtures, all synthesised in code."""

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "2")

import numpy as np
import pytest
import torch

from timbrel.audio import Audio
from timbrel.data.render.renditions import render_store
from timbrel.data.store import Store

RATE = 44_100


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def tone(hz: float, seconds: float, rate: int = RATE, partials: int = 6) -> np.ndarray:
    """(samples,) float32: a steady harmonic tone with a soft start."""
    time = np.arange(round(seconds * rate)) / rate
    wave = sum(np.sin(2 * np.pi * k * hz * time) / k**1.5 for k in range(1, partials + 1))
    return (0.2 * wave * np.minimum(time / 0.01, 1)).astype(np.float32)


def pitch_hz(pitch: float) -> float:
    return float(440 * 2 ** ((pitch - 69) / 12))


def estimate_hz(samples: np.ndarray, low: float, high: float, rate: int = RATE) -> float:
    """Frequency of the strongest partial between two limits, by a long padded FFT."""
    n = 1 << 19
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), n))
    hz = np.fft.rfftfreq(n, 1 / rate)
    inside = (hz > low) & (hz < high)
    return float(hz[inside][np.argmax(spectrum[inside])])


@pytest.fixture
def tone_file(tmp_path: Path) -> Path:
    path = tmp_path / "tone.wav"
    Audio(tone(440, 2.0)[None], RATE).write(path)
    return path


@pytest.fixture(scope="session")
def small_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """48 renditions of 4 s by the own synthesiser."""
    path = tmp_path_factory.mktemp("data") / "store"
    render_store(path, seed=3, count=48, split="train", fonts=[], synth_share=1.0, seconds=4.0)
    return Store.open(path)


@pytest.fixture(autouse=True)
def _seed_torch() -> None:
    torch.manual_seed(0)
