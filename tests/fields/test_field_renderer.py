import pytest
import torch

from avatar_core.fields.field_renderer import render_field
from avatar_core.fields.shell import shell_of, stratified_depths
from avatar_core.rendering.cameras import orbit_cameras
from avatar_core.rendering.lights import studio_lights
from avatar_core.rendering.rasterizer import MeshRays
from avatar_core.seeds import torch_generator

CENTRE = torch.tensor([0.1, 0.5, -0.2])
SHARP = torch.tensor(800.0)


@pytest.fixture
def cameras():
    return orbit_cameras([0.0, 2.0], [0.1, 0.0], [1.5, 1.5], CENTRE, [0.8, 0.8], 24)


def render(field, cameras, **options):
    background = torch.full((len(cameras), 3, cameras.height, cameras.width), 0.25)
    return render_field(field, shell_of(field), cameras, studio_lights(cameras), background, SHARP, **options)


def test_rays_that_hit_the_body_are_kept_and_reach_it(ball, ball_field, cameras):
    rays = shell_of(ball_field).rays(cameras, ball_field.dressed_sdf)
    face, _, depth = MeshRays(ball.vertices, ball.faces).cast(*cameras.rays())
    hits = (face.reshape(-1) >= 0).nonzero().squeeze(1)
    assert torch.equal(rays.pixel[rays.on_body], hits)
    on_body = depth.reshape(-1)[hits]
    assert bool((rays.near[rays.on_body] < on_body).all())
    assert bool((rays.far[rays.on_body] > on_body).all())


def test_rays_that_pass_far_by_are_dropped(ball_field, cameras):
    rays = shell_of(ball_field).rays(cameras, ball_field.dressed_sdf)
    along = ((CENTRE - rays.origins) * rays.directions).sum(1, keepdim=True)
    miss = (rays.origins + along * rays.directions - CENTRE).norm(dim=1) - 0.3
    assert float(miss.amax()) < 2 * ball_field.config.outward
    assert float(miss.amax()) > 0.5 * ball_field.config.outward


def test_depths_rise_inside_their_stretch(ball_field, cameras):
    rays = shell_of(ball_field).rays(cameras, ball_field.dressed_sdf)
    for generator in (None, torch_generator(1)):
        depths = stratified_depths(rays, 6, generator)
        assert bool((depths.diff(dim=1) > 0).all())
        assert bool(((depths[:, 0] >= rays.near) & (depths[:, -1] <= rays.far)).all())


def test_an_untouched_field_looks_like_its_mesh(ball, ball_field, cameras):
    views = render(ball_field, cameras, intervals=12)
    face, _, _ = MeshRays(ball.vertices, ball.faces).cast(*cameras.rays())
    changed = (views.image - 0.25).abs().amax(1) > 0.02
    covered = face >= 0
    assert bool(changed[covered].all())
    assert float(changed[~covered].float().mean()) < 0.1


def test_surface_points_lie_on_the_surface(ball_field, cameras):
    views = render(ball_field, cameras, intervals=12)
    on_body = views.rays.on_body[views.shaded]
    off = ((views.points - CENTRE).norm(dim=1) - 0.3).abs()[on_body]
    assert float(off.mean()) < 2e-3


def test_the_background_shows_where_nothing_is(ball_field, cameras):
    image = render(ball_field, cameras).image
    torch.testing.assert_close(image[:, :, 0, 0], torch.full((2, 3), 0.25))


def test_everything_learned_gets_a_gradient(learned_field, cameras):
    views = render(learned_field, cameras, generator=torch_generator(2))
    (views.image.square().sum() + views.clay.square().sum()).backward()
    for name, parameter in learned_field.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


@pytest.mark.parametrize("name", ["color_head.2.bias", "base.logits"])
def test_colour_gradients_equal_finite_differences(learned_field, cameras, name):
    parameter = dict(learned_field.named_parameters())[name]
    (gradient,) = torch.autograd.grad(render(learned_field, cameras).image.square().sum(), [parameter])
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            parameter.view(-1)[1] += sign * 1e-2
            values.append(float(render(learned_field, cameras).image.double().square().sum()))
            parameter.view(-1)[1] -= sign * 1e-2
    assert float(gradient.view(-1)[1]) == pytest.approx((values[0] - values[1]) / 2e-2, rel=0.02)


def test_growing_brightens_the_silhouette(ball_field, cameras):
    """On a dark background a lit body that grows covers more: the opacity's gradient has the right sign."""
    cameras = cameras.resized(96, 96)
    background = torch.zeros(len(cameras), 3, cameras.height, cameras.width)
    views = render_field(
        ball_field, shell_of(ball_field), cameras, studio_lights(cameras), background, SHARP, intervals=12
    )
    bias = ball_field.geometry_head[2].bias
    (gradient,) = torch.autograd.grad(views.image.sum(), [bias])
    assert float(gradient) < -10


def test_rendering_is_reproducible_and_jittered_by_its_generator(learned_field, cameras):
    first, again, other = (
        render(learned_field, cameras, generator=torch_generator(seed)).image for seed in (3, 3, 4)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_shading_all_rays_shows_the_same(learned_field, cameras):
    """What shows nothing counts for nothing: values and gradients are those of the rays that were picked out."""
    sparse, whole = (render(learned_field, cameras, sparse=sparse) for sparse in (True, False))
    assert len(sparse.points) < len(whole.points) == len(whole.rays)
    assert torch.equal(sparse.shaded, whole.shown.nonzero().squeeze(1))
    torch.testing.assert_close(sparse.image, whole.image)
    parameters = list(learned_field.parameters())
    losses = [(views.image.square().sum() + (views.residual.square() * views.shown).sum()) for views in (sparse, whole)]
    for one, other in zip(*(torch.autograd.grad(loss, parameters, allow_unused=True) for loss in losses)):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
