"""Multi-resolution hash encoding as a torch module over Warp kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
import warp as wp
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from avatar_core.fields.hash_kernels import encode_backward_points, encode_backward_table, encode_forward
from avatar_core.fields.hash_layout import FEATURES, HashConfig, HashLayout, hash_layout
from avatar_core.rendering.warp_runtime import FIRST, LEAST_ROWS, Rows, Shared, launch, launch_side_by_side, stretches


@dataclass(frozen=True, eq=False)
class Grids:
    """Where the L levels of each of K grids lie in space and in one table of all, as the kernels read it."""

    cells: Tensor  # (K L,) float32, metres
    dims: Tensor  # (K L, 3) int32, corners along x, y and z
    offsets: Tensor  # (K L,) int32, rows of the table before the level's
    sizes: Tensor  # (K L,) int32, rows of the level
    dense: Tensor  # (K L,) int32, 1 where each corner has a row of its own
    lower: Tensor  # (K, 3) float32, lowest corner of the box, metres
    upper: Tensor  # (K, 3) float32

    @classmethod
    def of(cls, layouts: Sequence[HashLayout], device: torch.device | str) -> Grids:
        """Put grids of equally many levels one after another; their tables are to be joined in the same order."""

        def tensor(values: list, dtype: torch.dtype) -> Tensor:
            return torch.tensor(values, dtype=dtype, device=device)

        offsets, first = [], 0
        for layout in layouts:
            offsets += [first + offset for offset in layout.offsets]
            first += layout.rows
        return cls(
            cells=tensor([cell for one in layouts for cell in one.cells], torch.float32),
            dims=tensor([dims for one in layouts for dims in one.dims], torch.int32),
            offsets=tensor(offsets, torch.int32),
            sizes=tensor([size for one in layouts for size in one.sizes], torch.int32),
            dense=tensor([dense for one in layouts for dense in one.dense], torch.int32),
            lower=tensor([one.lower for one in layouts], torch.float32),
            upper=tensor([one.upper for one in layouts], torch.float32),
        )

    def __len__(self) -> int:
        return len(self.lower)

    @property
    def levels(self) -> int:
        """Levels of each grid."""
        return len(self.cells) // len(self)

    def arguments(self, points: Tensor) -> list:
        """Return the kernels' arguments, in their order, for `points` (N, 3), N a multiple of K."""
        return [*self._arrays, len(points) // len(self)]

    @cached_property
    def _arrays(self) -> list[Tensor | Shared]:
        return [
            self.cells,
            Shared(self.dims, wp.vec3i),
            self.offsets,
            self.sizes,
            self.dense,
            Shared(self.lower, wp.vec3),
            Shared(self.upper, wp.vec3),
        ]


class HashEncoding(nn.Module):
    """Trainable features on grids of growing resolution, interpolated trilinearly and concatenated.

    The reference for values and gradients is `hash_reference.encode_reference`.
    """

    level_weights: Tensor

    def __init__(
        self,
        config: HashConfig,
        lower: tuple[float, float, float],
        upper: tuple[float, float, float],
        generator: torch.Generator | None = None,
    ) -> None:
        """Cover the box from `lower` to `upper` (metres); features start uniform in ±1e-4, or zero without a
        generator."""
        super().__init__()
        self.layout: HashLayout = hash_layout(config, lower, upper)
        table = torch.zeros(self.layout.rows, FEATURES)
        if generator is not None:
            table.uniform_(-1e-4, 1e-4, generator=generator)
        self.table = nn.Parameter(table)
        self.register_buffer("level_weights", torch.ones(self.layout.levels), persistent=False)
        self._grids: Grids | None = None

    @property
    def width(self) -> int:
        """Number of features a point gets."""
        return self.layout.levels * FEATURES

    def set_active_levels(self, count: float) -> None:
        """Use the first `count` levels (a fraction fades in the next); the others give zeros, for free."""
        levels = torch.arange(self.layout.levels, dtype=torch.float32, device=self.table.device)
        self.level_weights.copy_((count - levels).clamp(0.0, 1.0))

    def forward(self, points: Tensor) -> Tensor:
        """Return (N, width) features of `points` (N, 3) float32, metres; differentiable once in both."""
        if self._grids is None or self._grids.cells.device != self.table.device:
            self._grids = Grids.of([self.layout], self.table.device)
        return encode(points, self.table, self.level_weights, self._grids)


def encode(points: Tensor, table: Tensor, level_weights: Tensor, grids: Grids) -> Tensor:
    """Return features (N, 2 L) of points in K grids, in one launch; differentiable once in points and table.

    Args:
        points: (N, 3) float32, metres, clamped into their grid's box; N / K points a grid, grid after grid.
        table: (rows, 2) the grids' tables, joined.
        level_weights: (K L,) factor of each level's features, grid after grid.
        grids: the layout.
    """
    return _Encode.apply(points, table, level_weights, grids)


class _Encode(torch.autograd.Function):
    @staticmethod
    def forward(ctx, points: Tensor, table: Tensor, level_weights: Tensor, grids: Grids) -> Tensor:
        points = points.detach().contiguous()
        ctx.grids = grids
        ctx.weights = level_weights.clone()
        ctx.save_for_backward(points, table)
        features = points.new_empty(len(points), grids.levels, FEATURES)
        inputs = [
            Rows(points, wp.vec3),
            Shared(table, wp.vec2),
            ctx.weights,
            *grids.arguments(points),
            FIRST,
            Rows(features, wp.vec2),
        ]
        launch(encode_forward, len(points), inputs, on=points)
        return features.view(len(points), grids.levels * FEATURES)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_features: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        points, table = ctx.saved_tensors
        shared = [ctx.weights, *ctx.grids.arguments(points)]
        grad = grad_features.contiguous().view(len(points), ctx.grids.levels, FEATURES)
        grad_points = grad_table = None
        if ctx.needs_input_grad[1]:
            grad_table = torch.zeros_like(table)
            before, behind = [Shared(points, wp.vec3), *shared], [Shared(grad, wp.vec2), Shared(grad_table, wp.vec2)]
            # Each level adds to its own part of the table: cores share them out.
            cores = 1
            if points.device.type == "cpu" and len(points) >= LEAST_ROWS:
                cores = min(ctx.grids.levels, torch.get_num_threads())
            parts = [(len(points), [*before, *levels, *behind]) for levels in stretches(ctx.grids.levels, cores)]
            launch_side_by_side(encode_backward_table, parts, on=points)
        if ctx.needs_input_grad[0]:
            grad_points = torch.empty_like(points)
            inputs = [
                Rows(points, wp.vec3),
                Shared(table, wp.vec2),
                *shared,
                FIRST,
                Rows(grad, wp.vec2),
                Rows(grad_points, wp.vec3),
            ]
            launch(encode_backward_points, len(points), inputs, on=points)
        return grad_points, grad_table, None, None
