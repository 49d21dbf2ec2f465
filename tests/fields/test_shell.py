"""The rays that can see the avatar: Warp's kernel against plain torch, and picking them out without waiting."""

from dataclasses import fields

import pytest
import torch

from avatar_core.fields.shell import ShellRays, shell_of
from avatar_core.fields.shell_reference import shell_rays_reference
from avatar_core.rendering.cameras import orbit_cameras

SKIRT = torch.tensor([[0.1, 0.5, 0.1, -0.2, 0.35, 0.33, 0.1, -0.2, 0.3, 0.3, 0.0, 1.0]])
LARGE_ENOUGH = 500
"""Rays that a comparison must be about."""


@pytest.fixture
def cameras():
    return orbit_cameras([0.0, 2.0, 4.0], [0.1, 0.0, -0.4], [1.5, 0.9, 2.5], [0.1, 0.4, -0.2], [0.8, 0.8, 0.8], 48)


@pytest.fixture(params=["ball", "skirt", "body"])
def field(request, ball_field):
    if request.param == "body":
        return request.getfixturevalue("body_field")
    if request.param == "skirt":
        vertices = len(ball_field.surface.vertices)
        bare = torch.stack([torch.ones(vertices), torch.zeros(vertices)], dim=1)
        colors = torch.tensor([[0.8, 0.6, 0.5], [0.1, 0.1, 0.9]])
        ball_field.dress(bare, colors, torch.tensor([0.0, 0.02]), SKIRT)
    return ball_field


def test_the_kernel_finds_the_rays_that_plain_torch_finds(field, cameras):
    shell, grid = shell_of(field), field.dressed_sdf
    found, expected = shell.rays(cameras, grid), shell_rays_reference(shell, cameras, grid)
    both = torch.isin(expected.pixel, found.pixel), torch.isin(found.pixel, expected.pixel)
    # A distance just at the limit falls on one side here and on the other there.
    assert all(float(known.float().mean()) > 0.998 for known in both)
    assert int(both[0].sum()) > LARGE_ENOUGH
    for name in ("pixel", "view", "on_body"):
        assert torch.equal(getattr(expected, name)[both[0]], getattr(found, name)[both[1]]), name
    for name in ("origins", "directions", "body_depth"):
        torch.testing.assert_close(getattr(expected, name)[both[0]], getattr(found, name)[both[1]])
    for name in ("near", "far"):
        off = (getattr(expected, name)[both[0]] - getattr(found, name)[both[1]]).abs()
        assert float((off < 1e-4).float().mean()) > 0.998, name


def test_what_was_glanced_at_can_be_picked_out_later(field, cameras):
    shell, grid = shell_of(field), field.dressed_sdf
    first = shell.look(cameras, grid)
    other = shell.look(cameras[:1], grid)
    for glance, now in ((first, shell.rays(cameras, grid)), (other, shell.rays(cameras[:1], grid))):
        later = glance.rays()
        for one in fields(ShellRays):
            assert torch.equal(getattr(later, one.name), getattr(now, one.name)), one.name
        assert torch.equal(later.pixel, glance.kept.nonzero().squeeze(1))


def test_jitter_moves_the_rays_right_and_down(ball_field, cameras):
    shell, grid = shell_of(ball_field), ball_field.dressed_sdf
    there = shell.look(cameras, grid).directions.view(3, 48, 48, 3)
    jitter = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.25, 0.5]])
    right, down, between = shell.look(cameras, grid, jitter).directions.view(3, 48, 48, 3)
    torch.testing.assert_close(right[:, :-1], there[0, :, 1:])
    torch.testing.assert_close(down[:-1], there[1, 1:])
    halfway = torch.lerp(there[2, :-1], there[2, 1:], 0.5)
    expected = torch.nn.functional.normalize(torch.lerp(halfway[:, :-1], halfway[:, 1:], 0.25), dim=-1)
    torch.testing.assert_close(between[:-1, :-1], expected, atol=1e-4, rtol=0)


def test_no_ray_is_no_trouble(ball_field):
    away = orbit_cameras([0.0], [0.0], [1.5], [50.0, 0.5, -0.2], [0.3], 8)
    rays = shell_of(ball_field).rays(away, ball_field.dressed_sdf)
    assert len(rays) == 0
    assert rays.origins.shape == (0, 3)
