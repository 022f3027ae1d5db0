"""Recordings -> passages of equal length at the store's rate, with the notes of each.

Each passage is decoded and resampled on its own, so that times cannot drift, and memory does
not grow with a recording unless it is read by another process (`engine`).
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from timbrel.audio import UNREADABLE, Audio, native
from timbrel.data.sources.files import fetched
from timbrel.data.sources.recording import Recording, Skipped
from timbrel.data.variation import Variation
from timbrel.errors import DataError, TimbrelError
from timbrel.notes import Notes
from timbrel.whole import (
    UNKNOWN_LENGTH,
    ends_amid_page,
    holds_more,
    least_frames,
    missing_share,
)

RATE = 44_100  # Hz, of stores
SECONDS = 12.0  # of a passage
SHORTEST_REST = 3.0  # seconds: a shorter end of a longer recording is left out
SHORTEST = 1.0  # seconds: a shorter recording is left out
RING_OUT = 3.0  # seconds that audio may go on after the last note and count as its sound
LOWEST_RATE = 4_000  # Hz
QUIETEST = -50.0  # LUFS: what is quieter is noise or bleed


@dataclass(frozen=True, eq=False)
class Passage:
    """Part of a recording."""

    start: float  # seconds into the recording
    audio: Audio  # mono at RATE, at most SECONDS
    notes: Notes | None  # times relative to `start`; None: not known
    drums: bool


def cut(recording: Recording, after: float = -1.0) -> Iterator[Passage | Skipped]:
    """The passages of a recording, in order, and why parts of it are left out.

    Args:
        recording: decoded as this is iterated over.
        after: passages that start here (seconds) or before are not made again.
    """
    try:
        notes = recording.notes() if recording.notes is not None else None
    except (TimbrelError, OSError) as error:
        reason = " ".join(str(error).split())
        yield Skipped(recording.name, f"its notes: {reason or error.__class__.__name__}")
        return
    drums, variation = recording.drums, recording.variation or Variation()
    if notes is not None and not drums:
        # an item is drums or pitched: of a mixture, only the pitched notes can be told
        drums = not len(notes.pitched())
        notes = notes if drums else notes.pitched()
    notes = variation.of_notes(notes) if notes is not None else None
    # audio beyond the notes' end has no label: it may hold anything
    end = notes.seconds + RING_OUT if notes is not None else np.inf
    position = 0.0
    try:
        for samples in _decode(recording, variation.speed):
            start, position = position, position + len(samples) / RATE
            if position > end:
                samples = samples[: max(0, round((end - start) * RATE))]
            if start > after and len(samples):
                reason, audio = _check(start, variation.of_samples(samples, RATE))
                if reason:
                    yield Skipped(recording.name, reason)
                else:
                    here = notes.cut(start, start + audio.seconds) if notes is not None else None
                    yield Passage(start, audio, here, drums)
            if position > end:
                yield Skipped(recording.name, f"audio from {end:.1f} s on: the notes end before")
                return
    except DataError as error:
        yield Skipped(recording.name, str(error), unread=True)
        return
    if not position:
        yield Skipped(recording.name, "it holds no samples")
    elif notes is not None and (late := int((notes.onset > position).sum())):
        yield Skipped(recording.name, f"{late} notes: they begin after the audio ends")


def _check(start: float, samples: np.ndarray) -> tuple[str, Audio]:
    """Why samples (n,) are no passage ("" if they are one), and what they sound like."""
    audio = Audio(samples[None], RATE)
    place = f"{start:.1f} s to {start + audio.seconds:.1f} s"
    if audio.seconds < (SHORTEST_REST if start > 0 else SHORTEST):
        return f"{place}: too short", audio
    if not np.isfinite(samples).all():
        return f"{place}: samples that are not numbers", audio
    if audio.loudness() < QUIETEST:
        return f"{place}: silent (below {QUIETEST:g} LUFS)", audio
    return "", audio


def _decode(recording: Recording, speed: float) -> Iterator[np.ndarray]:
    """Pieces (n,) of at most SECONDS, without gaps.

    Raises:
        DataError: a file cannot be read.
    """
    if recording.slot_seconds:
        slot = round(recording.slot_seconds * RATE)
        row = np.zeros(slot * len(recording.audio), np.float32)
        for number, path in enumerate(recording.audio):
            first = next(_read(path, recording.slot_seconds), row[:0])
            row[number * slot :][: min(slot, len(first))] = first[:slot]
        yield row
    else:
        for path in recording.audio:
            yield from _read(path, SECONDS, speed)


def _read(path: Path, seconds: float, speed: float = 1.0) -> Iterator[np.ndarray]:
    """A file as mono pieces at RATE; all but the last are `seconds` long when played."""
    if path.stat().st_size == 0:
        raise DataError(f"{path.name} is empty (0 bytes)")
    full, position = round(seconds * RATE), 0
    try:
        with fetched(path) as local, soundfile.SoundFile(native(local)) as file:
            if file.frames > UNKNOWN_LENGTH:
                raise DataError(f"{path.name} does not say how long it is; save it anew")
            if holds_more(local, file.frames):
                raise DataError(
                    f"{path.name} holds more sound than is read of it: it was joined, or cut out; "
                    "save it anew"
                )
            if file.samplerate < LOWEST_RATE:
                raise DataError(f"{path.name} has a rate of {file.samplerate} Hz")
            rate = file.samplerate * speed
            for number in itertools.count(1):
                # to the nearest frame of the file, so that pieces do not drift
                frames = round(number * seconds * rate) - position
                block = file.read(frames, dtype="float32", always_2d=True)
                position += len(block)
                if not len(block):
                    break
                mono = Audio(np.ascontiguousarray(block.T), round(rate)).mono()
                samples = mono.resample(RATE).samples[0]
                if len(block) == frames:
                    samples = np.pad(samples, (0, max(0, full - len(samples))))[:full]
                yield samples
                if len(block) < frames:  # the end, or what a damaged file gives for it
                    break
            least = least_frames(local, file.frames)
            if position < least or missing_share(local) or ends_amid_page(local):
                raise DataError(f"{path.name} is damaged after {position / rate:.1f} s")
    except UNREADABLE as error:
        raise DataError(f"{path.name} cannot be decoded as audio, or is cut short") from error
