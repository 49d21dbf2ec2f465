"""An avatar's outfit painted point by point: borders as sharp as the texture, wherever the body's edges run."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from avatar_core.bodies.base import BodyModel
from avatar_core.errors import ArtifactError
from avatar_core.fields import AvatarField
from avatar_core.stages.body_chart import BodyChart
from avatar_core.stages.outfit import put_on
from avatar_core.stages.wearables import CUT_BORDER, INDEX, coverage_of


class PaintedSurface:
    """A textured field in which each garment is cut anew at every point; its geometry is the field's.

    The field itself knows garments at the body's vertices only, which is fine enough for guidance.

    Args:
        field: with one region a wearable.
        body: that the field is over.
        regions: names of the wearables, in the regions' order.
    Raises:
        ArtifactError: names that are unknown, or not one a region.
    """

    def __init__(self, field: AvatarField, body: BodyModel, regions: Sequence[str]) -> None:
        unknown = [name for name in regions if name not in INDEX]
        if unknown or len(regions) != len(field.base.logits):
            raise ArtifactError(
                f"the outfit {', '.join(regions)} does not fit a field of {len(field.base.logits)} regions; "
                "run texturing again"
            )
        self._field = field
        self._chart = BodyChart.of(body)
        self._worn = [INDEX[name] for name in regions]

    @property
    def bounds(self) -> tuple[Tensor, Tensor]:
        """The field's box (3,), (3,), metres."""
        return self._field.bounds

    def sdf(self, points: Tensor) -> Tensor:
        """The field's signed distance (N,), metres."""
        return self._field.sdf(points)

    def normal(self, points: Tensor) -> Tensor:
        """The field's smooth normals (N, 3) near points (N, 3)."""
        return self._field.normal(points)

    @torch.no_grad()
    def color(self, points: Tensor) -> Tensor:
        """Albedo (N, 3) in [0, 1] at points (N, 3), bind pose."""
        field = self._field
        closest = field.surface.closest(points)
        corners = field.surface.faces[closest.face.clamp_min(0)]
        chart = self._chart.at(corners.cpu().numpy(), closest.bary.cpu().numpy())
        shares = put_on(coverage_of(chart, self._worn, CUT_BORDER)).to(points.device)
        weights = field.base.weights(shares, closest, points)
        return torch.sigmoid(field.base.painted(weights, field.color_change(points)))
