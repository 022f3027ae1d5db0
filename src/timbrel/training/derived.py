"""What structure is read from, computed once for a whole store: spectra, and heard notes."""

from collections.abc import Callable, Iterator

import numpy as np
import torch

from timbrel.audio import Audio
from timbrel.codec.codec import Codec
from timbrel.conditions.listener import Listener, hear_notes
from timbrel.data.store import Store
from timbrel.errors import DataError
from timbrel.spectra import ConstantQ

MOST_NOTES = 512  # heard in one item; more are left out


def spectra_id(rate: int, hop: int) -> str:
    """Names the constant-Q spectra of a rate and hop."""
    return f"constant-q {rate} {hop}"


def check_rate(store: Store, codec: Codec) -> None:
    """Refuse a store from which a constant-Q encoder could not learn beside a codec.

    Raises:
        DataError: its rate is not the codec's.
    """
    if store.items[0].rate != codec.rate:
        raise DataError(
            f"the constant-Q encoder needs audio at the codec's {codec.rate} Hz, that of "
            f"{store.path} is at {store.items[0].rate} Hz; use a preset that reads notes, or a "
            "codec of that rate"
        )


@torch.inference_mode()
def attach_spectra(
    store: Store,
    codec: Codec,
    device: torch.device,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Attach constant-Q spectra, "spectra" (frames, bins) float16, for structure from audio.

    Args:
        store: renditions.
        codec: whose frames models will be trained on.
        device: where to compute.
        progress: called with the share that is done.

    Raises:
        DataError: the store's rate is not the codec's.
    """
    rate, hop = codec.rate, codec.hop
    check_rate(store, codec)
    cqt = ConstantQ(rate, hop).to(device)

    def spectra(items: list[int]) -> Iterator[np.ndarray]:
        for index in items:
            audio = torch.from_numpy(store.audio(index)).to(device)
            yield cqt(audio[None])[0].T.half().cpu().numpy()

    store.attach("spectra", spectra_id(rate, hop), spectra, progress=progress)


def attach_heard(
    store: Store,
    listener: Listener,
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
                audio = Audio(store.audio(index)[None], store.items[index].rate)
                samples = audio.resample(listener.config.rate).samples
                notes = hear_notes(listener, torch.from_numpy(samples).to(device))
                columns = (notes.onset, notes.offset, notes.pitch, notes.velocity)
                found = np.stack(columns, 1)[:MOST_NOTES]
                rows[: len(found)] = found
            yield rows

    store.attach("heard", maker, heard, progress=progress)
