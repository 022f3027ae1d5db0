"""Files of any length through the codec, in bounded memory."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch

from timbrel.audio import native
from timbrel.codec.codec import Codec
from timbrel.errors import InputError

READ_SECONDS = 1.0  # decoded from the file at once


def read_blocks(path: Path, rate: int) -> Iterator[np.ndarray]:
    """Blocks (channels, n) float32 of a file, resampled to `rate`.

    Raises:
        InputError: samples that are not finite.
    """
    with soundfile.SoundFile(native(path)) as file:
        resampler = soxr.ResampleStream(file.samplerate, rate, file.channels, dtype="float32")
        size = max(1, round(READ_SECONDS * file.samplerate))
        while True:
            block = file.read(size, dtype="float32", always_2d=True)
            if not np.isfinite(block).all():
                raise InputError(
                    f"{path} holds samples that are not numbers (NaN); export it again"
                )
            last = len(block) < size
            yield resampler.resample_chunk(block, last=last).T
            if last:
                return


def reconstruct_blocks(
    codec: Codec, blocks: Iterator[np.ndarray]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Through the codec and back, exactly as the whole would be.

    Args:
        codec: on any device.
        blocks: (channels, n) at the codec's rate.

    Yields:
        Original and reconstruction, (channels, n) each, aligned and of equal length; the
        reconstruction lags in computing, so `n` varies.
    """
    waiting: np.ndarray | None = None  # original that has no reconstruction yet
    surplus = codec.delay  # samples before the sound, to be thrown away
    for block in blocks:
        if waiting is None:
            encoder, decoder = codec.start_encoding(len(block)), codec.start_stream(len(block))
            waiting = np.zeros((len(block), 0), np.float32)
        waiting = np.concatenate([waiting, block], 1)
        with torch.inference_mode():
            piece = torch.from_numpy(np.ascontiguousarray(block)).to(codec.device)[:, None]
            latent = codec.encode_stream(piece, encoder)
            if latent.shape[2] == 0:
                continue
            out = codec.decode_stream(latent, decoder)[:, 0].float().cpu().numpy()
        out, surplus = out[:, surplus:], max(0, surplus - out.shape[1])
        size = min(out.shape[1], waiting.shape[1])
        yield waiting[:, :size], out[:, :size]
        waiting = waiting[:, size:]
    if waiting is None:
        return
    with torch.inference_mode():
        silence = torch.zeros(len(waiting), 1, codec.lag, device=codec.device)
        latent = torch.cat([codec.encode_stream(silence, encoder), encoder.end()], 2)
        parts = [codec.decode_stream(latent, decoder)] if latent.shape[2] else []
        rest = torch.cat([*parts, decoder.end()], 2)[:, 0, surplus:].float().cpu().numpy()
    yield waiting, rest[:, : waiting.shape[1]]
