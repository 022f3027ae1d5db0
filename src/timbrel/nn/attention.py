"""Attention between frames."""

import torch
import torch.nn.functional as F
from torch import Tensor


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Scaled dot-product attention (Vaswani et al., 2017).

    Args:
        query: (batch, heads, frames, size).
        key: (batch, heads, remembered, size).
        value: same shape as `key`.

    Returns:
        (batch, heads, frames, size).
    """
    if query.device.type == "cpu" and torch.is_grad_enabled():
        # the fused kernel's backward is four times slower than plain products on processors
        weight = torch.softmax(query @ key.transpose(2, 3) * query.shape[3] ** -0.5, 3)
        return weight.to(value.dtype) @ value
    return F.scaled_dot_product_attention(query, key, value)
