"""The noise that sampling begins with: how much of it lasts, and how much is texture."""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

SPAN = 5  # frames (0.12 s of the default codec) over whose mean a noise lasts


def tempered(noise: Tensor, temperature: float, texture: float) -> Tensor:
    """Scale what lasts of a white noise, and what changes faster.

    A network that knows too little errs in levels that last, which are heard as another sound,
    and with less noise errs less. But noise is all that texture can come of, and with less of it
    sounds are duller than any real one. Both lie in the same channels, so they are told apart by
    how long they last (docs/decisions/0037).

    Args:
        noise: (batch, channels, SPAN - 1 + frames), of unit variance.
        temperature: scale of what lasts, the mean over a frame and those before it.
        texture: scale of the rest.

    Returns:
        (batch, channels, frames).
    """
    lasting = F.avg_pool1d(noise, SPAN, 1)
    return temperature * lasting + texture * (noise[:, :, SPAN - 1 :] - lasting)


def white(channels: int, frames: int, source: Generator) -> Tensor:
    """The next frames of a white noise, the same however many are asked for at once.

    Torch draws sixteen numbers at a time, so of frames of another size, drawn together, the last
    would depend on how many there are.

    Returns:
        (1, channels, frames), on the processor.
    """
    drawn = [torch.randn(channels, generator=source) for _ in range(frames)]
    return torch.stack(drawn, 1)[None]
