"""Start Warp once, silently, and launch kernels on tensors: import this before defining or launching kernels.

On a CPU, Warp runs the threads of a kernel one after another. A kernel whose threads have nothing to do with one
another is cut into pieces here, which run side by side on as many cores as torch may use: the result is the same, bit
by bit.
"""

import contextlib
import ctypes
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import warp as wp
from torch import Tensor

LEAST_ROWS = 2048
"""Threads of a kernel that are worth a core of their own."""


@dataclass(frozen=True, eq=False)
class Shared:
    """A contiguous tensor that all threads may read, with its last dimension as vectors of `dtype`."""

    tensor: Tensor
    dtype: type | None = None


@dataclass(frozen=True, eq=False)
class Rows:
    """A contiguous tensor of which thread i touches row i alone; its last dimension as vectors of `dtype`, if given."""

    tensor: Tensor
    dtype: type | None = None


class First:
    """Stands for the number, an int, that a kernel adds to its thread's to get the row's."""


FIRST = First()


def _has_cuda_driver() -> bool:
    for name in ("libcuda.so", "libcuda.so.1", "nvcuda.dll"):
        with contextlib.suppress(OSError):
            ctypes.CDLL(name)
            return True
    return False


@contextlib.contextmanager
def _native_stderr_closed() -> Iterator[None]:
    """Drop what native code writes to the process's error stream, which Python's sys.stderr cannot catch."""
    kept = os.dup(2)
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(sink)
        os.close(kept)


def _start() -> None:
    if hasattr(wp.config, "log_level"):
        wp.config.log_level = wp.LOG_WARNING
    else:
        setattr(wp.config, "quiet", True)  # noqa: B010 - the name of older versions
    # Without a driver, Warp's native library warns on every start, although a CPU is all that is wanted.
    with contextlib.nullcontext() if _has_cuda_driver() else _native_stderr_closed():
        wp.init()


def torch_stream(device: torch.device) -> contextlib.AbstractContextManager:
    """Return a scope in which Warp works on torch's current stream, so that the two are ordered on CUDA."""
    if device.type != "cuda":
        return contextlib.nullcontext()
    return wp.ScopedStream(wp.stream_from_torch(torch.cuda.current_stream(device)))


def as_array(tensor: Tensor, dtype: type | None = None) -> wp.array:
    """View a contiguous tensor as a Warp array of `dtype` (vectors take the last dimension), without a copy.

    For what Warp keeps; `launch` takes tensors. Arrays handed to Warp never take part in Warp's own tape: gradients are
    written by explicit kernels.
    """
    return wp.from_torch(tensor.detach(), dtype=dtype, requires_grad=False)


def launch(kernel: wp.Kernel, count: int, inputs: Sequence[Any], on: Tensor) -> None:
    """Run `count` threads of `kernel` on the device of `on`, in torch's stream order.

    inputs: numbers, contiguous tensors, `Shared` and `Rows` of them, and FIRST. Where there are `Rows`, all that
    threads write is in them, and a CPU may run the threads in any order.
    """
    cores = 1
    if on.device.type == "cpu" and any(isinstance(one, Rows) for one in inputs):
        cores = max(1, min(torch.get_num_threads(), count // LEAST_ROWS))
    parts = [(last - first, _rows(inputs, first, last)) for first, last in stretches(count, cores)]
    launch_side_by_side(kernel, parts, on)


def launch_side_by_side(kernel: wp.Kernel, parts: Sequence[tuple[int, Sequence[Any]]], on: Tensor) -> None:
    """Run launches of one kernel that write to different places, side by side on a CPU.

    parts: each launch's number of threads, and its inputs: numbers, contiguous tensors, and `Shared` of them.
    """
    passed = [(count, [_passed(one) for one in inputs]) for count, inputs in parts if count]
    device = wp.device_from_torch(on.device)
    others = []
    if len(passed) > 1 and on.device.type == "cpu":
        kernel.module.load(device)  # by one thread, before several need it
        others = [_pool().submit(_launch, kernel, *one, device) for one in passed[1:]]
        passed = passed[:1]
    try:
        with torch_stream(on.device):
            for one in passed:
                _launch(kernel, *one, device)
    finally:
        wait(others)  # also where this one failed: they write to tensors that the caller is about to drop
    for other in others:
        other.result()


def stretches(count: int, parts: int) -> list[tuple[int, int]]:
    """Divide numbers from 0 to `count` evenly into stretches, each from one number to before another."""
    return list(pairwise(count * part // parts for part in range(parts + 1)))


def _launch(kernel: wp.Kernel, count: int, inputs: list[Any], device: wp.Device) -> None:
    wp.launch(kernel, dim=count, inputs=inputs, device=device)


def _rows(inputs: Sequence[Any], first: int, last: int) -> list[Any]:
    """The inputs of the threads from `first` to `last`."""
    chosen: list[Any] = []
    for one in inputs:
        if isinstance(one, Rows):
            chosen.append(Shared(one.tensor[first:last], one.dtype))
        else:
            chosen.append(first if isinstance(one, First) else one)
    return chosen


def _passed(argument: Any) -> Any:
    """What Warp is given: not its own arrays, which take longer to make than a small kernel takes to run."""
    if isinstance(argument, Tensor):
        argument = Shared(argument)
    if isinstance(argument, Shared):
        tensor = argument.tensor.detach()
        return wp.from_torch(tensor, dtype=argument.dtype, requires_grad=False, return_ctype=True)
    return argument


_workers: list[ThreadPoolExecutor] = []


def _pool() -> ThreadPoolExecutor:
    """The threads that run pieces of kernels; made at the first use."""
    if not _workers:
        _workers.append(ThreadPoolExecutor(max(1, (os.cpu_count() or 1) - 1), thread_name_prefix="kernels"))
    return _workers[0]


# A forked process has none of its parent's threads.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_workers.clear)

_start()
