import pytest
import torch

from avatar_core.bodies import load_body
from avatar_core.errors import ArtifactError
from avatar_core.fields import AvatarField, BodySurface, FieldConfig, outer_faces
from avatar_core.stages.body_chart import ARMS, TRUNK, BodyChart
from avatar_core.stages.outfit import Outfit, Worn, memberships, thicknesses
from avatar_core.stages.outfit_paint import PaintedSurface
from avatar_core.stages.wearables import CUT_BORDER, INDEX, WEARABLES, Coverage, coverage_of

OUTFIT = Outfit((Worn("skin", "fair"), Worn("trousers", "blue"), Worn("t-shirt", "red")))
REGIONS = tuple(WEARABLES[index].name for index, _ in OUTFIT.layers())


@pytest.fixture(scope="module")
def body():
    torch.set_num_threads(1)
    return load_body()


@pytest.fixture(scope="module")
def surface(body):
    return BodySurface(body.shape(body.neutral_shape).vertices, outer_faces(body))


@pytest.fixture(scope="module")
def field(body, surface):
    field = AvatarField(surface, FieldConfig(sdf_cell=0.03))
    layers = OUTFIT.layers()
    colors = torch.tensor([rgb for _, rgb in layers])
    field.dress(memberships(Coverage(body), layers), colors, thicknesses(layers))
    return field


@pytest.fixture(scope="module")
def painted(field, body):
    return PaintedSurface(field, body, REGIONS)


@pytest.fixture(scope="module")
def dense(body, surface):
    """A chart of sixteen points inside every outer face, with their positions on the neutral body."""
    steps = torch.tensor([(a, b, 5 - a - b) for a in range(1, 4) for b in range(1, 5 - a)], dtype=torch.float32) / 5
    weights = steps.repeat(len(surface.faces), 1)
    corners = surface.faces.repeat_interleave(len(steps), 0)
    points = (surface.vertices[corners] * weights[..., None]).sum(1)
    return BodyChart.of(body).at(corners.numpy(), weights.numpy()), points


def on_body(surface, *, height: float, steps: int) -> torch.Tensor:
    """Points (N, 3) down the front of the body's left half around a height."""
    rows = torch.linspace(height + 0.05, height - 0.05, steps)
    start = torch.stack([torch.full_like(rows, 0.06), rows, torch.full_like(rows, 0.3)], 1)
    closest = surface.closest(start)
    return surface.interpolate(closest, surface.vertices)


def test_the_painted_surface_has_the_fields_shape_and_colours(painted, field, surface):
    points = surface.vertices[::50] + 0.002 * surface.normals[::50]
    assert torch.equal(painted.sdf(points), field.sdf(points))
    assert torch.equal(painted.bounds[0], field.bounds[0])
    differences = (painted.color(points) - field.color(points)).abs().amax(1)
    assert float((differences < 0.02).float().mean()) > 0.9


def test_borders_are_sharper_than_the_bodys_vertices(painted, surface):
    points = on_body(surface, height=0.99, steps=400)
    red = painted.color(points)[:, 0]
    assert float(red.amax()) > 0.8
    assert float(red.amin()) < 0.15
    between = ((red > 0.15) & (red < 0.8)).sum() * (0.1 / 400)
    assert float(between) < 0.006  # metres


def test_nothing_shows_through_where_a_garment_crosses_from_trunk_to_limb(dense):
    chart, _ = dense
    both = (chart.region(*TRUNK) > -0.02) & (chart.region(*ARMS) > -0.02) & (chart.height < 0.9)
    shares = coverage_of(chart, [INDEX["t-shirt"], INDEX["bodysuit"]], CUT_BORDER)[both]
    assert both.sum() > 100
    assert float(shares.amin()) > 0.99


def test_everything_covers_some_point_in_full(dense):
    chart, _ = dense
    for index, wearable in enumerate(WEARABLES):
        share = coverage_of(chart, [index], CUT_BORDER)
        assert float(share.amax()) > 0.99, wearable.name


def test_eyes_look_alike_but_for_the_light(dense):
    chart, points = dense
    names = ["eyes", "irises", "pupils", "lashes", "glints"]
    left, right = (
        coverage_of(chart, [INDEX[name] for name in names], CUT_BORDER)[torch.from_numpy(side)].sum(0)
        for side in (chart.x > 0, chart.x < 0)
    )
    torch.testing.assert_close(left[:4], right[:4], rtol=0.15, atol=2.0)
    glint = coverage_of(chart, [INDEX["glints"]], CUT_BORDER)[:, 0] > 0.5
    pupil = coverage_of(chart, [INDEX["pupils"]], CUT_BORDER)[:, 0] > 0.5
    for side in (-1, 1):
        here = points[:, 0] * side > 0
        assert float(points[glint & here, 0].mean()) > float(points[pupil & here, 0].mean())


def test_an_outfit_that_is_not_the_fields_is_refused(field, body):
    with pytest.raises(ArtifactError, match="run texturing again"):
        PaintedSurface(field, body, (*REGIONS, "belt"))
    with pytest.raises(ArtifactError, match="moon boots"):
        PaintedSurface(field, body, (*REGIONS[:-1], "moon boots"))
