"""What the tests of exported files share: a man of capsules whose shape is known, and Khronos's validator."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from node_tools import glb_issues, require_packages
from torch import Tensor

from avatar_core.export.finished import FinishedAvatar, read_finished

# start, end, radius in metres, colour
CAPSULES = (
    ((0, 0.95, 0), (0, 1.40, 0), 0.14, (0.8, 0.1, 0.1)),
    ((0, 1.62, 0), (0, 1.66, 0), 0.10, (0.9, 0.7, 0.6)),
    ((0, 1.40, 0), (0, 1.60, 0), 0.06, (0.9, 0.7, 0.6)),
    ((0.10, 0.90, 0), (0.14, 0.08, 0), 0.07, (0.1, 0.2, 0.8)),
    ((-0.10, 0.90, 0), (-0.14, 0.08, 0), 0.07, (0.1, 0.2, 0.8)),
    ((0.14, 0.06, 0), (0.14, 0.06, 0.16), 0.06, (0.1, 0.1, 0.1)),
    ((-0.14, 0.06, 0), (-0.14, 0.06, 0.16), 0.06, (0.1, 0.1, 0.1)),
    ((0.14, 1.40, 0), (0.60, 0.95, 0), 0.05, (0.8, 0.1, 0.1)),
    ((-0.14, 1.40, 0), (-0.60, 0.95, 0), 0.05, (0.8, 0.1, 0.1)),
)


@dataclass(frozen=True)
class CapsuleMan:
    """1.76 m tall, feet on the ground, red torso and arms, blue legs."""

    crumbs: bool = False
    """Add a small ball beside the man, which is no part of him."""

    @property
    def bounds(self) -> tuple[Tensor, Tensor]:
        return torch.tensor([-0.75, -0.05, -0.25]), torch.tensor([0.75, 1.85, 0.35])

    def distances(self, points: Tensor) -> Tensor:
        parts = []
        for start, end, radius, _ in CAPSULES:
            a, b = torch.tensor(start, dtype=points.dtype), torch.tensor(end, dtype=points.dtype)
            along = ((points - a) @ (b - a) / (b - a).square().sum()).clamp(0, 1)
            parts.append((points - a - along[:, None] * (b - a)).norm(dim=-1) - radius)
        return torch.stack(parts)

    def sdf(self, points: Tensor) -> Tensor:
        distance = self.distances(points).amin(0)
        if self.crumbs:
            distance = torch.minimum(distance, (points - torch.tensor([0.6, 1.6, 0.0])).norm(dim=-1) - 0.05)
        return distance

    def color(self, points: Tensor) -> Tensor:
        palette = torch.tensor([capsule[3] for capsule in CAPSULES])
        return palette[self.distances(points).argmin(0)]


@pytest.fixture(scope="session")
def capsule_man() -> CapsuleMan:
    return CapsuleMan()


@pytest.fixture(scope="session")
def littered_man() -> CapsuleMan:
    return CapsuleMan(crumbs=True)


@pytest.fixture
def validate_glb(tmp_path) -> Callable[[bytes], dict[str, Any]]:
    """Return a function: bytes of a GLB -> the validator's issues; needs node and npm's gltf-validator."""
    require_packages("gltf-validator")

    def validate(content: bytes) -> dict[str, Any]:
        path = tmp_path / "validated.glb"
        path.write_bytes(content)
        return glb_issues(path)

    return validate


@pytest.fixture(scope="session")
def ada(tiny_library) -> FinishedAvatar:
    return read_finished(tiny_library / "avatars/ada/avatar.glb", name="ada")


@pytest.fixture(scope="session")
def bob(tiny_library) -> FinishedAvatar:
    return read_finished(tiny_library / "avatars/bob/avatar.glb", name="bob")
