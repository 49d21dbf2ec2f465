"""Shading: images have the right colours, and gradients agree with finite differences of the image."""

import math

import pytest
import torch

from avatar_core.errors import BodyError
from avatar_core.rendering.cameras import orbit_cameras
from avatar_core.rendering.lights import Lights, random_camera_lights, studio_lights
from avatar_core.rendering.mesh_renderer import find_visible, render_mesh, sample_texture
from avatar_core.rendering.rasterizer import MeshRays

QUAD = torch.tensor([[-1.0, -1.0, 0.0], [1.0, -1.0, 0.0], [1.0, 1.0, 0.0], [-1.0, 1.0, 0.0]])
QUAD_FACES = torch.tensor([[0, 1, 2], [0, 2, 3]])
QUAD_UVS = torch.tensor([[0.0, 1.0], [1.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
DOUBLE = torch.float64


def front(size=16, distance=6.0, fov_y=0.25):
    return orbit_cameras(0.0, 0.0, distance, [0.0, 0.0, 0.0], fov_y, size)


def double_scene(soup, size=12):
    """The soup in double precision with colours, light and background, and weights that make one number of it."""
    generator = torch.Generator().manual_seed(5)
    vertices, faces = soup
    cameras = orbit_cameras(torch.tensor([0.4, 2.5]), 0.2, 2.0, [0.0, 0.0, 0.0], 0.7, size).to(dtype=DOUBLE)
    scene = {
        "lights": random_camera_lights(generator, cameras, spread=0.6),
        "background": torch.rand(2, 3, size, size, generator=generator, dtype=DOUBLE),
        "vertex_colors": torch.rand(60, 3, generator=generator, dtype=DOUBLE),
    }
    weights = torch.randn(2, 3, size, size, generator=generator, dtype=DOUBLE)
    return vertices.to(DOUBLE), faces, cameras, scene, weights


def directional_difference(function, point, direction, step=1e-6):
    """Central difference; the points ask for gradients, so that a kept raster's weights are recomputed for them."""
    ahead, behind = ((point + sign * step * direction).requires_grad_() for sign in (1, -1))
    return (function(ahead) - function(behind)) / (2 * step)


def assert_gradient(function, point, seed=0, rtol=1e-5):
    """The gradient of a scalar function agrees with central differences along three random directions."""
    leaf = point.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(function(leaf), leaf)
    assert gradient.abs().sum() > 0
    generator = torch.Generator().manual_seed(seed)
    for _ in range(3):
        direction = torch.randn(point.shape, generator=generator, dtype=DOUBLE)
        expected = directional_difference(function, point, direction)
        assert (gradient * direction).sum().item() == pytest.approx(expected.item(), rel=rtol, abs=1e-7)


def test_an_unlit_quad_shows_its_colours_and_the_background_around_it() -> None:
    cameras = front(fov_y=0.5)
    background = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    colors = torch.tensor([0.2, 0.5, 0.7]).expand(4, 3)
    shown = render_mesh(
        QUAD, QUAD_FACES, cameras, vertex_colors=colors, lights=None, background=background, antialias=False
    )
    covered = shown.mask.expand(-1, 3, -1, -1) == 1
    assert 0 < covered.float().mean() < 1
    torch.testing.assert_close(shown.image[~covered], background[~covered])
    torch.testing.assert_close(
        shown.image.permute(0, 2, 3, 1)[shown.mask[:, 0] == 1], colors[:1].expand(int(shown.mask.sum()), 3)
    )
    torch.testing.assert_close(shown.normals[0, :, 8, 8], torch.tensor([0.0, 0.0, 1.0]))
    assert shown.depth[0, 0, 8, 8] == pytest.approx(6.0, abs=1e-2)


def test_interpolation_is_perspective_correct() -> None:
    """A quad that leans away shows the colour of the point that is hit, not a mean in the image."""
    tilt = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.28, -0.96], [0.0, 0.96, 0.28]])
    vertices = QUAD @ tilt.T
    colors = (QUAD + 1) / 2
    cameras = orbit_cameras(0.0, 0.0, 2.5, [0.0, 0.0, 0.0], 0.5, 24)
    shown = render_mesh(vertices, QUAD_FACES, cameras, vertex_colors=colors, lights=None, antialias=False)
    origins, directions = cameras.rays()
    hit = shown.mask[:, 0] == 1
    points = (origins + shown.depth[:, 0, :, :, None] * directions)[hit] @ tilt
    torch.testing.assert_close(shown.image.permute(0, 2, 3, 1)[hit], (points + 1) / 2, atol=2e-5, rtol=0)


