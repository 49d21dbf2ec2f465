"""Where a point lies on the body, in the terms that clothes are cut by: along the arm, the leg and the trunk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avatar_core.bodies import BodyModel
from avatar_core.bodies.skeleton import JOINT_INDEX
from avatar_core.rendering.normals import vertex_normals


@dataclass(frozen=True)
class SurfacePoints:
    """N points on a body, described on the neutral bind pose so that they mean the same on every body."""

    position: np.ndarray  # (N, 3) on the embedded body's neutral bind pose, metres
    normal_z: np.ndarray  # (N,) forward component of the neutral bind normal
    arm: np.ndarray  # (N,) 0 at the shoulder, 1 elbow, 2 wrist, 3 fingertips; below 0 towards the trunk
    leg: np.ndarray  # (N,) 0 at the hip, 1 knee, 2 ankle
    height: np.ndarray  # (N,) 0 at the hip joints, 1 at the base of the neck
    region: np.ndarray  # (N,) index into the body's region names


class SurfaceChart:
    """The chart of one body model's surface.

    Args:
        body: any body model with SMPL's joints.
    """

    def __init__(self, body: BodyModel) -> None:
        shaped = body.shape(body.neutral_shape)
        vertices, joints = shaped.vertices.cpu().numpy(), shaped.joints.cpu().numpy()
        self.region_names = body.region_names
        self.faces = body.faces.cpu().numpy()
        self._region = body.regions.cpu().numpy()
        normal_z = vertex_normals(shaped.vertices, body.faces)[:, 2].cpu().numpy()
        hip, knee, ankle = (joints[JOINT_INDEX[f"left_{name}"], 1] for name in ("hip", "knee", "ankle"))
        neck = joints[JOINT_INDEX["neck"], 1]
        y = vertices[:, 1]
        leg = np.where(y > knee, (hip - y) / (hip - knee), 1 + (knee - y) / (knee - ankle))
        height = (y - hip) / (neck - hip)
        mirrored = vertices * np.where(vertices[:, :1] < 0, [[-1.0, 1.0, 1.0]], 1.0)
        arm = _along_arm(mirrored, *(joints[JOINT_INDEX[f"left_{name}"]] for name in ("shoulder", "elbow", "wrist")))
        self._channels = np.column_stack([body.charted.cpu().numpy(), normal_z, arm, leg, height]).astype(np.float32)

    def region_ids(self, *names: str) -> tuple[int, ...]:
        """Return the indices of the regions whose name is, or ends with, one of `names`."""
        return tuple(
            index
            for index, region in enumerate(self.region_names)
            if any(region == name or region.endswith("_" + name) for name in names)
        )

    def vertices(self) -> SurfacePoints:
        """Return all V vertices as points."""
        return _points(self._channels, self._region)

    def at(self, face: np.ndarray, bary: np.ndarray) -> SurfacePoints:
        """Return N points inside faces (N,) at barycentric weights (N, 3)."""
        corners = self.faces[face]
        channels = np.einsum("nc,nck->nk", bary.astype(np.float32), self._channels[corners])
        nearest = corners[np.arange(len(face)), bary.argmax(1)]
        return _points(channels, self._region[nearest])


def _points(channels: np.ndarray, region: np.ndarray) -> SurfacePoints:
    return SurfacePoints(channels[:, :3], channels[:, 3], channels[:, 4], channels[:, 5], channels[:, 6], region)


def _along_arm(points: np.ndarray, shoulder: np.ndarray, elbow: np.ndarray, wrist: np.ndarray) -> np.ndarray:
    """Project points (N, 3) on the left side onto the arm's chain of bones; the hand continues the forearm."""
    upper, lower = elbow - shoulder, wrist - elbow
    along_upper = (points - shoulder) @ upper / (upper @ upper)
    along_lower = (points - elbow) @ lower / (lower @ lower)
    past_wrist = (along_lower - 1) * np.linalg.norm(lower) / 0.19
    forearm = np.where(along_lower > 1, 2 + past_wrist, 1 + along_lower)
    return np.where(along_upper < 1, np.minimum(along_upper, 1.0), np.maximum(forearm, 1.0))
