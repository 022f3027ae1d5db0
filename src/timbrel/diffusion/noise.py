"""The noise that sampling begins with: how much of it lasts, and how much is texture."""

import torch.nn.functional as F
from torch import Tensor

SPAN = 5  # frames (0.12 s of the default codec) over whose mean a noise lasts


def tempered(noise: Tensor, temperature: float, texture: float) -> Tensor:
    """Scale what lasts of a white noise, and what changes faster.

    A network that knows too little errs in levels that last, which are heard as another sound,
    and with less noise errs less. But noise is all that texture can come of, and with less of it
    sounds are duller than any real one. Both lie in the same channels, so they are told apart by
    how long they last (docs/decisions/0037).

    Args:
        noise: (batch, channels, SPAN - 1 + frames), of unit variance.
        temperature: of what lasts, the mean over a frame and those before it.
        texture: how many times as much of the rest there is.

    Returns:
        (batch, channels, frames).
    """
    lasting = F.avg_pool1d(noise, SPAN, 1)
    return temperature * (lasting + texture * (noise[:, :, SPAN - 1 :] - lasting))
