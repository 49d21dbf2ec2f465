"""Torch tensors as Warp arrays, the way this package's kernels take them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import warp as wp

from avatar_core.rendering import warp_runtime  # starts Warp silently


def as_array(tensor: torch.Tensor, dtype: type | None = None) -> wp.array:
    """View a contiguous tensor as a Warp array of `dtype` (vectors take the last dimension), without a copy.

    Arrays handed to Warp never take part in Warp's own tape: gradients are written by explicit kernels.
    """
    return wp.from_torch(tensor.detach(), dtype=dtype, requires_grad=False)


class Vectors(NamedTuple):
    """A contiguous tensor whose last dimension a kernel takes as vectors."""

    tensor: torch.Tensor
    dtype: type | None


def launch(kernel: wp.Kernel, count: int, inputs: Sequence[Any], on: torch.Tensor) -> None:
    """Run `count` threads of `kernel` on the device of `on`, in torch's stream order.

    inputs: numbers, contiguous tensors of numbers, and `Vectors`. They are handed over without Warp's own arrays, which
    take longer to make than a small kernel takes to run.
    """
    if count:
        with warp_runtime.torch_stream(on.device):
            passed = [_passed(one) for one in inputs]
            wp.launch(kernel, dim=count, inputs=passed, device=wp.device_from_torch(on.device))


def _passed(argument: Any) -> Any:
    if isinstance(argument, torch.Tensor):
        argument = Vectors(argument, None)
    if isinstance(argument, Vectors):
        tensor, dtype = argument
        return wp.from_torch(tensor.detach(), dtype=dtype, requires_grad=False, return_ctype=True)
    return argument
