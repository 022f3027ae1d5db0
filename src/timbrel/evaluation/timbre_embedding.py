"""Timbre embeddings that had no part in training a generator.

Two of them: that of the judge (`timbre_judge`), which was fitted to know a sound in whatever
notes, and musicnn's penultimate layer (Pons and Serra, 2019; weights of MTT_musicnn) in numpy,
which was fitted to real recordings by others.
The test that matters is the hard triplet: the same instrument playing other notes must be
nearer than another instrument playing the same notes. A distance of MFCCs fails it.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from timbrel.audio import Audio
from timbrel.errors import InputError
from timbrel.evaluation import timbre_judge
from timbrel.evaluation.mel import mel_filters
from timbrel.evaluation.packaged import whole

LOUDNESS = -23.0  # LUFS at which everything is heard
RATE, N_FFT, HOP, MELS = 16_000, 512, 256, 96
PATCH = 187  # frames, 3 s
STRIDE = 62  # frames between patches, 1 s
EPSILON = 1e-3  # of batch normalisation

Weights = dict[str, np.ndarray]


@lru_cache(maxsize=1)
def _weights() -> Weights:
    with np.load(whole("musicnn.npz")) as data:
        return {name: data[name].astype(np.float32) for name in data.files}


@dataclass(frozen=True)
class Heard:
    """What the embeddings make of one sound.

    Attributes:
        patches: (n, 200) float32, musicnn's penultimate layer for each patch of 3 s.
        judged: (n, DIM) float32, the judge's vector for each patch of 3 s.
    """

    patches: np.ndarray
    judged: np.ndarray

    @property
    def musicnn(self) -> np.ndarray:
        """(200,): mean over patches."""
        return self.patches.mean(0)

    @property
    def judge(self) -> np.ndarray:
        """(DIM,): mean over patches."""
        return self.judged.mean(0)


def hear(samples: np.ndarray, rate: int) -> Heard:
    """Embed audio.

    Args:
        samples: (n,) mono.
        rate: Hz.

    Raises:
        InputError: samples that are not finite, or none.
        ModelError: the judge's weights are missing or damaged.
    """
    if len(samples) == 0 or not np.isfinite(samples).all():
        raise InputError("the audio to embed is empty or holds samples that are not numbers")
    audio = Audio(np.asarray(samples, np.float32)[None], rate)
    mel = log_mel(audio.with_loudness(LOUDNESS).resample(RATE).samples[0])
    if len(mel) < PATCH:
        mel = np.pad(mel, ((0, PATCH - len(mel)), (0, 0)), mode="wrap")
    starts = range(0, len(mel) - PATCH + 1, STRIDE)
    patches = np.stack([_patch(mel[s : s + PATCH]) for s in starts])
    return Heard(patches, timbre_judge.embed(audio))


def similarity(first: np.ndarray, second: np.ndarray) -> float:
    """Cosine of two embeddings, in [-1, 1]."""
    norm = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(first @ second) / max(norm, 1e-9)


def log_mel(audio: np.ndarray) -> np.ndarray:
    """(n,) at 16 kHz -> (frames, 96), log10(1 + 10000 * power)."""
    padded = np.pad(audio, N_FFT // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT)
    power = np.abs(np.fft.rfft(frames * window, axis=1)) ** 2
    return np.log10(1 + 10_000 * power @ mel_filters(RATE, N_FFT, MELS).T).astype(np.float32)


def _normalise(x: np.ndarray, number: int) -> np.ndarray:
    """Batch normalisation `number`, inference form."""
    w, name = _weights(), "batch_normalization" + (f"_{number}" if number else "")
    scale = w[f"{name}.gamma"] / np.sqrt(w[f"{name}.moving_variance"] + EPSILON)
    out: np.ndarray = (x - w[f"{name}.moving_mean"]) * scale + w[f"{name}.beta"]
    return out


def _convolve(x: np.ndarray, number: int) -> np.ndarray:
    """Convolution `number` with ReLU, no padding: (time, bands) -> (time', bands', channels)."""
    w, name = _weights(), "conv2d" + (f"_{number}" if number else "")
    kernel = w[f"{name}.kernel"]
    height, width, _, channels = kernel.shape
    windows = np.lib.stride_tricks.sliding_window_view(x, (height, width))
    rows, columns = windows.shape[:2]
    flat = np.ascontiguousarray(windows).reshape(rows * columns, height * width)
    out = flat @ kernel.reshape(height * width, channels) + w[f"{name}.bias"]
    return np.maximum(out, 0).reshape(rows, columns, channels)


def _patch(mel: np.ndarray) -> np.ndarray:
    """(187, 96) -> (200,): timbral and temporal filters, three wide layers, pooling, dense."""
    x = _normalise(mel[..., None], 0)[..., 0].astype(np.float32)
    tall = np.pad(x, ((3, 3), (0, 0)))
    front = [_normalise(_convolve(tall, k), k + 1).max(1) for k in (0, 1)]
    for number, length in ((2, 128), (3, 64), (4, 32)):
        before = (length - 1) // 2
        padded = np.pad(x, ((before, length - 1 - before), (0, 0)))
        front.append(_normalise(_convolve(padded, number), number + 1).max(1))
    front_end = np.concatenate(front, 1)

    def layer(z: np.ndarray, number: int) -> np.ndarray:
        return _normalise(_convolve(np.pad(z, ((3, 3), (0, 0))), number)[:, 0], number + 1)

    first = layer(front_end, 5)
    second = layer(first, 6) + first
    third = layer(second, 7) + second
    frames = np.concatenate([front_end, first, second, third], 1)
    pooled = np.stack([frames.max(0), frames.mean(0)], 1).reshape(-1)
    w = _weights()
    dense = np.maximum(_normalise(pooled, 9) @ w["dense.kernel"] + w["dense.bias"], 0)
    return _normalise(dense, 10).astype(np.float32)
