"""What a texturing step asks of a device, whatever the device: operations, bytes, launches and mesh queries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from statistics import median
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from avatar_core.fields import body_surface, hash_encoding, neus, shell
from avatar_core.fields.hash_kernels import encode_forward
from avatar_core.fields.hash_layout import FEATURES
from avatar_core.fields.shell_kernels import PROBES
from avatar_core.rendering.rasterizer import MeshRays
from avatar_core.rendering.warp_runtime import Rows
from avatar_core.seeds import torch_generator
from avatar_core.stages import texturing
from avatar_core.stages.texturing import TexturingRun
from avatar_core.stages.texturing_batch import advance_together
from avatar_core.stages.texturing_losses import guidance
from avatar_core.stages.texturing_views import draw_views

from .part_timer import PartTimer, Probe

CORNERS = 8
"""Rows of a table that a point reads at a level."""
NO_KERNEL = {"empty", "new_empty", "empty_like", "empty_strided", "new_empty_strided", "detach", "_unsafe_view"}
"""Operations that are no views and start nothing on a device all the same."""
ADAM_STATES = 7
"""Times that a fused Adam reads or writes each parameter's size: value, gradient and two moments in, three out."""
HOST_REPEATS = 5
"""Times that what stays on the processor is done, for a median."""


@dataclass(frozen=True)
class Counts:
    """What a step of one or more avatars takes, or a whole stage."""

    clip_flops: float
    """Of the image-text model, forward and backward to its images."""
    other_flops: float
    """Of all other matrix products: the small heads, forward and backward."""
    streamed: float
    """Bytes that torch's operations and the optimiser read and write, each operation by itself."""
    gathered: float
    """Bytes that hash encodings read from their tables and add to them, and that rays look up in the grid."""
    queries: float
    """Rays cast and closest points asked for."""
    kernels: float
    """Launches of torch's kernels."""
    own_kernels: float
    """Launches of this package's kernels."""
    host: float
    """Seconds of the processor beside these, as measured here."""

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other))))

    def __sub__(self, other: Counts) -> Counts:
        return self + other * -1.0

    def __mul__(self, factor: float) -> Counts:
        return Counts(*(factor * value for value in astuple(self)))


