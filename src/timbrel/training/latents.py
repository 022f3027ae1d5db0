"""Latents of a whole store, computed once: the codec's encoder never changes."""

from collections.abc import Callable, Iterator

import numpy as np
import torch

from timbrel.audio import Audio
from timbrel.codec.codec import Codec
from timbrel.data.engine import Engine, Local
from timbrel.data.store import Store
from timbrel.model import pick_device


def attach_latents(
    store: Store,
    codec: Codec,
    device: torch.device | None = None,
    progress: Callable[[float], None] | None = None,
    engine: Engine | None = None,
) -> None:
    """Encode every item and attach the result as "latents" (frames, channels) float16.

    Args:
        store: written to.
        codec: encodes.
        device: where; None is the GPU if there is one, where the engine works.
        progress: called with the share that is done.
        engine: who does it, by default this process.
    """
    gpu = device is None or device.type == "cuda"

    def encoded(items: list[int]) -> Iterator[np.ndarray]:
        return (engine or Local()).run(_encode, (store, codec, device), items, gpu)

    store.attach("latents", codec.latent_id, encoded, progress=progress)


@torch.inference_mode()
def _encode(shared: tuple[Store, Codec, torch.device | None], index: int) -> list[np.ndarray]:
    """One item's latent, for an engine."""
    store, codec, device = shared
    device = device or pick_device("auto")
    codec.to(device)
    item = Audio(store.audio(index)[None], store.items[index].rate).resample(codec.rate)
    audio = torch.from_numpy(item.samples[0]).to(device)
    return [codec.encode(audio[None, None])[0].T.half().cpu().numpy()]


def latent_deviation(store: Store, seed: int, items: int = 256) -> float:
    """Standard deviation of a store's latents over all channels: EDM's sigma_data."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(store), min(items, len(store)), replace=False)
    square = [np.square(store.array("latents", int(i)), dtype=np.float32).mean() for i in chosen]
    return round(float(np.sqrt(np.mean(square))), 3)
