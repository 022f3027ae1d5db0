"""What may be asked of a tensor while a GPU is busy: who asks waits for all it was told to do."""

import torch
from torch import Tensor


def maybe_any(mask: Tensor) -> bool:
    """Whether an entry is true; of a GPU's tensor it is not asked, and said to be so.

    Args:
        mask: bool, of any shape.
    """
    return mask.is_cuda or bool(mask.any())


def maybe_where(mask: Tensor) -> Tensor:
    """Where a mask is true; of a GPU's it is not asked, and said to be everywhere.

    Args:
        mask: (n,) bool.

    Returns:
        Places, (at most n,) int64.
    """
    if mask.is_cuda:
        return torch.arange(len(mask), device=mask.device)
    return mask.nonzero()[:, 0]
