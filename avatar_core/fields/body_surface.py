"""The body's triangle mesh as fields ask it: closest points, exact signed distances, smooth normals."""

# mypy: disable-error-code="valid-type"
# Annotations of Warp kernels are values that Warp reads, not Python types.

import math
from dataclasses import dataclass

import torch
import warp as wp
from torch import Tensor, nn

from avatar_core.bodies.base import BodyModel
from avatar_core.rendering.rasterizer import MeshRays
from avatar_core.rendering.warp_runtime import Rows, as_array, launch

WINDING_ACCURACY = 2.0
"""Barnes-Hut ratio of Warp's winding numbers; its own default."""
WINDING_INSIDE = 0.5
"""A point is inside where the winding number exceeds this: robust to eyes and lips that cross the skin."""


VISIBILITY_RAYS = 40
"""Directions, with their opposites, in which a face looks for the open."""
VISIBILITY_START = 1e-4
"""Distance from the face at which it starts to look, metres."""


@wp.kernel(enable_backward=False)
def _closest(
    mesh: wp.uint64,
    points: wp.array(dtype=wp.vec3),
    max_distance: float,
    face: wp.array(dtype=wp.int64),
    bary: wp.array(dtype=wp.vec3),
    distance: wp.array(dtype=float),
):
    i = wp.tid()
    query = wp.mesh_query_point_no_sign(mesh, points[i], max_distance)
    if query.result:
        face[i] = wp.int64(query.face)
        bary[i] = wp.vec3(query.u, query.v, 1.0 - query.u - query.v)
        distance[i] = wp.length(wp.mesh_eval_position(mesh, query.face, query.u, query.v) - points[i])
    else:
        face[i] = wp.int64(-1)
        bary[i] = wp.vec3(0.0, 0.0, 0.0)
        distance[i] = max_distance


@wp.kernel(enable_backward=False)
def _inside(
    mesh: wp.uint64,
    points: wp.array(dtype=wp.vec3),
    max_distance: float,
    accuracy: float,
    threshold: float,
    inside: wp.array(dtype=wp.bool),
):
    i = wp.tid()
    query = wp.mesh_query_point_sign_winding_number(mesh, points[i], max_distance, accuracy, threshold)
    inside[i] = query.result and query.sign < 0.0


@dataclass(frozen=True, eq=False)
class Closest:
    """The nearest point of the body to each query; where none is in range, face is -1."""

    face: Tensor
    """(N,) int64 triangle."""
    bary: Tensor
    """(N, 3) barycentric weights of its corners."""
    distance: Tensor
    """(N,) metres, unsigned; the range where nothing is in range."""


class BodySurface:
    """One body's bind-pose mesh in a bounding volume hierarchy.

    Args:
        vertices: (V, 3) metres, bind pose.
        faces: (F, 3) vertex indices, counter-clockwise seen from outside.
    """

    def __init__(self, vertices: Tensor, faces: Tensor) -> None:
        self.vertices = vertices.detach().to(torch.float32).clone(memory_format=torch.contiguous_format)
        self.faces = faces.detach().to(self.vertices.device, torch.int64)
        self.normals = smooth_normals(self.vertices, self.faces)
        self._indices = self.faces.to(torch.int32).reshape(-1).contiguous()
        self._mesh = wp.Mesh(
            as_array(self.vertices, wp.vec3), as_array(self._indices), support_winding_number=True
        )

    @torch.no_grad()
    def closest(self, points: Tensor, max_distance: float = 10.0) -> Closest:
        """Return the nearest surface point of each of `points` (N, 3), metres; carries no gradient."""
        points = points.detach().to(torch.float32).contiguous()
        face = points.new_empty(len(points), dtype=torch.int64)
        bary = torch.empty_like(points)
        distance = points.new_empty(len(points))
        inputs = [
            self._mesh.id,
            Rows(points, wp.vec3),
            float(max_distance),
            Rows(face),
            Rows(bary, wp.vec3),
            Rows(distance),
        ]
        launch(_closest, len(points), inputs, on=points)
        return Closest(face, bary, distance)

    @torch.no_grad()
    def inside(self, points: Tensor, max_distance: float = 10.0) -> Tensor:
        """Return (N,) bool: inside by winding number; points farther than `max_distance` count as outside."""
        points = points.detach().to(torch.float32).contiguous()
        inside = points.new_empty(len(points), dtype=torch.bool)
        inputs = [
            self._mesh.id,
            Rows(points, wp.vec3),
            float(max_distance),
            WINDING_ACCURACY,
            WINDING_INSIDE,
            Rows(inside),
        ]
        launch(_inside, len(points), inputs, on=points)
        return inside

    def interpolate(self, closest: Closest, values: Tensor) -> Tensor:
        """Interpolate per-vertex `values` (V, C) at closest points: (N, C), differentiable in `values`."""
        corners = self.faces[closest.face.clamp_min(0)]
        return nn.functional.embedding_bag(corners, values, per_sample_weights=closest.bary, mode="sum")


def outer_faces(body: BodyModel) -> Tensor:
    """Return the faces (F, 3) that can be seen from somewhere outside the neutral body; found once a body.

    Linings of mouth and eye sockets and the backs of the eyes go, so that closest points are what one sees;
    the openings that they leave are closed by the winding number.
    """
    known = _OUTER_FACES.get(body.digest)
    if known is None:
        known = _OUTER_FACES[body.digest] = _seen_faces(body).cpu()
    return known.to(body.faces.device)


_OUTER_FACES: dict[str, Tensor] = {}


def _seen_faces(body: BodyModel) -> Tensor:
    faces = body.faces
    if "mouth" in body.region_names:
        lining = body.regions == body.region_names.index("mouth")
        faces = faces[~lining[faces].all(1)]
    corners = body.template[faces].to(torch.float32)
    normals = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = torch.nn.functional.normalize(normals, dim=1)
    rays = MeshRays(body.template, faces)
    start = corners.mean(1) + VISIBILITY_START * normals
    seen = torch.zeros(len(faces), dtype=torch.bool, device=faces.device)
    for direction in _directions(VISIBILITY_RAYS).to(faces.device):
        towards = torch.where((normals @ direction > 0.05)[:, None], direction, -direction)
        facing = (normals * towards).sum(1) > 0.05
        hit, _, _ = rays.cast(start, towards)
        seen |= facing & (hit < 0)
    return faces[seen]


def _directions(count: int) -> Tensor:
    """Return (count, 3) unit vectors spread evenly over half a sphere (its other half are their opposites)."""
    index = torch.arange(count, dtype=torch.float32) + 0.5
    height = index / count
    angle = index * (math.pi * (1 + 5**0.5))
    ring = torch.sqrt(1 - height * height)
    return torch.stack([ring * torch.cos(angle), ring * torch.sin(angle), height], dim=1)


def smooth_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Return (V, 3) unit outward normals: area-weighted means of the faces around each vertex."""
    corners = vertices[faces]
    area = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    summed = torch.zeros_like(vertices)
    for corner in range(3):
        summed.index_add_(0, faces[:, corner], area)
    return torch.nn.functional.normalize(summed, dim=1, eps=1e-20)