def test_lambert_shading_follows_the_angle_of_the_light() -> None:
    angle = 0.7
    lights = Lights(
        torch.tensor([[math.sin(angle), 0.0, math.cos(angle)]]), torch.tensor([0.1]), torch.tensor([0.8])
    )
    colors = torch.full((4, 3), 0.5)
    shown = render_mesh(QUAD, QUAD_FACES, front(), vertex_colors=colors, lights=lights)
    assert shown.image[0, 0, 8, 8] == pytest.approx(0.5 * (0.1 + 0.8 * math.cos(angle)), abs=1e-3)


def test_the_side_that_is_seen_is_the_side_that_is_lit() -> None:
    behind = orbit_cameras(math.pi, 0.0, 6.0, [0.0, 0.0, 0.0], 0.25, 16)
    shown = render_mesh(QUAD, QUAD_FACES, behind, lights=studio_lights(behind))
    ahead = render_mesh(QUAD, QUAD_FACES, front(), lights=studio_lights(front()))
    torch.testing.assert_close(shown.image.mean(), ahead.image.mean(), atol=1e-3, rtol=0)
    assert shown.normals[0, 2, 8, 8] == pytest.approx(-1, abs=1e-5)


def test_a_texture_lies_on_the_quad_upright_and_bilinear() -> None:
    texture = torch.rand(8, 8, 3, generator=torch.Generator().manual_seed(1))
    size = 32
    cameras = orbit_cameras(0.0, 0.0, 100.0, [0.0, 0.0, 0.0], 2 * math.atan(0.01), size)
    shown = render_mesh(
        QUAD,
        QUAD_FACES,
        cameras,
        texture=texture,
        uvs=QUAD_UVS,
        face_uvs=QUAD_FACES,
        lights=None,
        antialias=False,
    )
    expected = torch.nn.functional.interpolate(
        texture.permute(2, 0, 1)[None], size=(size, size), mode="bilinear"
    )
    torch.testing.assert_close(shown.image, expected, atol=2e-3, rtol=0)


def test_texture_samples_at_texel_centres_are_the_texels() -> None:
    texture = torch.rand(3, 5, 2, generator=torch.Generator().manual_seed(1))
    rows, columns = torch.meshgrid(torch.arange(3), torch.arange(5), indexing="ij")
    centres = torch.stack([(columns + 0.5) / 5, (rows + 0.5) / 3], dim=-1).reshape(-1, 2)
    torch.testing.assert_close(sample_texture(texture, centres), texture.reshape(-1, 2), atol=1e-6, rtol=0)


def test_an_empty_view_is_the_background_and_carries_no_gradient() -> None:
    away = orbit_cameras(0.0, 0.0, 6.0, [50.0, 0.0, 0.0], 0.25, 8)
    background = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    vertices = QUAD.clone().requires_grad_()
    shown = render_mesh(vertices, QUAD_FACES, away, lights=studio_lights(away), background=background)
    assert torch.equal(shown.image, background)
    assert not torch.cat([shown.mask, shown.depth, shown.normals], dim=1).any()
    (gradient,) = torch.autograd.grad(shown.image.sum() + (vertices * 0).sum(), vertices)
    assert not gradient.any()


