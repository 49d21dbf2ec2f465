"""Smooth vertex normals, differentiable in the positions."""

import torch
from torch import Tensor

from avatar_core.rendering.kernels import sum_face_normals


def face_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Return (..., F, 3) normals of the faces of vertices (..., V, 3), as long as twice a face's area."""
    corners = vertices.index_select(-2, faces.reshape(-1)).unflatten(-2, (-1, 3))
    first = corners[..., 0, :]
    return torch.linalg.cross(corners[..., 1, :] - first, corners[..., 2, :] - first)


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Return unit normals (..., V, 3): the area-weighted mean over the faces about each vertex.

    A vertex without a face, or whose faces cancel, gets the zero vector. Where no gradient is asked for, a kernel
    does the sums.

    Args:
        vertices: (V, 3) or (B, V, 3) metres.
        faces: (F, 3) int64 vertex indices, counter-clockwise seen from outside.
    """
    if vertices.dtype == torch.float32 and not (torch.is_grad_enabled() and vertices.requires_grad):
        batch = vertices if vertices.ndim == 3 else vertices[None]
        total = sum_face_normals(batch, faces).reshape(vertices.shape)
    else:
        total = sum_face_normals_reference(vertices, faces)
    return torch.nn.functional.normalize(total, dim=-1, eps=1e-20)


def sum_face_normals_reference(vertices: Tensor, faces: Tensor) -> Tensor:
    """Return (..., V, 3) sums of the faces' normals about each vertex, differentiable in the vertices."""
    weighted = face_normals(vertices, faces)
    total = torch.zeros_like(vertices)
    for corner in range(3):
        total = total.index_add(-2, faces[:, corner], weighted)
    return total
