"""Audio in memory, and how it is read, written, resampled and levelled."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import soundfile

from timbrel.data.files import appearing
from timbrel.errors import InputError
from timbrel.whole import UNKNOWN_LENGTH, check_whole

FORMATS = {".wav": "WAV", ".flac": "FLAC"}
SILENCE = 1e-5  # peak below which audio counts as silent, -100 dBFS
LONGEST_WAV = 2**32 - 2**16  # bytes of samples
CANCELLED = 0.01  # power of a mean of channels over that of the loudest, below which they cancel
# What libsndfile, and soundfile around it, raise at damaged files.
UNREADABLE = (soundfile.LibsndfileError, OSError, RuntimeError, ValueError, TypeError)


@dataclass(frozen=True, eq=False)
class Audio:
    """A waveform.

    Attributes:
        samples: (channels, samples) float32, nominally in [-1, 1].
        rate: Hz.

    Raises:
        InputError: samples of another shape, or whole numbers.
    """

    samples: np.ndarray
    rate: int

    def __post_init__(self) -> None:
        samples = np.asarray(self.samples)
        if samples.ndim != 2:
            raise InputError(f"samples have the shape {samples.shape}; give (channels, samples)")
        if not np.issubdtype(samples.dtype, np.floating):
            raise InputError(f"samples are {samples.dtype}; give numbers from -1.0 to 1.0")
        object.__setattr__(self, "samples", samples.astype(np.float32, copy=False))

    @classmethod
    def read(
        cls, path: str | Path, minimum_seconds: float = 0.0, reject_silence: bool = False
    ) -> "Audio":
        """Read any file that libsndfile reads, at its own rate.

        Raises:
            InputError: missing, a folder, empty, not audio, no samples, too short,
                samples that are not finite, cut short, or (if asked) silence.
        """
        path = Path(path)
        check_file(path)
        try:
            with soundfile.SoundFile(native(path)) as file:
                rate, frames = file.samplerate, file.frames
                known = frames < UNKNOWN_LENGTH
                samples = file.read(-1 if known else 0, dtype="float32", always_2d=True)
        except UNREADABLE as error:
            raise unreadable(path) from error
        except MemoryError as error:
            raise too_large(path) from error
        check_whole(path, frames)
        audio = cls(np.ascontiguousarray(samples.T), int(rate))
        if samples.size == 0:
            raise InputError(f"{path} holds no samples, or is cut short; give a longer recording")
        if not np.isfinite(samples).all():
            raise InputError(f"{path} holds samples that are not numbers (NaN); export it again")
        if audio.seconds < minimum_seconds:
            raise InputError(
                f"{path} is {audio.seconds:.2f} s long; at least {minimum_seconds:g} s are needed"
            )
        if reject_silence and np.abs(samples).max() < SILENCE:
            raise InputError(f"{path} is silent; give a recording with sound")
        return audio

    def write(self, path: str | Path) -> None:
        """Write 24-bit WAV or FLAC by the suffix; the file appears only when complete.

        Raises:
            InputError: see `check_writable`; or samples that are not finite.
        """
        path = Path(path)
        check_writable(path)
        self.check_finite("the audio to write")
        try:
            with appearing(path) as temporary:
                soundfile.write(
                    native(temporary),
                    np.clip(self.samples.T, -1, 1),
                    self.rate,
                    subtype="PCM_24",
                    format=container(path, *self.samples.shape),
                )
        except soundfile.LibsndfileError as error:
            raise unwritable(path, error) from error

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.samples.shape[1] / self.rate

    def check_finite(self, what: str) -> None:
        """Refuse samples that are not numbers.

        Args:
            what: how to call this audio in the message.

        Raises:
            InputError: there are some.
        """
        if not np.isfinite(self.samples).all():
            raise InputError(f"{what} holds samples that are not numbers (NaN or infinite)")

    def mono(self) -> "Audio":
        """Mean of the channels; of channels that cancel each other the loudest."""
        if self.samples.shape[0] == 1:
            return self
        mean = self.samples.mean(0, keepdims=True, dtype=np.float32)
        power = [float(np.square(channel).mean()) for channel in self.samples]
        if np.square(mean).mean() < CANCELLED * max(power):
            loudest = int(np.argmax(power))
            mean = self.samples[loudest : loudest + 1]
        return Audio(mean, self.rate)

    def without_lead_in(self) -> "Audio":
        """Without a second or more of silence before the first sound; nothing is left of silence.

        A sound is what reaches a level 60 dB below the peak.
        """
        level = np.abs(self.samples).max(0, initial=0)
        peak = level.max(initial=0)
        first = len(level) if peak < SILENCE else int(np.argmax(level >= peak / 1000))
        return self if first < self.rate else Audio(self.samples[:, first:], self.rate)

    def loudest(self, seconds: float) -> "Audio":
        """The part of that length that holds the most energy, or all that is shorter."""
        length = min(round(seconds * self.rate), self.samples.shape[1])
        energy = np.cumsum(np.pad((self.samples.astype(np.float64) ** 2).sum(0), (1, 0)))
        start = int(np.argmax(energy[length:] - energy[: len(energy) - length]))
        return Audio(self.samples[:, start : start + length], self.rate)

    def faded_out(self, seconds: float) -> "Audio":
        """Without a click at the end."""
        count = min(round(seconds * self.rate), self.samples.shape[1])
        gain = np.ones(self.samples.shape[1], np.float32)
        gain[len(gain) - count :] = np.linspace(1, 0, count)
        return Audio(self.samples * gain, self.rate)

    def resample(self, rate: int) -> "Audio":
        """The same sound at another rate (Hz)."""
        if rate == self.rate:
            return self
        import soxr

        out = soxr.resample(self.samples.T, self.rate, rate)
        return Audio(np.ascontiguousarray(out.T.astype(np.float32)), rate)

    @cached_property
    def _loudness(self) -> float:
        import warnings

        import pyloudnorm

        block = 0.4
        samples = self.samples[:2]  # BS.1770 weighs channels beyond stereo by place
        least = math.ceil(block * self.rate) + 1
        if samples.shape[1] < least:
            samples = np.resize(samples, (samples.shape[0], least))
        if np.abs(samples).max(initial=0) < SILENCE:
            return -math.inf
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            meter = pyloudnorm.Meter(self.rate, block_size=block)
            return float(meter.integrated_loudness(samples.T.astype(np.float64)))

    def loudness(self) -> float:
        """Integrated loudness in LUFS (ITU-R BS.1770); minus infinity when silent."""
        return self._loudness

    def with_loudness(self, lufs: float, peak: float = 0.97) -> "Audio":
        """The same sound at another loudness; quieter where its peak would pass `peak`.

        Silence is returned as it is.
        """
        loudness = self.loudness()
        top = float(np.abs(self.samples).max(initial=0))
        if not math.isfinite(loudness) or top == 0:
            if top <= peak:
                return self
            return Audio(self.samples * np.float32(peak / top), self.rate)
        gain = min(10 ** ((lufs - loudness) / 20), peak / top)
        return Audio(self.samples * np.float32(gain), self.rate)


def container(path: Path, channels: int, frames: int) -> str:
    """libsndfile's name of the format that a file of 24 bits is to be written in."""
    kind = FORMATS[path.suffix.lower()]
    # a WAV counts its bytes in 32 bits; what is longer is the same with 64, which players read
    return "RF64" if kind == "WAV" and 3 * channels * frames > LONGEST_WAV else kind