def test_a_kept_raster_and_kept_rays_change_nothing(sphere) -> None:
    vertices, faces = sphere()
    cameras = orbit_cameras(torch.tensor([0.0, 1.0]), 0.1, 2.0, [0.0, 0.0, 0.0], 0.8, 32)
    lights = studio_lights(cameras)
    plain = render_mesh(vertices, faces, cameras, lights=lights)
    again = render_mesh(vertices, faces, cameras, lights=lights, raster=plain.raster)
    refitted = render_mesh(vertices, faces, cameras, lights=lights, rays=MeshRays(vertices * 0.7, faces))
    assert torch.equal(plain.image, again.image)
    torch.testing.assert_close(plain.image, refitted.image, atol=1e-3, rtol=0)
    sets = render_mesh(vertices.expand(2, -1, -1), faces, cameras, lights=lights)
    torch.testing.assert_close(plain.image, sets.image, atol=1e-3, rtol=0)


def test_the_same_call_gives_the_same_bits_with_gradients(sphere) -> None:
    vertices, faces = sphere()
    cameras = orbit_cameras(torch.tensor([0.0, 1.0]), 0.1, 2.0, [0.0, 0.0, 0.0], 0.8, 32)
    runs = []
    for _ in range(2):
        leaf = vertices.clone().requires_grad_()
        shown = render_mesh(leaf, faces, cameras, lights=studio_lights(cameras))
        (gradient,) = torch.autograd.grad(shown.image.square().sum(), leaf)
        runs.append((shown.image, gradient))
    assert torch.equal(runs[0][0], runs[1][0])
    assert torch.equal(runs[0][1], runs[1][1])


def test_supersampling_averages_a_finer_image(sphere) -> None:
    vertices, faces = sphere()
    cameras = orbit_cameras(0.5, 0.1, 2.0, [0.0, 0.0, 0.0], 0.8, 16)
    lights = studio_lights(cameras)
    fine = render_mesh(vertices, faces, cameras.resized(48, 48), lights=lights, antialias=False)
    coarse = render_mesh(vertices, faces, cameras, lights=lights, antialias=False, supersample=3)
    torch.testing.assert_close(coarse.image, torch.nn.functional.avg_pool2d(fine.image, 3))
    torch.testing.assert_close(coarse.mask, torch.nn.functional.avg_pool2d(fine.mask, 3))
    on_edge = (coarse.mask > 0) & (coarse.mask < 1)
    assert (coarse.depth[on_edge] > 1).all()
    lengths = coarse.normals.norm(dim=1, keepdim=True)
    torch.testing.assert_close(lengths[coarse.mask > 0], torch.ones(int((coarse.mask > 0).sum())))


@pytest.mark.parametrize("name", ["vertex_colors", "background"])
def test_gradients_of_colours_match_finite_differences(soup, name) -> None:
    vertices, faces, cameras, scene, weights = double_scene(soup)

    def loss(values):
        return (render_mesh(vertices, faces, cameras, **{**scene, name: values}).image * weights).sum()

    assert_gradient(loss, scene[name])


@pytest.mark.parametrize("name", ["direction", "ambient", "diffuse"])
def test_gradients_of_lights_match_finite_differences(soup, name) -> None:
    vertices, faces, cameras, scene, weights = double_scene(soup)
    lights = scene.pop("lights")

    def loss(values):
        given = {field: getattr(lights, field) for field in ("direction", "ambient", "diffuse")}
        changed = Lights(**{**given, name: values})
        return (render_mesh(vertices, faces, cameras, lights=changed, **scene).image * weights).sum()

    assert_gradient(loss, getattr(lights, name))


def test_gradients_of_a_texture_and_its_uvs_match_finite_differences(soup) -> None:
    vertices, faces, cameras, scene, weights = double_scene(soup)
    del scene["vertex_colors"]
    generator = torch.Generator().manual_seed(8)
    texture = torch.rand(6, 7, 3, generator=generator, dtype=DOUBLE)
    uvs = torch.rand(60, 2, generator=generator, dtype=DOUBLE)

    def loss(image, coordinates):
        shown = render_mesh(vertices, faces, cameras, texture=image, uvs=coordinates, face_uvs=faces, **scene)
        return (shown.image * weights).sum()

    assert_gradient(lambda values: loss(values, uvs), texture)
    assert_gradient(lambda values: loss(texture, values), uvs)


