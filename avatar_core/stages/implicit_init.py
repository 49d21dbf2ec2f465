"""Stage implicit_init: from a shaped body to an implicit avatar that is that body, without any optimisation."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from avatar_core.bodies.base import BodyModel
from avatar_core.documents import read_json
from avatar_core.errors import ArtifactError, BodyError
from avatar_core.fields import AvatarField, BodySurface, FieldConfig, outer_faces
from avatar_core.seeds import torch_generator
from avatar_core.stages.base import StageContext

NAME = "implicit_init"
VERSION = 2


class Config(BaseModel):
    """Settings of the stage."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    field: FieldConfig = FieldConfig()
    """Resolution and size of the field."""
    check_points: int = Field(20_000, ge=100)
    """Points at which the field is compared with the body's mesh."""
    tolerance: float = Field(0.002, gt=0)
    """Largest mean distance between field and mesh that counts as the same body, metres."""


class Shaped(Protocol):
    """What this stage reads of coarse_shape's result."""

    @property
    def betas(self) -> Tensor:
        """(S,) shape vector."""
        ...


@dataclass(frozen=True, eq=False)
class ImplicitAvatar:
    """A field that is the body of `betas` in one neutral tone."""

    betas: Tensor
    """(S,) shape vector."""
    state: dict[str, Tensor]
    """The field's state, with the body's sampled distance."""
    bounds: tuple[Tensor, Tensor]
    """Lowest and highest corner (3,) of the field's box, metres, bind pose."""
    mean_error: float
    """Mean absolute difference between the sampled field and the mesh near its surface, metres."""
    surface_error: float
    """Mean absolute field value on the mesh itself, metres."""

    def field(self, body: BodyModel) -> AvatarField:
        """Rebuild the field over `body`; raises ArtifactError when it belongs to another body."""
        return AvatarField.from_state(body, self.betas.to(body.template.device), self.state)

    def save(self, folder: Path) -> None:
        """Write the avatar into an existing folder."""
        tensors = {f"field.{name}": value.contiguous() for name, value in self.state.items()}
        tensors |= {"betas": self.betas.cpu().contiguous(), "bounds": torch.stack(self.bounds).cpu()}
        save_file(tensors, folder / "implicit.safetensors")
        facts = {"mean_error": self.mean_error, "surface_error": self.surface_error}
        (folder / "implicit.json").write_text(json.dumps(facts, sort_keys=True), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> ImplicitAvatar:
        """Read what `save` wrote; raises ArtifactError when it is missing or damaged."""
        try:
            tensors = load_file(folder / "implicit.safetensors")
            facts = read_json((folder / "implicit.json").read_text(encoding="utf-8"))
            lower, upper = tensors["bounds"]
            state = {name.removeprefix("field."): value for name, value in tensors.items() if name.startswith("field.")}
            return cls(tensors["betas"], state, (lower, upper), facts["mean_error"], facts["surface_error"])
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise ArtifactError(f"{folder} holds no implicit avatar ({error}); run {NAME} again") from error


def run(shape: Shaped, *, config: Config, seed: int, context: StageContext) -> ImplicitAvatar:
    """Build the implicit avatar of a shaped body.

    The distance is the body's own, sampled on a grid; the learned residual is exactly zero.

    Raises BodyError when the field does not reproduce the body (a mesh that is not closed, or a cell too
    coarse for it).
    """
    body = context.body
    betas = shape.betas.to(context.device)
    context.progress(0, 2, "sampling the body's distance")
    surface = BodySurface(body.shape(betas).vertices, outer_faces(body))
    field = AvatarField(surface, config.field, torch_generator(seed, NAME, "features"))
    sampled = field.body_sdf
    context.progress(1, 2, "comparing with the mesh")
    mean_error, surface_error = _errors(field, config.check_points, torch_generator(seed, NAME, "check"))
    if not max(mean_error, surface_error) <= config.tolerance:
        raise BodyError(
            f"the implicit avatar differs from its body by {1000 * max(mean_error, surface_error):.1f} mm on "
            f"average (tolerance {1000 * config.tolerance:.1f} mm): lower implicit_init.field.sdf_cell "
            f"({sampled.cell} m), or check that the body's mesh is closed"
        )
    lower, upper = field.bounds
    context.progress(2, 2, f"mean error {1000 * mean_error:.2f} mm")
    state = field.state(with_body_sdf=True)
    return ImplicitAvatar(betas.cpu(), state, (lower.cpu(), upper.cpu()), mean_error, surface_error)


@torch.no_grad()
def _errors(field: AvatarField, count: int, generator: torch.Generator) -> tuple[float, float]:
    """Mean |field - mesh| in metres at points within about 2 cm of the mesh, and mean |field| on it."""
    surface = field.surface
    corners = surface.vertices[surface.faces]
    areas = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=1)
    faces = torch.multinomial(areas.cpu(), count, replacement=True, generator=generator).to(areas.device)
    weights = torch.rand(count, 3, generator=generator).log().neg().to(areas.device)
    weights = weights / weights.sum(1, keepdim=True)
    on_mesh = (corners[faces] * weights[:, :, None]).sum(1)
    around = on_mesh + 0.01 * torch.randn(count, 3, generator=generator).to(areas.device)
    exact = surface.closest(around).distance
    exact = torch.where(surface.inside(around), -exact, exact)
    near = (field.sdf_sampled(around) - exact).abs().mean()
    return float(near), float(field.sdf_sampled(on_mesh).abs().mean())
