"""How far structure that was heard in a recording lies from that of its written notes.

MIDI and recordings enter one structure space, and here both are there for the same passage. The
distance is of codes as the denoiser is told them, frame by frame. It is measured in silences: 1 is
as far as the code of silence lies from that of the written notes, as if nothing had been heard.
Another passage, or the same one at another time, would be no measure of a loop, in which others
are the same.
"""

import torch
from torch import Tensor

from timbrel.generate.windows import structure_of_notes, structure_of_rolls
from timbrel.network import Network
from timbrel.notes import Notes

LONGEST = 60.0  # seconds that are compared, from the beginning on


@torch.inference_mode()
def structure_apart(
    network: Network, heard: Notes, written: Notes, seconds: float, frame_rate: float
) -> float:
    """Distance of the structure of heard notes from that of the written ones.

    Args:
        network: that reads notes.
        heard: in a recording of the written ones.
        written: what should have been heard; drums are those of a kit if there is nothing else.
        seconds: of the recording.
        frame_rate: of the codec, in Hz.

    Returns:
        0: the same; 1: as if nothing had been heard; more if what is heard is wrong. NaN if no
        note is written there.
    """
    frames = max(1, round(min(seconds, LONGEST) * frame_rate))
    nothing = structure_of_rolls(
        network,
        lambda start, stop: torch.zeros(3, 128, stop - start),
        drums=len(written.pitched()) == 0,
    )
    read = [structure_of_notes(network, notes, frame_rate) for notes in (written, heard)]
    right, found, silent = (between(0, frames).code for between in (*read, nothing))
    most = _distance(right, silent)
    if most == 0:
        return float("nan")
    return _distance(right, found) / most if len(heard) else 1.0  # no notes are no kit either


def _distance(first: Tensor, second: Tensor) -> float:
    """Root of the mean square over (1, structure_dim, frames)."""
    return float((first - second).square().mean().sqrt())
