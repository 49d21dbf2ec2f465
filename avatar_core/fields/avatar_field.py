"""The implicit avatar: the body's signed distance plus a learned residual, and a view-independent albedo."""

from __future__ import annotations

import json
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer
from torch import Tensor, nn

from avatar_core.bodies.base import BodyModel
from avatar_core.errors import ArtifactError
from avatar_core.fields.base_layer import BaseLayer
from avatar_core.fields.body_sdf import BodySdf, sample_body_sdf
from avatar_core.fields.body_surface import BodySurface, Closest, outer_faces
from avatar_core.fields.field_inquiry import Asked, Inquiry, Learned, Result
from avatar_core.fields.garment_volume import cloth_share, joined, volume_box
from avatar_core.fields.hash_layout import HashConfig
from avatar_core.fields.hash_network import Corner, HashNetwork
from avatar_core.fields.learned_network import LearnedNetwork
from avatar_core.fields.positional_network import PositionalConfig, PositionalNetwork

TETRAHEDRON = ((1.0, 1.0, 1.0), (1.0, -1.0, -1.0), (-1.0, 1.0, -1.0), (-1.0, -1.0, 1.0))
"""Offsets whose weighted sum of values gives a gradient from four evaluations and no centre."""
CLOTH_THICKNESS = 0.005
"""What stands off the body this far hides the mesh's own relief, metres."""
DRESSED_REACH = 0.06
"""Metres around the body within which the grid tells the thickness of what is worn."""
COLOR_RANGE = 4.0
"""Largest change of an albedo's logit by the learned colours: enough to reach any colour from any other."""


