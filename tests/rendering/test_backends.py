"""What every backend promises: the same picture of the same scene, and gradients."""

import importlib

import pytest
import torch
import trimesh
from slow_rasterizer import rasterize_rgbad

from avatar_core.errors import ConfigError
from avatar_core.rendering.backends import mesh_renderer
from avatar_core.rendering.cameras import orbit_cameras
from avatar_core.rendering.lights import Lights, studio_lights
from avatar_core.rendering.neural_renderer_backend import NeuralRenderer

SQUARE = torch.tensor([[-1.0, -1.0, 0.0], [1.0, -1.0, 0.0], [1.0, 1.0, 0.0], [-1.0, 1.0, 0.0]])
FACES = torch.tensor([[0, 1, 2], [0, 2, 3]])
RED, GREEN, BLUE = torch.eye(3)


def installed(faces):
    """The backend of the real package; skips where that cannot be."""
    if not torch.cuda.is_available():
        pytest.skip("neural_renderer needs a CUDA device")
    try:
        importlib.import_module("neural_renderer")
    except Exception as error:
        pytest.skip(f"neural_renderer does not import here: {error}")
    return mesh_renderer("neural_renderer", faces.cuda())


BACKENDS = {
    "warp": lambda faces: mesh_renderer("warp", faces),
    "neural_renderer, rasterised slowly": lambda faces: NeuralRenderer(rasterize_rgbad, faces),
    "neural_renderer": installed,
}


@pytest.fixture(params=BACKENDS, ids=str)
def draw(request):
    """Return a function that draws vertices of given faces with one backend, on the device that this needs."""

    def run(vertices, faces, cameras, lights, colors, supersample=1):
        renderer = BACKENDS[request.param](faces)
        place = "cuda" if request.param == "neural_renderer" else "cpu"
        shown = renderer.render(
            vertices.to(place), cameras.to(place), lights=lights.to(place), colors=colors.to(place),
            supersample=supersample,
        )  # fmt: skip
        return shown.image.cpu(), shown.mask.cpu()

    return run


def front(size=32, azimuth=0.0, fov_y=0.5):
    return orbit_cameras(azimuth, 0.0, 6.0, [0.0, 0.0, 0.0], fov_y, size)


def flat(cameras):
    """Light that shows colours as they are."""
    ones = torch.ones(len(cameras))
    return Lights(direction=-cameras.axes()[:, 2], ambient=ones, diffuse=0 * ones)


def test_colours_are_where_they_belong(draw):
    corners = torch.stack([RED, GREEN, BLUE, torch.ones(3) * 0.5])  # lower left, lower right, upper right, upper left
    cameras = front()
    image, mask = draw(SQUARE, FACES, cameras, flat(cameras), corners)
    pixels, _ = cameras.project(0.94 * SQUARE)
    for (column, row), color in zip(pixels[0].long().tolist(), corners):
        assert mask[0, 0, row, column] == 1
        torch.testing.assert_close(image[0, :, row, column], color, atol=0.12, rtol=0)
    middle = image[0, :, 16, 16]  # on the diagonal between red and blue
    torch.testing.assert_close(middle, (RED + BLUE) / 2, atol=0.06, rtol=0)


def test_what_is_not_covered_is_white(draw):
    cameras = front(size=64, fov_y=0.9)
    image, mask = draw(SQUARE, FACES, cameras, flat(cameras), torch.zeros(4, 3))
    torch.testing.assert_close(image, (1 - mask).expand(-1, 3, -1, -1))
    share = (1 / (6 * torch.tan(torch.tensor(0.45)))) ** 2
    assert mask.mean().item() == pytest.approx(share.item(), abs=0.02)


def test_the_nearer_surface_hides_the_farther_one(draw):
    both = torch.cat([SQUARE, SQUARE + torch.tensor([0.0, 0.0, 1.0])])
    faces = torch.cat([FACES, FACES + 4])
    for azimuth, color in ((0.0, GREEN), (torch.pi, RED)):
        cameras = front(azimuth=azimuth)
        image, _ = draw(both, faces, cameras, flat(cameras), torch.stack([RED] * 4 + [GREEN] * 4))
        torch.testing.assert_close(image[0, :, 13, 13], color, atol=1e-3, rtol=0)


