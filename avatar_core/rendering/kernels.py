"""Warp kernels over all faces of a mesh, for the passes without gradients; their torch references lie beside them."""

# mypy: disable-error-code="valid-type, misc"
# Annotations of Warp kernels are values that Warp reads, not Python types.

import torch
import warp as wp
from torch import Tensor

from avatar_core.rendering.warp_runtime import torch_stream


@wp.kernel(enable_backward=False)
def _sum_face_normals(
    vertices: wp.array2d(dtype=wp.vec3), faces: wp.array2d(dtype=wp.int64), total: wp.array2d(dtype=wp.vec3)
):
    view, face = wp.tid()
    a = wp.int32(faces[face, 0])
    b = wp.int32(faces[face, 1])
    c = wp.int32(faces[face, 2])
    corner = vertices[view, a]
    normal = wp.cross(vertices[view, b] - corner, vertices[view, c] - corner)
    wp.atomic_add(total, view, a, normal)
    wp.atomic_add(total, view, b, normal)
    wp.atomic_add(total, view, c, normal)


@wp.kernel(enable_backward=False)
def _faces_towards(
    vertices: wp.array2d(dtype=wp.vec3),
    faces: wp.array2d(dtype=wp.int64),
    eyes: wp.array(dtype=wp.vec3),
    towards: wp.array2d(dtype=wp.bool),
):
    view, face = wp.tid()
    held = wp.min(view, vertices.shape[0] - 1)
    corner = vertices[held, wp.int32(faces[face, 0])]
    edge_1 = vertices[held, wp.int32(faces[face, 1])] - corner
    edge_2 = vertices[held, wp.int32(faces[face, 2])] - corner
    towards[view, face] = wp.dot(wp.cross(edge_1, edge_2), eyes[view] - corner) > 0.0


def sum_face_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Return (B, V, 3) float32 sums over the faces about each vertex of their normals, twice their areas long.

    Args:
        vertices: (B, V, 3) metres; no gradients.
        faces: (F, 3) int64 vertex indices.
    """
    points = _float32(vertices)
    total = torch.zeros_like(points)
    with torch_stream(points.device):
        wp.launch(
            _sum_face_normals,
            dim=(points.shape[0], faces.shape[0]),
            inputs=[_points(points), wp.from_torch(faces.contiguous()), _points(total)],
            device=str(points.device),
        )
    return total


def faces_towards(vertices: Tensor, faces: Tensor, eyes: Tensor) -> Tensor:
    """Return (B, F) bool, whether each eye is on the front side of each face (counter-clockwise seen from there).

    Args:
        vertices: (B, V, 3) or (1, V, 3) for all eyes, metres; no gradients.
        faces: (F, 3) int64 vertex indices.
        eyes: (B, 3) metres.
    """
    points = _float32(vertices)
    towards = torch.empty(len(eyes), faces.shape[0], dtype=torch.bool, device=points.device)
    with torch_stream(points.device):
        wp.launch(
            _faces_towards,
            dim=tuple(towards.shape),
            inputs=[
                _points(points),
                wp.from_torch(faces.contiguous()),
                wp.from_torch(_float32(eyes), dtype=wp.vec3),
                wp.from_torch(towards),
            ],
            device=str(points.device),
        )
    return towards


def faces_towards_reference(vertices: Tensor, faces: Tensor, eyes: Tensor) -> Tensor:
    """Return what `faces_towards` returns, from torch alone."""
    corners = vertices[:, faces]
    first = corners[:, :, 0]
    normals = torch.linalg.cross(corners[:, :, 1] - first, corners[:, :, 2] - first)
    return (normals * (eyes[:, None] - first)).sum(-1) > 0


def _float32(values: Tensor) -> Tensor:
    return values.detach().to(torch.float32).contiguous()


def _points(values: Tensor) -> wp.array:
    return wp.from_torch(values, dtype=wp.vec3)
