"""Tensors on their way to a device, and numbers on their way back."""

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


class Awaited:
    """A whole number that a device is still working out, on its way to Python: its reader waits for it alone.

    Reading a tensor on a GPU waits for all that was queued before the reading; this waits for what was queued before
    it was asked for.

    Args:
        number: one whole number, on any device.
    """

    def __init__(self, number: Tensor) -> None:
        self._number, self._arrived = number, None
        if number.device.type == "cuda":
            self._number = torch.empty(number.shape, dtype=number.dtype, pin_memory=True)
            self._number.copy_(number, non_blocking=True)
            self._arrived = torch.cuda.Event()
            self._arrived.record(torch.cuda.current_stream(number.device))

    def __int__(self) -> int:
        if self._arrived is not None:
            self._arrived.synchronize()
        return int(self._number)
