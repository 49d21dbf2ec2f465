"""Lights: Lambert's law, and lights that stay near the camera."""

import torch

from avatar_core.rendering.cameras import orbit_cameras
from avatar_core.rendering.lights import Lights, random_camera_lights, shade, studio_lights

CAMERAS = orbit_cameras(torch.linspace(0, 6, 200), 0.2, 2.0, [0.0, 0.9, 0.0], 0.7, 8)


def test_shade_is_ambient_behind_and_full_in_front() -> None:
    lights = Lights(torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([0.2]), torch.tensor([0.8]))
    normals = torch.tensor([[[0.0, 0.0, 1.0], [0.0, 0.6, 0.8], [0.0, 0.0, -1.0]]])
    albedo = torch.full((1, 3, 3), 0.5)
    expected = 0.5 * torch.tensor([1.0, 0.2 + 0.8 * 0.8, 0.2])
    torch.testing.assert_close(shade(albedo, normals, lights)[0, :, 1], expected)


def test_each_view_has_its_own_light() -> None:
    lights = Lights(torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]), torch.zeros(2), torch.ones(2))
    normals = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    shaded = shade(torch.ones(3, 1), normals, lights, torch.tensor([0, 1, 1]))
    assert shaded[:, 0].tolist() == [1.0, 0.0, 1.0]


def test_random_lights_lie_near_the_camera_with_little_ambient() -> None:
    lights = random_camera_lights(torch.Generator().manual_seed(0), CAMERAS)
    cosine = -(lights.direction * CAMERAS.axes()[:, 2]).sum(-1)
    torch.testing.assert_close(lights.direction.norm(dim=-1), torch.ones(200))
    assert cosine.mean() > 0.85
    assert cosine.std() > 0.02
    assert 0 <= lights.ambient.min() < 0.05 < 0.15 < lights.ambient.max() <= 0.2
    torch.testing.assert_close(lights.ambient + lights.diffuse, torch.ones(200))


def test_random_lights_come_from_the_generator_alone() -> None:
    first, second, other = (
        random_camera_lights(torch.Generator().manual_seed(s), CAMERAS) for s in (1, 1, 2)
    )
    assert torch.equal(first.direction, second.direction)
    assert not torch.equal(first.direction, other.direction)


def test_studio_light_comes_from_above_on_the_cameras_side() -> None:
    lights = studio_lights(CAMERAS)
    assert (lights.direction[:, 1] > 0.3).all()
    assert (-(lights.direction * CAMERAS.axes()[:, 2]).sum(-1) > 0.7).all()
