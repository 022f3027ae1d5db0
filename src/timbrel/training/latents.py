"""Latents of a whole store, computed once: the codec's encoder never changes."""

import hashlib
from collections.abc import Callable, Iterator

import numpy as np
import torch

from timbrel.audio import Audio
from timbrel.codec.codec import Codec
from timbrel.data.store import Store


def codec_id(codec: Codec) -> str:
    """Names the codec's latent: equal ids mean that latents are interchangeable."""
    digest = hashlib.sha256(f"{codec.rate} {codec.hop}".encode())
    for tensor in codec.latent_tensors():
        # half precision, as saved: loading a codec does not change its name
        digest.update(tensor.detach().cpu().half().numpy().tobytes())
    return digest.hexdigest()[:16]


@torch.inference_mode()
def attach_latents(
    store: Store,
    codec: Codec,
    device: torch.device,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Encode every item and attach the result as "latents" (frames, channels) float16."""
    codec = codec.to(device)

    def encoded() -> Iterator[np.ndarray]:
        for index in range(len(store)):
            item = Audio(store.audio(index)[None], store.items[index].rate).resample(codec.rate)
            audio = torch.from_numpy(item.samples[0]).to(device)
            yield codec.encode(audio[None, None])[0].T.half().cpu().numpy()
            if progress is not None:
                progress((index + 1) / len(store))

    store.attach("latents", codec_id(codec), encoded())


def latent_deviation(store: Store, seed: int, items: int = 256) -> float:
    """Standard deviation of a store's latents over all channels: EDM's sigma_data."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(store), min(items, len(store)), replace=False)
    square = [np.square(store.array("latents", int(i)), dtype=np.float32).mean() for i in chosen]
    return round(float(np.sqrt(np.mean(square))), 3)
