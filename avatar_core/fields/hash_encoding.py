"""Multi-resolution hash encoding as a torch module over Warp kernels."""

import torch
import warp as wp
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from avatar_core.fields.hash_kernels import encode_backward_points, encode_backward_table, encode_forward
from avatar_core.fields.hash_layout import FEATURES, HashConfig, HashLayout, hash_layout
from avatar_core.fields.warp_runtime import as_array, launch


class HashEncoding(nn.Module):
    """Trainable features on grids of growing resolution, interpolated trilinearly and concatenated.

    The reference for values and gradients is `hash_reference.encode_reference`.
    """

    cells: Tensor
    dims: Tensor
    offsets: Tensor
    sizes: Tensor
    dense: Tensor
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
        for name, values, dtype in (
            ("cells", self.layout.cells, torch.float32),
            ("dims", self.layout.dims, torch.int32),
            ("offsets", self.layout.offsets, torch.int32),
            ("sizes", self.layout.sizes, torch.int32),
            ("dense", self.layout.dense, torch.int32),
        ):
            self.register_buffer(name, torch.tensor(values, dtype=dtype), persistent=False)
        self.register_buffer("level_weights", torch.ones(self.layout.levels), persistent=False)

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
        return _Encode.apply(points, self.table, self)

    def level_arguments(self) -> list:
        """Return the per-level kernel arguments, in the kernels' order, level weights excluded."""
        return [
            as_array(self.cells),
            as_array(self.dims, wp.vec3i),
            as_array(self.offsets),
            as_array(self.sizes),
            as_array(self.dense),
            wp.vec3(*self.layout.lower),
            wp.vec3(*self.layout.upper),
        ]


class _Encode(torch.autograd.Function):
    @staticmethod
    def forward(ctx, points: Tensor, table: Tensor, encoding: HashEncoding) -> Tensor:
        points = points.detach().contiguous()
        ctx.encoding = encoding
        ctx.weights = encoding.level_weights.clone()
        ctx.save_for_backward(points, table)
        features = points.new_empty(len(points), encoding.layout.levels, FEATURES)
        inputs = [
            as_array(points, wp.vec3),
            as_array(table, wp.vec2),
            as_array(ctx.weights),
            *encoding.level_arguments(),
            as_array(features, wp.vec2),
        ]
        launch(encode_forward, len(points), inputs, on=points)
        return features.view(len(points), encoding.width)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_features: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        points, table = ctx.saved_tensors
        encoding = ctx.encoding
        shared = [as_array(ctx.weights), *encoding.level_arguments()]
        grad = as_array(grad_features.contiguous().view(len(points), -1, FEATURES), wp.vec2)
        grad_points = grad_table = None
        if ctx.needs_input_grad[1]:
            grad_table = torch.zeros_like(table)
            inputs = [as_array(points, wp.vec3), *shared, grad, as_array(grad_table, wp.vec2)]
            launch(encode_backward_table, len(points), inputs, on=points)
        if ctx.needs_input_grad[0]:
            grad_points = torch.empty_like(points)
            inputs = [
                as_array(points, wp.vec3),
                as_array(table, wp.vec2),
                *shared,
                grad,
                as_array(grad_points, wp.vec3),
            ]
            launch(encode_backward_points, len(points), inputs, on=points)
        return grad_points, grad_table, None
