"""The body-model interface: shape vector to bind-pose body, 22-joint pose to posed vertices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

if TYPE_CHECKING:
    from avatar_core.bodies.rig import Rig


@dataclass(frozen=True)
class ShapedBody:
    """One body in its bind pose (arms hanging out to the sides), standing on y = 0."""

    betas: Tensor  # (S,) shape vector
    vertices: Tensor  # (V, 3) metres
    joints: Tensor  # (22, 3) metres
    to_tpose: Tensor  # (22, 3, 3) world rotation of each joint from the bind pose to the T-pose

    @property
    def height(self) -> float:
        """Height in metres of the bind pose."""
        return float(self.vertices[:, 1].max() - self.vertices[:, 1].min())


@dataclass(frozen=True)
class PosedBody:
    """B poses of one body."""

    vertices: Tensor  # (B, V, 3) metres
    joints: Tensor  # (B, 22, 3) metres
    transforms: Tensor  # (B, 22, 4, 4) bind space to posed space


class BodyModel(Protocol):
    """What the stages need of a body; one implementation a file, chosen by config."""

    name: str
    digest: str  # sha256 of the weights, hex
    licence: str  # that the model, and what is made from it, comes under
    shape_labels: tuple[str, ...]  # names of the shape vector's entries
    neutral_shape: Tensor  # (S,)
    template: Tensor  # (V, 3) bind vertices of the neutral shape, metres
    faces: Tensor  # (F, 3) int64
    skinning_weights: Tensor  # (V, 22), rows sum to one
    charted: Tensor  # (V, 3) where the same parts are on the embedded body's neutral bind pose, metres
    regions: Tensor  # (V,) int64 into region_names
    region_names: tuple[str, ...]

    def shape(self, betas: Tensor) -> ShapedBody:
        """Build the bind-pose body of shape vector `betas` (S,); raises BodyError when it is not valid."""
        ...

    def pose(self, shaped: ShapedBody, rotations: Tensor, translation: Tensor | None = None) -> PosedBody:
        """Pose a body by (B, 22, 3, 3) local rotations from the T-pose and (B, 3) pelvis positions."""
        ...

    def rig(self, shaped: ShapedBody) -> Rig:
        """Return the whole skeleton of a body, fingers and all."""
        ...

    def bind_pose(self, shaped: ShapedBody) -> Tensor:
        """Return the (22, 3, 3) local rotations from the T-pose that give the bind pose."""
        ...

    def sex(self, shaped: ShapedBody) -> str | None:
        """Return "man" or "woman" for prompts that name clothes alone; None where the body does not tell."""
        ...

    def plausible_shapes(self, count: int, seed: int) -> Tensor:
        """Return shape vectors (count, S) of people of all kinds, on the CPU; raises ValueError when `count` is too
        small."""
        ...