class FieldConfig(BaseModel):
    """Size and resolution of an avatar's field."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sdf_cell: float = Field(0.008, gt=0)
    """Cell of the grid that holds the body's own distance inside loops, metres."""
    band: float = Field(0.12, gt=0)
    """Distances are clamped to this, and the field's box reaches this far beyond the body, metres."""
    headroom: float = Field(0.24, ge=0)
    """How much farther the learned grids reach above the body, for hats and hair, metres."""
    legroom: float = Field(0.12, ge=0)
    """How much farther they reach behind it, for skirts, metres."""
    outward: float = Field(0.035, gt=0)
    """How far the surface can grow beyond the body, metres."""
    inward: float = Field(0.012, gt=0)
    """How far the surface can sink into the body, metres."""
    geometry: HashConfig = HashConfig(levels=5, coarsest_cell=0.16, finest_cell=0.024, log2_table_size=15)
    """Grids under the learned distance; coarse on purpose, so that guidance sculpts forms and not noise."""
    color: HashConfig = HashConfig(levels=7, coarsest_cell=0.16, finest_cell=0.010, log2_table_size=16)
    """Grids under the learned colours."""
    hidden: int = Field(32, ge=4, le=256)
    """Width of the hidden layer of both heads."""
    kind: Literal["hash", "positional"] = "hash"
    """What learns: grids with small networks on them (`geometry`, `color`, `hidden`), or AvatarCLIP's large networks
    over a positional encoding (`positional`), which are tens of times slower."""
    positional: PositionalConfig = PositionalConfig()
    """Sizes of the large networks."""

    @model_serializer(mode="wrap")
    def _without_unused(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # They decide nothing, and a stage key digests what is written here; that of grids is as old as they are.
        unused = {"kind", "positional"} if self.kind == "hash" else {"geometry", "color", "hidden"}
        return {name: value for name, value in write(self).items() if name not in unused}


class AvatarField(nn.Module):
    """Distance and albedo of one avatar in the bind pose; starts as the body itself in one neutral tone.

    Args:
        surface: the body's outer surface.
        config: sizes.
        generator: of the first features and weights; None gives zeros (for loading a state).
        body_sdf: the body's sampled distance where already known; else it is sampled when first needed.
    """

    offsets: Tensor

    def __init__(
        self,
        surface: BodySurface,
        config: FieldConfig,
        generator: torch.Generator | None = None,
        body_sdf: BodySdf | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.surface = surface
        self._body_sdf = body_sdf
        self._dressed_sdf: BodySdf | None = None
        self._lower = (surface.vertices.amin(0) - config.band).tolist()
        self._upper = (surface.vertices.amax(0) + config.band).tolist()
        x, y, z = self._lower
        right, top, front = self._upper
        box = (x, y, z - config.legroom), (right, top + config.headroom, front)
        self.network = _network(config, *box, generator)
        for name, module in self.network.modules.items():
            self.add_module(name, module)
        self.base = BaseLayer(len(surface.vertices))
        self.register_buffer("offsets", torch.tensor(TETRAHEDRON) * self.network.gradient_step, persistent=False)
        self.to(surface.vertices.device)

    @property
    def bounds(self) -> tuple[Tensor, Tensor]:
        """Lowest and highest corner (3,) of a box that holds the surface, whatever it learns, metres, bind pose."""
        device = self.surface.vertices.device
        lower, upper = torch.tensor(self._lower, device=device), torch.tensor(self._upper, device=device)
        if not len(self.base.volumes):
            return lower, upper
        low, high = volume_box(self.base.volumes)
        room = 2.0 * self.config.outward
        return torch.minimum(lower, low.amin(0) - room), torch.maximum(upper, high.amax(0) + room)

    @property
    def body_sdf(self) -> BodySdf:
        """The body's distance on a grid (sampled at the first use where the field was loaded without one)."""
        if self._body_sdf is None:
            sampled = sample_body_sdf(self.surface, cell=self.config.sdf_cell, band=self.config.band)
            self._body_sdf = sampled.half_precision()
        return self._body_sdf

    @property
    def dressed_sdf(self) -> BodySdf:
        """The body's distance on a grid, less the thickness of what is worn (made at the first use)."""
        if not self.base.worn:
            return self.body_sdf
        if self._dressed_sdf is None:
            self._dressed_sdf = self.body_sdf.offset(self._thickness_at, DRESSED_REACH).joined(self.base.volumes)
        return self._dressed_sdf

    def _thickness_at(self, points: Tensor) -> Tensor:
        return self.base.offset(self.surface, self.surface.closest(points, self.config.band))

    def dress(
        self,
        membership: Tensor,
        colors: Tensor,
        thickness: Tensor,
        volumes: Tensor | None = None,
        freedom: Tensor | None = None,
    ) -> None:
        """Divide the body into regions of a base colour and a thickness; see `BaseLayer.set_regions`."""
        self.base.set_regions(membership, colors, thickness, volumes, freedom)
        self._dressed_sdf = None

    def sdf(self, points: Tensor) -> Tensor:
        """Signed distance (N,) in metres at `points` (N, 3): the body's exact one, what is worn, the residual.

        Negative inside, clamped to ±band before the residual; skirts are hollow. Differentiable in the residual; for
        extraction, at about 3 µs a point on a CPU core. The sign is that of the offset along the smooth normal near the
        surface and the grid's elsewhere.
        """
        closest = self.surface.closest(points, self.config.band)
        offset = points - self.surface.interpolate(closest, self.surface.vertices)
        along = (offset * self.surface.interpolate(closest, self.surface.normals)).sum(1)
        near = closest.distance < 1.5 * self.config.sdf_cell
        inside = torch.where(near, along, self.body_sdf.distance(points)) < 0
        signed = torch.where(inside, -closest.distance, closest.distance)
        worn = joined(signed - self.base.offset(self.surface, closest), points, self.base.volumes, hollow=True)
        return worn + self.residual(points)

    def sdf_sampled(self, points: Tensor) -> Tensor:
        """Like `sdf` with the body's part from the grid, skirts solid: for loops, differentiable in points too."""
        return self.dressed_sdf.distance(points) + self.residual(points)

    def residual(self, points: Tensor) -> Tensor:
        """Learned offset (N,) of the distance, metres, in (-outward, inward); exactly zero at the start."""
        return self.bounded_residual(self.network.distance(points))

    def bounded_residual(self, raw: Tensor) -> Tensor:
        """Return what the network's raw offset means as an offset of the distance, metres."""
        raw = raw * self.config.outward
        limit = torch.where(raw < 0, self.config.outward, self.config.inward)
        return limit * torch.tanh(raw / limit)

    def learned(self, asked: Asked) -> Learned:
        """Return the learned parts that are asked for; see `FieldGroup` for those of several fields at once."""
        nothing = self.base.logits.new_zeros
        return Learned(
            nothing(0) if asked.residual is None else self.residual(asked.residual),
            nothing(0, 3) if asked.color is None else self.color_change(asked.color),
        )

    def answer(self, inquiry: Inquiry[Result]) -> Result:
        """Carry out a computation that asks for learned parts of this field."""
        try:
            asked = next(inquiry)
            while True:
                asked = inquiry.send(self.learned(asked))
        except StopIteration as end:
            return end.value

    def around(self, points: Tensor) -> Tensor:
        """Return the four points (4 N, 3) around each of `points` (N, 3) that gradients are taken from."""
        return (points[:, None] + self.offsets).reshape(-1, 3)

    def gradient(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient (N, 3) of the distance at `points` (N, 3), and the residual's Laplacian (N,), per metre.

        The body's part has unit length and carries no gradient; the residual's comes from four offsets of
        the network's `gradient_step`, so that both are differentiable in the learned parameters.
        """
        around = self.around(points)
        return self.gradient_of(
            self.residual(points), self.residual(around), points, around, self.surface.closest(points)
        )

    def gradient_of(
        self, residual: Tensor, residual_around: Tensor, points: Tensor, around: Tensor, closest: Closest
    ) -> tuple[Tensor, Tensor]:
        """Like `gradient`, given the residual (N,) at `points` and (4 N,) `around` them, and the closest points."""
        square = self.network.gradient_step**2
        values = residual_around.reshape(-1, 4)
        slope = (values[:, :, None] * self.offsets).sum(1) / (4.0 * square)
        laplacian = (values.mean(1) - residual) * (2.0 / square)
        return self._base_gradient(points, around, closest) + slope, laplacian

    @torch.no_grad()
    def normal(self, points: Tensor) -> Tensor:
        """Unit outward normals (N, 3) of the surface as it is meant, near `points` (N, 3), metres.

        The body's distance is taken to its smooth tangent plane, so that neither the facets of its mesh nor the
        cells of a grid show; what is worn and the residual come from four offsets of the network's `gradient_step`.
        """
        surface, offsets = self.surface, self.offsets
        closest = surface.closest(points)
        upright = nn.functional.normalize(surface.interpolate(closest, surface.normals), dim=1)
        above = ((points - surface.interpolate(closest, surface.vertices)) * upright).sum(1, keepdim=True)
        around = self.around(points)
        distance = (above + upright @ offsets.T).reshape(-1)
        if self.base.worn:
            thickness = self.base.offset(surface, surface.closest(around))
            distance = joined(distance - thickness, around, self.base.volumes, hollow=True)
        values = (distance + self.residual(around)).view(-1, 4)
        return nn.functional.normalize(values @ offsets, dim=1)

    @torch.no_grad()
    def _base_gradient(self, points: Tensor, around: Tensor, closest: Closest) -> Tensor:
        """Unit gradient (N, 3) at `points` (N, 3) before anything learned, given the four points (4 N, 3) around each.

        Bare skin takes the mesh's smooth normals, finer than the grid; what stands off the body takes the
        grid's, which has no toes under its shoes.
        """
        mesh = nn.functional.normalize(self.surface.interpolate(closest, self.surface.normals), dim=1)
        if not self.base.worn:
            return mesh
        values = self.dressed_sdf.distance(around).view(-1, 4)
        grid = nn.functional.normalize(values @ self.offsets, dim=1)
        worn = (self.base.offset(self.surface, closest) / CLOTH_THICKNESS).clamp(0.0, 1.0)
        if len(self.base.volumes):
            worn = torch.maximum(worn, cloth_share(points, closest.distance, self.base.volumes).amax(1))
        return nn.functional.normalize(torch.lerp(mesh, grid, worn[:, None]), dim=1)

    def color(self, points: Tensor) -> Tensor:
        """Albedo (N, 3) in [0, 1] at `points` (N, 3), metres, bind pose."""
        return self.albedo(self.color_change(points), points, self.surface.closest(points))

    def albedo(self, change: Tensor, points: Tensor, closest: Closest) -> Tensor:
        """Albedo (N, 3) in [0, 1] at `points` (N, 3), given the learned change (N, 3) there and the closest points."""
        weights = self.base.weights(self.base.shares(self.surface, closest), closest, points)
        return torch.sigmoid(self.base.painted(weights, change))

    def color_change(self, points: Tensor) -> Tensor:
        """Learned change (N, 3) of the albedo's logits at `points` (N, 3); exactly zero at the start."""
        return bounded_change(self.network.color(points))

    def state(self, *, with_body_sdf: bool = False) -> dict[str, Tensor]:
        """Return what `from_state` needs, on the CPU; the body's grid only if asked (it can be rebuilt)."""
        tensors = {name: value.detach().cpu().clone() for name, value in self.state_dict().items()}
        text = json.dumps(self.config.model_dump(), sort_keys=True).encode()
        tensors["config"] = torch.frombuffer(bytearray(text), dtype=torch.uint8).clone()
        if with_body_sdf:
            tensors |= self.body_sdf.tensors()
        return tensors

    @classmethod
    def from_state(cls, body: BodyModel, betas: Tensor, state: dict[str, Tensor]) -> AvatarField:
        """Rebuild a field from `state()` over the body of shape `betas` (S,), on that body's device.

        Raises ArtifactError when the state does not belong to this body or to this version of the field.
        """
        try:
            config = FieldConfig.model_validate_json(bytes(state["config"].tolist()))
        except (KeyError, ValueError) as error:
            raise ArtifactError(f"the field's state holds no valid config ({error}); run its stage again") from error
        surface = BodySurface(body.shape(betas).vertices, outer_faces(body))
        body_sdf = BodySdf.from_tensors(state)
        field = cls(surface, config, body_sdf=None if body_sdf is None else body_sdf.to(surface.vertices.device))
        field.load(state)
        return field

    def load(self, state: dict[str, Tensor]) -> None:
        """Take over learned tensors from `state()`; raises ArtifactError when names or shapes differ."""
        own = {name: value for name, value in state.items() if name != "config" and not name.startswith("body_sdf.")}
        try:
            self.base.resize(len(own["base.logits"]), len(own["base.volumes"]))
            self.load_state_dict(own)
            self._dressed_sdf = None
        except (KeyError, RuntimeError) as error:
            raise ArtifactError(f"the field's state does not fit this body ({error}); run its stage again") from error


def bounded_change(raw: Tensor) -> Tensor:
    """Return what the network's raw change means as a change of the albedo's logits."""
    return COLOR_RANGE * torch.tanh(raw / COLOR_RANGE)


def _network(config: FieldConfig, lower: Corner, upper: Corner, generator: torch.Generator | None) -> LearnedNetwork:
    """The network of the kind that is chosen, over a box in metres."""
    if config.kind == "hash":
        return HashNetwork(config.geometry, config.color, config.hidden, lower, upper, generator)
    x, y, z = ((low + high) / 2.0 for low, high in zip(lower, upper))
    return PositionalNetwork(config.positional, (x, y, z), config.outward, generator)
