"""Torch tensors as Warp arrays, the way this package's kernels take them."""

import torch
import warp as wp

from avatar_core.rendering import warp_runtime  # starts Warp silently


def as_array(tensor: torch.Tensor, dtype: type | None = None) -> wp.array:
    """View a contiguous tensor as a Warp array of `dtype` (vectors take the last dimension), without a copy.

    Arrays handed to Warp never take part in Warp's own tape: gradients are written by explicit kernels.
    """
    return wp.from_torch(tensor.detach(), dtype=dtype, requires_grad=False)


def launch(kernel: wp.Kernel, count: int, inputs: list, on: torch.Tensor) -> None:
    """Run `count` threads of `kernel` on the device of `on`, in torch's stream order."""
    if count:
        with warp_runtime.torch_stream(on.device):
            wp.launch(kernel, dim=count, inputs=inputs, device=wp.device_from_torch(on.device))
