"""A device that is none of this machine's, for tests where there is no GPU."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_iter, tree_map

COPIES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)


class Elsewhere(Tensor):
    """A tensor that lies on a device of its own: like a GPU's, it is not mixed with others."""

    near: Tensor

    @staticmethod
    def __new__(cls, near: Tensor) -> "Elsewhere":
        made: Elsewhere = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, near.shape, near.stride(), dtype=near.dtype, device="meta"
        )
        made.near = near
        return made

    @classmethod
    def __torch_dispatch__(
        cls,
        function: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        taken = [x for x in tree_iter((args, kwargs)) if isinstance(x, Tensor)]
        # numbers may be mixed
        mixed = any(x.ndim > 0 and not isinstance(x, Elsewhere) for x in taken)
        if mixed and function not in COPIES:
            raise RuntimeError("expected all tensors to be on the same device")
        device = kwargs.pop("device", None)
        out = function(*tree_map(_near, args), **tree_map(_near, kwargs))
        if function is COPIES[1]:
            return args[0]
        if device is not None and torch.device(device).type == "cpu":
            return out
        return tree_map(lambda x: Elsewhere(x) if isinstance(x, Tensor) else x, out)


def _near(x: Any) -> Any:
    return x.near if isinstance(x, Elsewhere) else x


def move(module: torch.nn.Module) -> None:
    """Put a module's buffers on that device."""
    for part in module.modules():
        for name, buffer in part.named_buffers(recurse=False):
            part._buffers[name] = Elsewhere(buffer)
