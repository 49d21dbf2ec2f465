"""Cameras: the orbit's convention, rays and projection agree with each other."""

import math

import pytest
import torch

from avatar_core.rendering.cameras import cat_cameras, orbit_cameras

TARGET = [0.1, 0.9, -0.2]


def _grid(height: int, width: int) -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return torch.stack([columns, rows], dim=-1)


def test_azimuth_zero_is_in_front_and_a_quarter_turn_is_at_plus_x() -> None:
    cameras = orbit_cameras(torch.tensor([0.0, math.pi / 2]), 0.0, 2.0, [0.0, 1.0, 0.0], 0.8, 16)
    torch.testing.assert_close(
        cameras.eye, torch.tensor([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]), atol=1e-6, rtol=0
    )


def test_plus_x_appears_on_the_right_and_up_at_the_top_from_the_front() -> None:
    cameras = orbit_cameras(0.0, 0.0, 2.0, [0.0, 0.0, 0.0], 0.8, 64)
    pixels, depth = cameras.project(torch.tensor([[0.0, 0.0, 0.0], [0.3, 0.0, 0.0], [0.0, 0.3, 0.0]]))
    torch.testing.assert_close(pixels[0, 0], torch.tensor([32.0, 32.0]))
    assert pixels[0, 1, 0] > 33
    assert pixels[0, 2, 1] < 31
    torch.testing.assert_close(depth, torch.full((1, 3), 2.0))


def test_elevation_lifts_the_eye() -> None:
    cameras = orbit_cameras(0.0, 0.5, 2.0, TARGET, 0.8, 16)
    assert cameras.eye[0, 1] == pytest.approx(TARGET[1] + 2 * math.sin(0.5), abs=1e-6)


def test_points_on_a_ray_project_onto_its_pixel_centre() -> None:
    cameras = orbit_cameras(torch.tensor([0.3, -2.0, 3.0]), 0.2, 1.7, TARGET, 0.7, (20, 31))
    origins, directions = cameras.rays()
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones(3, 20, 31))
    pixels, _ = cameras.project((origins + 1.3 * directions).reshape(3, -1, 3))
    torch.testing.assert_close(
        pixels.reshape(3, 20, 31, 2), _grid(20, 31).expand(3, -1, -1, -1), atol=2e-4, rtol=0
    )


def test_clip_matrix_agrees_with_projection() -> None:
    cameras = orbit_cameras(torch.tensor([0.3, -2.0]), 0.2, 1.7, TARGET, 0.7, (20, 31))
    points = torch.randn(2, 40, 3, generator=torch.Generator().manual_seed(1)) * 0.3 + torch.tensor(TARGET)
    homogeneous = torch.cat([points, torch.ones(2, 40, 1)], dim=-1)
    clip = homogeneous @ cameras.world_to_clip().transpose(1, 2)
    ndc = clip[..., :3] / clip[..., 3:]
    pixels, depth = cameras.project(points)
    torch.testing.assert_close((ndc[..., 0] + 1) * 31 / 2, pixels[..., 0], atol=1e-3, rtol=0)
    torch.testing.assert_close((1 - ndc[..., 1]) * 20 / 2, pixels[..., 1], atol=1e-3, rtol=0)
    torch.testing.assert_close(clip[..., 3], depth)
    assert (ndc[..., 2].abs() < 1).all()


def test_batches_join_and_split() -> None:
    parts = [orbit_cameras(float(index), 0.0, 2.0, TARGET, 0.7, 8) for index in range(3)]
    joined = cat_cameras(parts)
    assert len(joined) == 3
    torch.testing.assert_close(joined[-1].eye, parts[2].eye)
    torch.testing.assert_close(joined[torch.tensor([2, 0])].eye, torch.cat([parts[2].eye, parts[0].eye]))
    with pytest.raises(ValueError, match="one image size"):
        cat_cameras([parts[0], parts[1].resized(9, 9)])


def test_shapes_that_do_not_fit_are_named() -> None:
    cameras = orbit_cameras(0.0, 0.0, 2.0, TARGET, 0.7, 8)
    with pytest.raises(ValueError, match="fov_y"):
        type(cameras)(cameras.eye, cameras.target, cameras.up, torch.ones(2), 8, 8)