class Counter(TorchDispatchMode):
    """Counts torch's operations and their bytes, and the seconds of a clock inside them."""

    def __init__(self, clock: Callable[[], float] = lambda: 0.0) -> None:
        super().__init__()
        self._clock = clock
        self.seconds = 0.0
        self.kernels = 0
        self.streamed = 0.0
        self._paused = False

    def pausing(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function of which nothing is counted: it works on the processor wherever the rest does."""

        def paused(*arguments: Any) -> Any:
            self._paused = True
            try:
                return function(*arguments)
            finally:
                self._paused = False

        return paused

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and count it unless it starts nothing."""
        began = self._clock()
        result = func(*args, **(kwargs or {}))
        self.seconds += self._clock() - began
        if not self._paused and not func.is_view and func.overloadpacket.__name__ not in NO_KERNEL:
            self.kernels += 1
            self.streamed += sum(one.numel() * one.element_size() for one in _tensors((args, result)))
        return result


def _tensors(values: Any) -> Iterable[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, list | tuple):
        for value in values:
            yield from _tensors(value)


class WarpCounter:
    """Counts launches of this package's own kernels."""

    def __init__(self) -> None:
        self.kernels, self.queries = 0, 0
        self.gathered = 0.0
        self.probes = (
            Probe(hash_encoding, "launch", seen=self._encoded),
            Probe(hash_encoding, "launch_side_by_side", seen=self._added),
            Probe(neus, "launch", seen=self._launched),
            Probe(body_surface, "launch", seen=self._asked),
            Probe(shell, "launch", seen=self._looked),
            Probe(MeshRays, "cast", seen=self._cast),
        )

    def _launched(self, arguments: tuple[Any, ...], result: None) -> None:
        self.kernels += 1

    def _encoded(self, arguments: tuple[Any, ...], result: None) -> None:
        kernel, points, inputs = arguments
        self._gather(points, inputs[-1 if kernel is encode_forward else -2].tensor.shape[1])

    def _added(self, arguments: tuple[Any, ...], result: None) -> None:
        _, ((points, inputs), *_) = arguments
        # What is added to a table is read and written.
        self._gather(2 * points, inputs[-2].tensor.shape[1])

    def _gather(self, points: int, levels: int) -> None:
        self.gathered += points * levels * CORNERS * FEATURES * 4
        self.kernels += 1

    def _asked(self, arguments: tuple[Any, ...], result: None) -> None:
        self.queries += arguments[1]
        self.kernels += 1

    def _looked(self, arguments: tuple[Any, ...], result: None) -> None:
        _, pixels, inputs = arguments
        kept, *_ = (one.tensor for one in inputs if isinstance(one, Rows) and one.tensor.dtype == torch.bool)
        # Each is cast at the wall and at the body; those that are kept look along their whole way, at most.
        self.queries += 2 * pixels
        self.gathered += float(kept.sum()) * PROBES * CORNERS * 4
        self.kernels += 1

    def _cast(self, arguments: tuple[Any, ...], result: Any) -> None:
        self.queries += arguments[1].shape[:-1].numel()
        self.kernels += 1


def count_step(runs: list[TexturingRun], number: int, clock: Callable[[], float]) -> Counts:
    """Let runs take the step with this number together, but for the optimiser's change, and count what it takes.

    clock: seconds, for what stays on the processor.
    """
    for run in runs:
        # As on the device that is counted for.
        run.step, run.queued = number, True
    clip = len(runs) * clip_flops(runs[0], number)
    torchs, warps, flops = Counter(), WarpCounter(), FlopCounterMode(display=False)
    with _unchanged(runs):
        # The first step finds and keeps what the later ones share, and looks for the rays of the next.
        advance_together(range(len(runs)), dict(enumerate(runs)), {})
        drawing = patch.object(texturing, "draw_views", torchs.pausing(texturing.draw_views))
        with PartTimer(clock).probing(*warps.probes), drawing, flops, torchs:
            advance_together(range(len(runs)), dict(enumerate(runs)), {})
    groups = [group for run in runs for group in run.optimizer.param_groups]
    learned = sum(parameter.numel() for group in groups for parameter in group["params"])
    return Counts(
        clip_flops=clip,
        other_flops=flops.get_total_flops() - clip,
        streamed=torchs.streamed + learned * 4 * ADAM_STATES,
        gathered=warps.gathered,
        queries=warps.queries,
        kernels=torchs.kernels + len(groups),
        own_kernels=warps.kernels,
        host=_host_seconds(runs, number, clock),
    )


def _host_seconds(runs: list[TexturingRun], number: int, clock: Callable[[], float]) -> float:
    """Seconds in which views are drawn for a step; the median of a few."""
    times = []
    for _ in range(HOST_REPEATS):
        start = clock()
        generator = torch_generator(0, "host")
        for run in runs:
            edge = run.config.resolution_at(number / run.config.steps)
            draw_views(run.subject, run.config.views, run.config.views_per_step, edge, number, generator)
        times.append(clock() - start)
    return median(times)


@contextmanager
def _unchanged(runs: list[TexturingRun]) -> Iterator[None]:
    """Keep runs from changing, and from looking back: neither film nor checkpoints are part of every step.

    The fused optimiser of a GPU is not the one that runs here, and is counted by hand.
    """
    kept = [(one, name) for run in runs for one, name in ((run.optimizer, "step"), (run, "look_back"))]
    steps = [run.step for run in runs]
    for one, name in kept:
        setattr(one, name, lambda: None)
    try:
        yield
    finally:
        for one, name in kept:
            delattr(one, name)
        for run, step in zip(runs, steps):
            run.step = step


def clip_flops(run: TexturingRun, number: int) -> float:
    """Return the operations of the image-text model in a run's step, forward and backward to its images."""
    views, edge = run.config.views_per_step, run.config.resolution_at(number / run.config.steps)
    clay = max(1, round(run.config.losses.clay_share * views)) if run.config.losses.clay > 0 else 0
    images = torch.full((views + clay, 3, edge, edge), 0.5, device=run.context.device, requires_grad=True)
    flops = FlopCounterMode(display=False)
    with flops:
        guidance(run.guide, images, run.targets[:1]).sum().backward()
    return flops.get_total_flops()
