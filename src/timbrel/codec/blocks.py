"""Files of any length through the codec, in bounded memory."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from torch import Tensor

from timbrel.codec.codec import Codec
from timbrel.errors import InputError

READ_SECONDS = 1.0  # decoded from the file at once
FRAMES = 256  # latent frames encoded at once
CONTEXT = 2  # latent frames on either side that a frame's windows reach into


def read_blocks(path: Path, rate: int) -> Iterator[np.ndarray]:
    """Blocks (channels, n) float32 of a file, resampled to `rate`.

    Raises:
        InputError: samples that are not finite.
    """
    with soundfile.SoundFile(str(path)) as file:
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


def encode_blocks(codec: Codec, blocks: Iterator[np.ndarray]) -> Iterator[tuple[Tensor, Tensor]]:
    """Encode a stream of blocks exactly as `Codec.encode` would encode the whole.

    Args:
        codec: on any device.
        blocks: (channels, n) at the codec's rate.

    Yields:
        Audio (channels, 1, n) and its latent (channels, latent_channels, frames), with
        n = frames * hop but for the last.
    """
    hop, device = codec.hop, codec.basis.mean.device
    held = np.zeros((1, 0), np.float32)
    before = 0  # samples of `held` that are context
    ended = False
    while not ended:
        wanted = before + (FRAMES + CONTEXT) * hop
        parts = [held] if held.shape[1] else []
        size = held.shape[1]
        while size < wanted and not ended:
            block = next(blocks, None)
            ended = block is None
            if block is not None:
                parts.append(block)
                size += block.shape[1]
        held = np.concatenate(parts, 1) if parts else held
        stop = held.shape[1] if ended else before + FRAMES * hop
        if stop <= before:
            return
        piece = torch.from_numpy(
            np.ascontiguousarray(held[:, : stop + (0 if ended else CONTEXT * hop)])
        )
        with torch.inference_mode():
            latent = codec.encode(piece[:, None].to(device))
        frames = -(-(stop - before) // hop)
        first = before // hop
        yield piece[:, None, before:stop], latent[:, :, first : first + frames]
        keep = max(0, stop - CONTEXT * hop)
        held, before = held[:, keep:], stop - keep


def reconstruct_blocks(
    codec: Codec, blocks: Iterator[np.ndarray]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Through the codec and back.

    Yields:
        Original and reconstruction, (channels, n) each, aligned and of equal length; the
        reconstruction lags in computing, so `n` varies.
    """
    stream, delay = None, codec.config.n_fft // 2
    waiting = np.zeros((1, 0), np.float32)
    surplus = delay  # samples of the decoder's delay, to be thrown away
    for audio, latent in encode_blocks(codec, blocks):
        if stream is None:
            stream, waiting = (
                codec.start_stream(len(latent)),
                np.zeros((len(latent), 0), np.float32),
            )
        waiting = np.concatenate([waiting, audio[:, 0].numpy()], 1)
        with torch.inference_mode():
            out = codec.decode_stream(latent, stream)[:, 0].cpu().numpy()
        out, surplus = out[:, surplus:], max(0, surplus - out.shape[1])
        size = min(out.shape[1], waiting.shape[1])
        yield waiting[:, :size], out[:, :size]
        waiting = waiting[:, size:]
    if stream is not None and waiting.shape[1]:
        rest = stream.tail.cpu().numpy()[:, : waiting.shape[1]]
        yield waiting[:, : rest.shape[1]], rest