def check_file(path: Path) -> None:
    """Refuse a path at which there is nothing to read.

    Raises:
        InputError: missing, a folder, or empty.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; give an audio file")
    if not path.exists():
        raise InputError(f"{path} does not exist; give an audio file")
    if not path.is_file():
        raise InputError(f"{path} is a pipe or a device; save the sound to a file, and give that")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty; give an audio file")


def check_writable(
    path: str | Path, inputs: Sequence[str | Path] = (), suffixes: Sequence[str] = tuple(FORMATS)
) -> None:
    """Refuse an output path before any work is done.

    Args:
        path: to be written.
        inputs: files that are read, which must not be lost.
        suffixes: that the path may have.

    Raises:
        InputError: unknown suffix, no such folder, no permission, a folder of that name, or
            an input.
    """
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        raise InputError(f"{path} must end in {' or '.join(suffixes)}, not '{path.suffix}'")
    if path.is_dir():
        raise InputError(f"{path} is a folder; give a file name")
    if not path.parent.is_dir():
        raise InputError(f"the folder {path.parent} does not exist; make it first")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"the folder {path.parent} is not writable; choose another")
    if path.exists() and any(Path(p).exists() and path.samefile(p) for p in inputs):
        raise InputError(f"{path} is what is read; give another name to write to")


def unreadable(path: Path) -> InputError:
    """What to say where libsndfile cannot read a file."""
    return InputError(
        f"{path} cannot be read as audio: it is damaged or cut short, or none of wav, flac, ogg, "
        "opus, mp3, aiff and caf"
    )


def too_large(path: Path) -> InputError:
    """What to say where memory is too small for what a file says that it holds."""
    return InputError(
        f"{path} says that it holds more sound than there is memory for; give a part of it (if it "
        "is short, it is damaged: save it anew)"
    )


def unwritable(path: Path, error: Exception) -> InputError:
    """What to say where libsndfile cannot write a file."""
    return InputError(f"{path} cannot be written ({error}) Is the disk full?")


def native(path: Path) -> str | bytes:
    """A path as libsndfile takes it, in names too that are no text in the system's encoding."""
    return str(path) if os.name == "nt" else os.fsencode(path)
