"""All that the judges hear in one sound, and the memory of it on disk.

Listening is most of an evaluation's work, and the same sound comes again: the ground truth
of a case at each level of its protocol, the source as a row of its own. So what is heard is
kept by a hash of the samples.
"""

import hashlib
import os
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from timbrel.audio import Audio
from timbrel.evaluation import drums, likeness
from timbrel.evaluation.beats import LEAST_SECONDS, beat_strength, track_beats
from timbrel.evaluation.timbre_embedding import Heard, hear
from timbrel.evaluation.transcriber import transcribe
from timbrel.evaluation.velocity import with_velocities
from timbrel.notes import Notes

CHROMA_FRAMES = 10  # of the constant-Q spectrum in one of `Hearing.chroma`, 0.23 s


@dataclass(frozen=True, eq=False)
class Hearing:
    """What is heard in one sound.

    Attributes:
        notes: of the transcriber, with velocities by `velocity.with_velocities`.
        timbre: what the embeddings make of it.
        chroma: (12, n) float32, energy of each pitch class every 0.23 s.
        beats: (n,) seconds; none in less than 10 s.
        hits: (n,) seconds, of drums; not listened for in less than 10 s.
    """

    notes: Notes
    timbre: Heard
    chroma: np.ndarray
    beats: np.ndarray
    hits: np.ndarray


def listen(audio: Audio) -> Hearing:
    """Listen to a sound.

    Args:
        audio: any rate and number of channels.

    Raises:
        InputError: samples that are not finite, or none.
    """
    mono = audio.mono()
    timbre = hear(mono.samples[0], mono.rate)
    samples = mono.resample(likeness.RATE).samples[0]
    spectrum = likeness.constant_q(samples)
    beats = hits = np.zeros(0)
    if audio.seconds >= LEAST_SECONDS:
        strength = beat_strength(likeness.log_mel_db(samples))
        beats = track_beats(strength, likeness.RATE / likeness.HOP)
        hits = drums.drum_onsets(mono.resample(drums.RATE).samples[0])
    return Hearing(
        notes=with_velocities(transcribe(mono.samples[0], mono.rate), spectrum),
        timbre=timbre,
        chroma=_slow(likeness.chroma(spectrum)),
        beats=beats,
        hits=hits,
    )


def _slow(chroma: np.ndarray) -> np.ndarray:
    """(12, frames) -> (12, frames / CHROMA_FRAMES)."""
    padded = np.pad(chroma, ((0, 0), (0, -chroma.shape[1] % CHROMA_FRAMES)))
    return padded.reshape(12, -1, CHROMA_FRAMES).sum(2).astype(np.float32)


class Memory:
    """Listens to each sound once.

    Args:
        folder: where what was heard is kept, a file for each sound.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def listen(self, audio: Audio) -> tuple[str, Hearing]:
        """Name of the memory, and what is heard; see `listen`."""
        content = np.ascontiguousarray(audio.samples, np.float32)
        digest = hashlib.sha256(f"{audio.rate} {content.shape}".encode())
        digest.update(content.tobytes())
        name = digest.hexdigest()[:24]
        known = self.recall(name)
        if known is None:
            known = listen(audio)
            self._keep(name, known)
        return name, known

    def recall(self, name: str) -> Hearing | None:
        """What was heard, by its name; None if it is not known, or the file is damaged."""
        path = self.folder / f"{name}.npz"
        if not path.is_file():
            return None
        try:
            with np.load(path) as data:
                kept = dict(data)
            onset, offset, pitch, velocity = (
                kept[key] for key in ("onset", "offset", "pitch", "velocity")
            )
            return Hearing(
                Notes.from_columns(onset, offset, pitch, velocity, np.zeros(len(onset), int)),
                Heard(kept["patches"], kept["judged"]),
                *(kept[key] for key in ("chroma", "beats", "hits")),
            )
        # cut short, or heard by earlier judges; a disk that fails is another matter
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
            return None

    def _keep(self, name: str, heard: Hearing) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{name}.npz"
        part = self.folder / f"{name}.{os.getpid()}.part"  # several processes may write it
        with open(part, "wb") as file:
            np.savez(
                file,
                onset=heard.notes.onset,
                offset=heard.notes.offset,
                pitch=heard.notes.pitch,
                velocity=heard.notes.velocity,
                patches=heard.timbre.patches,
                judged=heard.timbre.judged,
                chroma=heard.chroma,
                beats=heard.beats,
                hits=heard.hits,
            )
        part.replace(path)