def test_both_sides_are_lit_from_where_the_light_is(draw):
    for azimuth in (0.0, torch.pi):
        cameras = front(azimuth=azimuth)
        towards = torch.nn.functional.normalize(torch.tensor([[0.6, 0.0, 0.8]]) @ torch.diag(torch.cos(
            torch.tensor([0.0, 0.0, azimuth]))), dim=-1)  # fmt: skip
        lights = Lights(direction=towards, ambient=torch.tensor([0.1]), diffuse=torch.tensor([0.9]))
        image, _ = draw(SQUARE, FACES, cameras, lights, torch.ones(4, 3))
        assert image[0, :, 13, 17].mean().item() == pytest.approx(0.1 + 0.9 * 0.8, abs=1e-3)


def test_each_camera_may_have_vertices_of_its_own(draw):
    cameras = front()[torch.tensor([0, 0])]
    sets = torch.stack([0.5 * SQUARE, SQUARE])
    _, together = draw(sets, FACES, cameras, flat(cameras), torch.zeros(4, 3))
    alone = torch.cat([draw(one, FACES, front(), flat(front()), torch.zeros(4, 3))[1] for one in sets])
    torch.testing.assert_close(together, alone)
    assert together[1].sum() > 3 * together[0].sum()


def test_samples_are_averaged(draw):
    cameras = front(size=16, azimuth=0.3)
    _, rough = draw(SQUARE, FACES, cameras, flat(cameras), torch.zeros(4, 3))
    _, fine = draw(SQUARE, FACES, cameras, flat(cameras), torch.zeros(4, 3), supersample=3)
    assert set(rough.unique().tolist()) == {0.0, 1.0}
    assert len(fine.unique()) > 3
    assert fine.mean().item() == pytest.approx(rough.mean().item(), abs=0.05)


def test_gradients_of_colours_are_exact(draw):
    cameras, lights = front(size=12), studio_lights(front(size=12))
    colors = torch.full((4, 3), 0.5)
    weights = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(1))

    def value(at):
        return (draw(SQUARE, FACES, cameras, lights, at)[0] * weights).sum()

    leaf = colors.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(value(leaf), leaf)
    ahead, behind = (value(colors + sign * 0.1 * RED).item() for sign in (1, -1))
    assert (gradient * RED).sum().item() == pytest.approx((ahead - behind) / 0.2, rel=1e-3)
    assert gradient.abs().min() > 0


@pytest.mark.parametrize("name", ["warp", "neural_renderer"])
def test_gradients_of_vertices_grow_the_outline(name):
    renderer, cameras = BACKENDS[name](FACES), front()
    place = "cuda" if name == "neural_renderer" else "cpu"
    size = torch.tensor(1.0, requires_grad=True)
    shown = renderer.render(
        (size * SQUARE).to(place), cameras.to(place), lights=flat(cameras).to(place),
        colors=torch.zeros(4, 3).to(place),
    )  # fmt: skip
    shown.image.sum().backward()  # a black square on white: a larger one is darker
    assert size.grad < 0


def test_a_rounded_thing_looks_the_same(draw):
    ball = trimesh.creation.icosphere(subdivisions=3)
    vertices = torch.from_numpy(ball.vertices * [0.5, 1.0, 0.4]).float()
    faces = torch.from_numpy(ball.faces).long()
    cameras = orbit_cameras(torch.tensor([0.4, 2.6]), 0.1, 6.0, [0.0, 0.1, 0.0], 0.5, 24)
    lights, colors = studio_lights(cameras), vertices.abs()
    image, mask = draw(vertices, faces, cameras, lights, colors, supersample=2)
    usual = mesh_renderer("warp", faces).render(vertices, cameras, lights=lights, colors=colors, supersample=2)
    assert 0.1 < mask.mean() < 0.5
    assert (mask - usual.mask).abs().mean() < 2e-3
    assert (image - usual.image).abs().mean() < 5e-3


def test_what_it_needs_is_said_where_it_is_missing():
    with pytest.raises(ConfigError, match=r"CUDA devices only, not on cpu; use `renderer: warp`"):
        mesh_renderer("neural_renderer", FACES)
    with pytest.raises(ConfigError, match="there is no 'nvdiffrast'; it is one of warp, neural_renderer"):
        mesh_renderer("nvdiffrast", FACES)


def test_pictures_that_are_not_square_are_refused():
    cameras = front(size=(16, 24))
    with pytest.raises(ValueError, match="square images, got 16 x 24"):
        NeuralRenderer(rasterize_rgbad, FACES).render(SQUARE, cameras, lights=flat(cameras), colors=torch.ones(4, 3))
