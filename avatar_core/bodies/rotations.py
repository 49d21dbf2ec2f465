"""Conversions between rotation representations, differentiable and safe at zero angle."""

import torch
from torch import Tensor
from torch.nn.functional import normalize


def axis_angle_to_matrix(axis_angle: Tensor) -> Tensor:
    """Rodrigues' formula: (..., 3) axis times angle in radians to (..., 3, 3) matrices."""
    squared = axis_angle.square().sum(-1)[..., None, None]
    small = squared < 1e-8
    safe = torch.where(small, torch.ones_like(squared), squared)
    angle = safe.sqrt()
    sine = torch.where(small, 1 - squared / 6, angle.sin() / angle)
    cosine = torch.where(small, 0.5 - squared / 24, (1 - angle.cos()) / safe)
    x, y, z = axis_angle.unbind(-1)
    zero = torch.zeros_like(x)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))
    identity = torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device)
    return identity + sine * skew + cosine * (skew @ skew)


def matrix_to_quaternion(matrix: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) to unit quaternions (..., 4) in x, y, z, w order with w >= 0.

    Of the four algebraic solutions the one with the largest divisor is taken (Shepperd 1978).
    """
    m00, m11, m22 = (matrix[..., i, i] for i in range(3))
    squares = torch.stack([1 + m00 - m11 - m22, 1 - m00 + m11 - m22, 1 - m00 - m11 + m22, 1 + m00 + m11 + m22], -1)
    xy, xz, yz = (matrix[..., i, j] + matrix[..., j, i] for i, j in ((0, 1), (0, 2), (1, 2)))
    wx, wy, wz = (matrix[..., i, j] - matrix[..., j, i] for i, j in ((2, 1), (0, 2), (1, 0)))
    candidates = torch.stack(
        [
            torch.stack([squares[..., 0], xy, xz, wx], -1),
            torch.stack([xy, squares[..., 1], yz, wy], -1),
            torch.stack([xz, yz, squares[..., 2], wz], -1),
            torch.stack([wx, wy, wz, squares[..., 3]], -1),
        ],
        dim=-2,
    )
    best = squares.argmax(-1)[..., None, None].expand(*squares.shape[:-1], 1, 4)
    quaternion = normalize(candidates.gather(-2, best).squeeze(-2), dim=-1)
    return torch.where(quaternion[..., 3:] < 0, -quaternion, quaternion)


def matrix_to_axis_angle(matrix: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) to axis-angle (..., 3) in radians, with angles from 0 to pi."""
    quaternion = matrix_to_quaternion(matrix)
    vector, real = quaternion[..., :3], quaternion[..., 3:]
    squared = vector.square().sum(-1, keepdim=True)
    small = squared < 1e-12
    length = torch.where(small, torch.ones_like(squared), squared).sqrt()
    angle = 2 * torch.atan2(length, real)
    return torch.where(small, 2 * vector, vector / length * angle)


def matrix_to_6d(matrix: Tensor) -> Tensor:
    """First two columns of (..., 3, 3) rotations as (..., 6): the continuous form of Zhou et al. 2019."""
    return torch.cat([matrix[..., :, 0], matrix[..., :, 1]], dim=-1)


def sixd_to_matrix(sixd: Tensor) -> Tensor:
    """Gram-Schmidt of two 3-vectors (..., 6) to rotations (..., 3, 3) (Zhou et al. 2019)."""
    first = normalize(sixd[..., :3], dim=-1, eps=1e-8)
    second = sixd[..., 3:]
    second = normalize(second - (first * second).sum(-1, keepdim=True) * first, dim=-1, eps=1e-8)
    return torch.stack([first, second, torch.linalg.cross(first, second)], dim=-1)


def geodesic_angle(first: Tensor, second: Tensor) -> Tensor:
    """Angle in radians between rotations (..., 3, 3) and (..., 3, 3), with finite gradients everywhere."""
    # |A - B|_F = 2 sqrt(2) sin(angle / 2): better conditioned near zero than the trace.
    chord = (first - second).square().sum((-2, -1)).clamp_min(1e-12).sqrt()
    return 2 * torch.asin((chord / 8**0.5).clamp(max=1 - 1e-6))


def rotation_between(source: Tensor, target: Tensor) -> Tensor:
    """Smallest rotation (..., 3, 3) that turns unit vectors `source` (..., 3) onto `target` (..., 3).

    Opposite vectors have no smallest rotation and are not supported.
    """
    axis = torch.linalg.cross(source, target)
    cosine = (source * target).sum(-1, keepdim=True)
    sine = axis.norm(dim=-1, keepdim=True)
    angle = torch.atan2(sine, cosine)
    return axis_angle_to_matrix(axis / sine.clamp_min(1e-9) * angle)
