"""What is put to the test: a model, and the rows that say what its numbers mean.

Ceilings: the ground truth, and what the codec makes of it. Floors: the source and the
example untouched, and the source filtered to the example's average spectrum, which many
measures of timbre take for a transfer.
"""

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from timbrel.audio import Audio
from timbrel.errors import InputError
from timbrel.evaluation.cases import Case
from timbrel.evaluation.structure import structure_apart
from timbrel.notes import Notes

if TYPE_CHECKING:
    from timbrel.model import Timbrel

System = Callable[[Case], Audio | None]

TRUTH, CODEC, SOURCE, EXAMPLE, FILTERED = (
    "ground truth",
    "codec of the ground truth",
    "source untouched",
    "example untouched",
    "source, equalised",
)
REFERENCES = (TRUTH, CODEC, SOURCE, EXAMPLE, FILTERED)
EXAMPLES = ("example", "example as given")  # kept beside the sounds of the rows
N_FFT, HOP = 2048, 512
LARGEST_GAIN = 24.0  # dB of the equaliser
SMOOTH_BINS = 9


def references() -> dict[str, System]:
    """Rows that need no model; examples are as given, faults included."""
    return {
        TRUTH: lambda case: case.truth,
        SOURCE: lambda case: case.source,
        EXAMPLE: lambda case: repeated(case.example_heard, case.seconds),
        FILTERED: lambda case: (
            None if case.source is None else equalised(case.source, case.example_heard)
        ),
    }


class ModelRow:
    """A model that plays cases.

    Args:
        player: the model.
        structure: "notes", or "audio": the model hears the case's source.
        sampling: of `Timbrel.render`.
    """

    def __init__(
        self, player: "Timbrel", structure: str, sampling: dict[str, float | int | None]
    ) -> None:
        self.player, self.structure, self.sampling = player, structure, sampling
        self.heard: tuple[Case, Notes] | None = None  # what was played last

    @property
    def hears(self) -> bool:
        """Whether notes are heard in recordings."""
        return self.structure == "audio" and self.player.reads_notes

    def __call__(self, case: Case) -> Audio | None:
        """Play a case; None if it has nothing to play from."""
        given: Notes | Audio | None = case.given if self.structure == "notes" else case.source
        if given is None:
            return None
        if self.hears:
            given = self.player.notes(given)
            self.heard = case, given
        options: dict[str, Any] = {**self.sampling, **case.sampling}
        return self.player.render(given, case.example_heard, length=case.seconds, **options)

    def structure_apart(self, case: Case) -> float:
        """See `structure.structure_apart`, of the case played last; NaN if no notes are heard."""
        if self.heard is None or self.heard[0] is not case or len(case.notes) == 0:
            return float("nan")
        player, written = self.player, case.notes.pitched()
        written = written if len(written) else case.notes  # as `Timbrel.notes` reads them
        return structure_apart(
            player.network, self.heard[1], written, case.seconds, player.codec.frame_rate
        )


def model_rows(
    player: "Timbrel", structure: str, **sampling: float | int | None
) -> dict[str, System]:
    """The model, and its codec's ceiling.

    Args:
        player: the model.
        structure: "notes", or "audio": the model hears the case's source.
        sampling: passed to `Timbrel.render`.
    """

    def reconstruct(case: Case) -> Audio | None:
        if case.truth is None:
            return None
        audio = case.truth.mono().resample(player.codec.rate)
        with torch.inference_mode():
            batch = torch.from_numpy(audio.samples)[None].to(player.device)
            decoded = player.codec.reconstruct(batch)[0].cpu().numpy()
        return Audio(decoded, audio.rate)

    play = ModelRow(player, structure, sampling)
    return {CODEC: reconstruct, model_title(player.about, structure): play}


def model_title(about: dict[str, Any], structure: str) -> str:
    """What a model's row is called."""
    return f"{about.get('name', 'model')}, from {structure}"


def slug(text: str) -> str:
    """A name as part of a file name."""
    return re.sub(r"[^\w.-]+", "_", text).strip("_")


def check_apart(names: Iterable[str], what: str) -> None:
    """Refuse different names whose files would be the same.

    Args:
        names: of cases or of systems.
        what: which of them, for people.

    Raises:
        InputError: says which two.
    """
    known: dict[str, str] = {}
    for name in dict.fromkeys(names):
        other = known.setdefault(slug(name), name)
        if other != name:
            raise InputError(
                f"the {what} '{other}' and '{name}' would share their files, as '{slug(name)}'; "
                "rename one"
            )


def repeated(audio: Audio, seconds: float) -> Audio:
    """Cut, or repeated, to a length."""
    wanted = round(seconds * audio.rate)
    times = -(-wanted // max(audio.samples.shape[1], 1))
    return Audio(np.tile(audio.samples, (1, times))[:, :wanted], audio.rate)


def equalised(audio: Audio, example: Audio) -> Audio:
    """`audio` with the average spectrum of `example`, by a fixed filter of at most 24 dB."""
    samples = audio.mono().samples[0]
    wanted = _average(example.mono().resample(audio.rate).samples[0])
    gain = np.clip(wanted - _average(samples), -LARGEST_GAIN, LARGEST_GAIN)
    kernel = np.fft.irfft(10 ** (gain / 20))
    kernel = np.roll(kernel, N_FFT // 2) * np.hanning(N_FFT)
    filtered = np.convolve(samples, kernel)[N_FFT // 2 :][: len(samples)]
    return Audio(filtered[None].astype(np.float32), audio.rate)


def _average(samples: np.ndarray) -> np.ndarray:
    """(n,) -> (bins,): smoothed long-term spectrum in dB."""
    padded = np.pad(samples, N_FFT // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP]
    power = (np.abs(np.fft.rfft(frames * np.hanning(N_FFT), axis=1)) ** 2).mean(0)
    smooth = np.convolve(
        np.pad(power, SMOOTH_BINS // 2, mode="edge"), np.ones(SMOOTH_BINS), "valid"
    )
    return 10 * np.log10(smooth / SMOOTH_BINS + 1e-12)