def test_gradients_of_given_normals_match_finite_differences(soup) -> None:
    vertices, faces, cameras, scene, weights = double_scene(soup)
    normals = torch.randn(60, 3, generator=torch.Generator().manual_seed(2), dtype=DOUBLE)

    def loss(values):
        return (render_mesh(vertices, faces, cameras, normals=values, **scene).image * weights).sum()

    assert_gradient(loss, normals)


@pytest.mark.parametrize("antialias", [False, True])
def test_gradients_of_positions_match_finite_differences_where_visibility_stays(soup, antialias) -> None:
    """Interior colours, shading by the moving normals and (antialiased) the blend at silhouettes."""
    vertices, faces, cameras, scene, weights = double_scene(soup)
    raster = find_visible(vertices, faces, cameras, antialias=antialias)
    if antialias:
        assert len(raster.crossings) > 20

    def loss(values):
        shown = render_mesh(values, faces, cameras, raster=raster, antialias=antialias, **scene)
        return (shown.image * weights).sum() + shown.depth.sum() + shown.mask.sum()

    assert_gradient(loss, vertices, rtol=1e-4)


def test_gradients_of_camera_positions_match_finite_differences(soup) -> None:
    vertices, faces, cameras, scene, weights = double_scene(soup)
    raster = find_visible(vertices, faces, cameras)

    def loss(eye):
        moved = type(cameras)(eye, cameras.target, cameras.up, cameras.fov_y, cameras.height, cameras.width)
        image = render_mesh(vertices, faces, moved, raster=raster, **scene).image
        return (image * weights).sum()

    assert_gradient(loss, cameras.eye, rtol=1e-4)


def test_float32_and_float64_show_the_same_image(soup) -> None:
    vertices, faces, cameras, scene, _ = double_scene(soup, size=24)
    single = {name: value.to(dtype=torch.float32) for name, value in scene.items()}
    double_image = render_mesh(vertices, faces, cameras, **scene).image
    image = render_mesh(vertices.float(), faces, cameras.to(dtype=torch.float32), **single).image
    assert image.dtype == torch.float32
    torch.testing.assert_close(image, double_image.float(), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vertex_colors": torch.ones(3, 3)}, "3 vertex colours for 4 vertices"),
        ({"texture": torch.ones(4, 4, 3)}, "needs uvs"),
        (
            {"lights": studio_lights(orbit_cameras([0.0, 1.0], 0.0, 2.0, [0.0, 0.0, 0.0], 0.5, 8))},
            "2 lights for 1",
        ),
        ({"supersample": 0}, "supersample"),
        ({"raster": find_visible(QUAD, QUAD_FACES, front(8))}, "the raster has shape"),
    ],
)
def test_arguments_that_do_not_fit_are_named(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        render_mesh(QUAD, QUAD_FACES, front(), **{"lights": None, **options})


def test_vertices_that_are_not_finite_are_refused() -> None:
    with pytest.raises(BodyError, match="not finite"):
        render_mesh(QUAD * math.inf, QUAD_FACES, front(), lights=None)


def test_paint_in_space_recolours_what_is_seen() -> None:
    texture = torch.full((4, 4, 3), 0.5)

    def paint(points, albedo):
        assert points.shape == albedo.shape
        return albedo * (points[:, :1] > 0)

    shown = render_mesh(
        QUAD, QUAD_FACES, front(), lights=None, texture=texture, uvs=QUAD_UVS, face_uvs=QUAD_FACES, recolor=paint
    )
    assert (shown.image[0, :, :, :8] == 0).all()
    torch.testing.assert_close(shown.image[0, :, :, 8:], torch.full((3, 16, 8), 0.5))


def test_gradients_reach_paint_in_space() -> None:
    strength = torch.tensor(0.3, requires_grad=True)
    shown = render_mesh(QUAD, QUAD_FACES, front(), lights=None, recolor=lambda points, albedo: albedo * strength)
    shown.image.mean().backward()
    assert float(strength.grad) == pytest.approx(1.0, abs=1e-4)
