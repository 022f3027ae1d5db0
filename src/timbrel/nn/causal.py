"""Causal convolutions whose past can be carried from call to call."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Stream:
    """The past of every causal layer, kept between calls.

    A network called with a `Stream` on consecutive pieces of a signal gives the same
    output as one call on the whole signal.
    """

    def __init__(self) -> None:
        self._past: dict[int, Tensor] = {}

    def extend(self, layer: nn.Module, x: Tensor, length: int) -> Tensor:
        """Prepend the last `length` frames that `layer` saw, and remember the new ones.

        Args:
            x: (batch, channels, frames).

        Returns:
            (batch, channels, length + frames).
        """
        past = self._past.get(id(layer))
        extended = F.pad(x, (length, 0)) if past is None else torch.cat([past, x], 2)
        self._past[id(layer)] = extended[:, :, extended.shape[2] - length :].detach()
        return extended


class CausalConv1d(nn.Conv1d):
    """Convolution over (batch, channels, frames) that sees no future frame."""

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, groups: int = 1, dilation: int = 1
    ) -> None:
        super().__init__(channels_in, channels_out, kernel, groups=groups, dilation=dilation)
        self.reach = dilation * (kernel - 1)

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, channels_in, frames) -> (batch, channels_out, frames)."""
        x = F.pad(x, (self.reach, 0)) if stream is None else stream.extend(self, x, self.reach)
        return super().forward(x)


class Norm(nn.LayerNorm):
    """LayerNorm whose result has the precision of what it is given.

    PyTorch's own gives single precision where lower is wanted (autocast), and what comes next
    converts it back.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(..., channels) -> same shape."""
        if x.dtype == torch.float32:
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            weight, bias = (None if p is None else p.to(x.dtype) for p in (self.weight, self.bias))
            return F.layer_norm(x, self.normalized_shape, weight, bias, self.eps)


class ChannelNorm(Norm):
    """LayerNorm over channels of (batch, channels, frames): no statistics over time."""

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, frames) -> same shape."""
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class ConvNeXtBlock(nn.Module):
    """Depthwise causal convolution, then a pointwise network, on a residual path.

    Args:
        channels: width.
        kernel: frames seen, the current one included.
        expansion: width of the hidden layer over `channels`.
    """

    def __init__(self, channels: int, kernel: int = 7, expansion: int = 3) -> None:
        super().__init__()
        self.mix = CausalConv1d(channels, channels, kernel, groups=channels)
        self.norm = Norm(channels)
        self.widen = nn.Linear(channels, expansion * channels)
        self.narrow = nn.Linear(expansion * channels, channels)
        self.scale = nn.Parameter(torch.full((channels,), 0.1))

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, channels, frames) -> same shape."""
        h = self.norm(self.mix(x, stream).transpose(1, 2))
        h = self.narrow(F.gelu(self.widen(h))) * self.scale
        return x + h.transpose(1, 2)
