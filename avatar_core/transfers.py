"""Tensors on their way to a device."""

import torch
from torch import Tensor


def sent(tensor: Tensor, device: torch.device | str) -> Tensor:
    """Return `tensor`, drawn or made on the CPU, on `device`, without waiting until the device has done its work.

    From ordinary memory, a copy to a GPU makes the caller wait for all that is queued there; from pinned memory it is
    queued itself.
    """
    if tensor.device.type == "cpu" and torch.device(device).type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
