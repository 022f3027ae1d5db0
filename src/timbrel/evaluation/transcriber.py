"""An independent transcriber: Basic Pitch's model (Bittner et al., 2022) by onnxruntime.

Conventions: audio is mono float32; posteriors are (88, frames) at `FRAME_RATE`.
"""

from functools import lru_cache
from typing import Any

import numpy as np

from timbrel.audio import Audio
from timbrel.errors import InputError, TimbrelError
from timbrel.evaluation.packaged import whole
from timbrel.notes import Notes
from timbrel.posterior import Reading, read_notes

RATE, HOP = 22_050, 256
FRAME_RATE = RATE / HOP
WINDOW = 43_844  # samples that the model takes, 172 frames
MARGIN = 15  # frames at either end of a window that lack context
KEPT = 172 - 2 * MARGIN
# The model reports onsets this late, beside half a frame (benchmarks/calibrate_transcriber.py).
ONSET_LATENCY = 0.002
READING = Reading(
    onset_level=0.5, sounding_level=0.3, ending_level=0.3, gap_frames=11, minimum_frames=6
)


@lru_cache(maxsize=2)
def _session(threads: int) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise TimbrelError("evaluation needs onnxruntime: pip install 'timbrel[eval]'") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    weights = str(whole("basic_pitch.onnx"))
    return onnxruntime.InferenceSession(weights, options, ["CPUExecutionProvider"])


def posteriors(samples: np.ndarray, rate: int, threads: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of onset and of sounding.

    Args:
        samples: (n,) mono.
        rate: Hz.
        threads: for onnxruntime.

    Returns:
        Two arrays (88, frames); frames = ceil(seconds * FRAME_RATE).

    Raises:
        InputError: samples that are not finite.
        ModelError: the judge's weights are missing or damaged.
    """
    if not np.isfinite(samples).all():
        raise InputError("the audio to transcribe holds samples that are not numbers")
    audio = Audio(np.asarray(samples, np.float32)[None], rate).resample(RATE).samples[0]
    frames = -(-len(audio) // HOP)
    windows = max(1, -(-frames // KEPT))
    padded = np.zeros(MARGIN * HOP + windows * KEPT * HOP + WINDOW, np.float32)
    padded[MARGIN * HOP : MARGIN * HOP + len(audio)] = audio
    session = _session(threads)
    names = ["StatefulPartitionedCall:2", "StatefulPartitionedCall:1"]
    rows: list[list[np.ndarray]] = [[], []]
    for index in range(windows):
        piece = padded[index * KEPT * HOP :][:WINDOW]
        outputs = session.run(names, {"serving_default_input_2:0": piece[None, :, None]})
        for row, output in zip(rows, outputs, strict=True):
            row.append(output[0, MARGIN : MARGIN + KEPT])
    onset, sounding = (np.concatenate(row)[:frames].T for row in rows)
    return onset, sounding


def transcribe(samples: np.ndarray, rate: int, threads: int = 1) -> Notes:
    """Notes heard in audio, with onsets corrected for the model's latency.

    Args:
        samples: (n,) mono.
        rate: Hz.
        threads: for onnxruntime.
    """
    onset, sounding = posteriors(samples, rate, threads)
    notes = read_notes(onset, sounding, FRAME_RATE, reading=READING)
    return notes.shift(-ONSET_LATENCY - 0.5 / FRAME_RATE)
