"""Start Warp once, silently: import this module before defining or launching kernels."""

import contextlib
import ctypes
import os
from collections.abc import Iterator

import torch
import warp as wp


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


_start()
