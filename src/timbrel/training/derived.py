"""What structure is read from, computed once for a whole store: spectra, and heard notes."""

from collections.abc import Callable, Iterator

import numpy as np
import torch

from timbrel.conditions.listener import Listener, hear_notes
from timbrel.data.store import Store
from timbrel.spectra import ConstantQ

MOST_NOTES = 512  # heard in one item; more are left out


def spectra_id(rate: int, hop: int) -> str:
    """Names the constant-Q spectra of a rate and hop."""
    return f"constant-q {rate} {hop}"


@torch.inference_mode()
def attach_spectra(
    store: Store, hop: int, device: torch.device, progress: Callable[[float], None] | None = None
) -> None:
    """Attach constant-Q spectra, "spectra" (frames, bins) float16, for structure from audio."""
    rate = store.items[0].rate
    cqt = ConstantQ(rate, hop).to(device)

    def spectra(items: list[int]) -> Iterator[np.ndarray]:
        for index in items:
            audio = torch.from_numpy(store.audio(index)).to(device)
            yield cqt(audio[None])[0].T.half().cpu().numpy()

    store.attach("spectra", spectra_id(rate, hop), spectra, progress=progress)


def attach_heard(
    store: Store,
    listener: Listener,
    frame_rate: float,
    maker: str,
    device: torch.device,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Attach the notes that a listener hears, "heard" (MOST_NOTES, 4) float32.

    Rows are onset, offset, pitch and velocity, the last ones of velocity 0: no note. Items
    of drums, which the listener does not know, get none.
    """
    listener = listener.to(device)

    def heard(items: list[int]) -> Iterator[np.ndarray]:
        for index in items:
            rows = np.zeros((MOST_NOTES, 4), np.float32)
            if not store.items[index].drums:
                audio = torch.from_numpy(store.audio(index)).to(device)
                notes = hear_notes(listener, audio[None], frame_rate)
                columns = (notes.onset, notes.offset, notes.pitch, notes.velocity)
                found = np.stack(columns, 1)[:MOST_NOTES]
                rows[: len(found)] = found
            yield rows

    store.attach("heard", maker, heard, progress=progress)
