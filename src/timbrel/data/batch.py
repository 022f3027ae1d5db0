"""One step's training items, as the network reads them and as they travel to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

# Frames before the target whose notes are read too: they may still ring.
WARMUP = 40


@dataclass(frozen=True)
class Batch:
    """One step's items, on one device."""

    latent: Tensor  # (batch, channels, frames) float32: what is to be made
    roll: Tensor  # (batch, 3, 128, WARMUP + frames) float32: its notes, with a run-in and ages
    drums: Tensor  # (batch,) bool
    example: Tensor  # (batch, channels, example_frames): the same timbre, other notes
    # (batch, 3, 128, example_frames): its notes, as a listener could hear them; empty: not known
    example_roll: Tensor
    identity: Tensor  # (batch,) int64: timbre number
    # the target's score by another timbre, where structure comes from audio: one of
    source_audio: Tensor | None  # (batch, samples)
    source_spectrum: Tensor | None = None  # (batch, bins, frames), constant-Q


class Entries(NamedTuple):
    """A dense array, mostly zero, by its other entries: a hundredth of the bytes of a roll.

    Attributes:
        shape: of the array.
        places: (n,) int64, of the entries in the flattened array.
        values: (n,) float32.
    """

    shape: tuple[int, ...]
    places: Tensor
    values: Tensor

    @staticmethod
    def of(arrays: Sequence[np.ndarray]) -> "Entries":
        """Of arrays of one shape, stacked."""
        places = [np.flatnonzero(array != 0) for array in arrays]  # of bool: five times faster
        values = [array.ravel()[place] for array, place in zip(arrays, places, strict=True)]
        places = [place + k * arrays[0].size for k, place in enumerate(places)]
        return Entries(
            (len(arrays), *arrays[0].shape),
            torch.from_numpy(np.concatenate(places)),
            torch.from_numpy(np.concatenate(values)),
        )

    def to(self, device: torch.device) -> Tensor:
        """The array."""
        dense = torch.zeros(self.shape, device=device)
        places, values = (x.to(device, non_blocking=True) for x in (self.places, self.values))
        dense.view(-1)[places] = values
        return dense


class Drawn(NamedTuple):
    """One step's items, as small as they can travel between processes and to a GPU."""

    latent: Tensor  # in half precision, as stored
    roll: Entries
    drums: Tensor
    example: Tensor  # likewise
    example_roll: Entries
    identity: Tensor
    source_audio: Tensor | None
    source_spectrum: Tensor | None

    def to(self, device: torch.device) -> Batch:
        """On a device, in full."""

        def there(x: Tensor) -> Tensor:
            return x.to(device, non_blocking=True)

        audio, spectrum = self.source_audio, self.source_spectrum
        return Batch(
            latent=there(self.latent).float(),
            roll=self.roll.to(device),
            drums=there(self.drums),
            example=there(self.example).float(),
            example_roll=self.example_roll.to(device),
            identity=there(self.identity),
            source_audio=None if audio is None else there(audio),
            source_spectrum=None if spectrum is None else there(spectrum),
        )
