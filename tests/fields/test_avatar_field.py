import pytest
import torch

from avatar_core.errors import ArtifactError, BodyError
from avatar_core.fields import AvatarField
from avatar_core.fields.base_layer import NEUTRAL
from avatar_core.seeds import torch_generator

CENTRE, RADIUS = torch.tensor([0.1, 0.5, -0.2]), 0.3


def near_points(count: int = 300, spread: float = 0.03) -> torch.Tensor:
    generator = torch_generator(4)
    direction = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=1)
    return CENTRE + (RADIUS + spread * torch.randn(count, 1, generator=generator)) * direction


def test_a_new_field_is_exactly_the_body(ball_field):
    points = near_points()
    assert not ball_field.residual(points).any()
    expected = (points - CENTRE).norm(dim=1) - RADIUS
    torch.testing.assert_close(ball_field.sdf(points), expected, atol=2e-3, rtol=0)
    torch.testing.assert_close(ball_field.sdf_sampled(points), expected, atol=2e-3, rtol=0)


def test_a_new_field_has_one_neutral_colour(ball_field):
    torch.testing.assert_close(ball_field.color(near_points()), torch.tensor(NEUTRAL).expand(300, 3))


def test_the_residual_stays_in_its_limits(learned_field):
    with torch.no_grad():
        learned_field.geometry_head[2].bias.fill_(-100.0)
        assert float(learned_field.residual(near_points()).amin()) >= -learned_field.config.outward - 1e-7
        learned_field.geometry_head[2].bias.fill_(100.0)
        assert float(learned_field.residual(near_points()).amax()) <= learned_field.config.inward + 1e-7


def test_colours_stay_in_range(learned_field):
    colors = learned_field.color(near_points()).detach()
    assert float(colors.amin()) >= 0
    assert float(colors.amax()) <= 1
    assert float(colors.std(0).mean()) > 0.01


def test_the_gradient_is_that_of_the_distance(learned_field):
    points = near_points(200, 0.005)
    gradient, _ = learned_field.gradient(points)
    step = 0.004
    for axis in range(3):
        offset = torch.zeros(3)
        offset[axis] = step
        difference = (learned_field.sdf(points + offset) - learned_field.sdf(points - offset)) / (2 * step)
        assert float((gradient[:, axis] - difference).detach().abs().median()) < 0.05


def test_the_gradient_teaches_the_geometry(learned_field):
    gradient, laplacian = learned_field.gradient(near_points(50))
    (gradient.square().sum() + laplacian.square().sum()).backward()
    assert learned_field.geometry_encoding.table.grad.any()
    assert learned_field.geometry_head[2].weight.grad.any()


def test_state_and_field_are_the_same_field(body, body_field):
    with torch.no_grad():
        body_field.color_head[2].bias.add_(0.5)
    state = body_field.state(with_body_sdf=True)
    loaded = AvatarField.from_state(body, body.neutral_shape, state)
    points = body.template[::50] + 0.01
    assert torch.equal(loaded.sdf(points), body_field.sdf(points))
    assert torch.equal(loaded.sdf_sampled(points), body_field.sdf_sampled(points))
    assert torch.equal(loaded.color(points), body_field.color(points))
    with torch.no_grad():
        body_field.color_head[2].bias.sub_(0.5)


def test_a_state_without_the_grid_samples_it_again(body, body_field):
    loaded = AvatarField.from_state(body, body.neutral_shape, body_field.state())
    assert torch.equal(loaded.body_sdf.values, body_field.body_sdf.values)


def test_a_state_of_another_body_is_refused(body, ball_field):
    with pytest.raises(ArtifactError, match="does not fit this body"):
        AvatarField.from_state(body, body.neutral_shape, ball_field.state())


def test_a_state_without_config_is_refused(body):
    with pytest.raises(ArtifactError, match="config"):
        AvatarField.from_state(body, body.neutral_shape, {})


def dress_halves(field: AvatarField, thickness: float) -> None:
    upper = (field.surface.vertices[:, 1] > CENTRE[1]).float()
    field.dress(
        torch.stack([upper, 1 - upper], dim=1),
        torch.tensor([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]]),
        torch.tensor([thickness, 0.0]),
    )


def test_regions_have_their_colours_and_clean_borders(ball_field):
    dress_halves(ball_field, 0.0)
    points = near_points(2000)
    colors, above = ball_field.color(points).detach(), points[:, 1] - CENTRE[1]
    edge = 0.03
    torch.testing.assert_close(
        colors[above > edge],
        torch.tensor([0.8, 0.1, 0.1]).expand(int((above > edge).sum()), 3),
        atol=0.01,
        rtol=0,
    )
    torch.testing.assert_close(
        colors[above < -edge],
        torch.tensor([0.1, 0.1, 0.8]).expand(int((above < -edge).sum()), 3),
        atol=0.01,
        rtol=0,
    )


def test_what_is_worn_stands_off_the_body(ball_field):
    dress_halves(ball_field, 0.02)
    poles = CENTRE + torch.tensor([[0.0, RADIUS, 0.0], [0.0, -RADIUS, 0.0]])
    torch.testing.assert_close(ball_field.sdf(poles), torch.tensor([-0.02, 0.0]), atol=2e-3, rtol=0)
    torch.testing.assert_close(ball_field.sdf_sampled(poles), torch.tensor([-0.02, 0.0]), atol=3e-3, rtol=0)


def test_regions_survive_the_state(ball, ball_field):
    dress_halves(ball_field, 0.02)
    other = AvatarField(ball, ball_field.config)
    other.load(ball_field.state())
    points = near_points()
    assert torch.equal(other.color(points), ball_field.color(points))
    assert torch.equal(other.sdf(points), ball_field.sdf(points))


def test_regions_that_do_not_fit_are_refused(ball_field):
    with pytest.raises(BodyError, match="do not fit"):
        ball_field.dress(torch.ones(3, 1), torch.zeros(1, 3), torch.zeros(1))


def test_a_region_takes_of_what_is_learned_as_much_as_it_is_free_to(ball_field):
    left = (ball_field.surface.vertices[:, 0] > ball_field.surface.vertices[:, 0].mean()).float()
    member = torch.stack([left, 1 - left], dim=1)
    colors = torch.tensor([[0.7, 0.5, 0.4], [0.7, 0.5, 0.4]])
    ball_field.dress(member, colors, torch.zeros(2), freedom=torch.tensor([[1.0, 1.0], [0.5, 0.0]]))
    points = ball_field.surface.vertices[left.argmax()][None], ball_field.surface.vertices[left.argmin()][None]
    before = [torch.logit(ball_field.color(point)) for point in points]
    with torch.no_grad():
        ball_field.base.logits += torch.tensor([0.3, 0.0, 0.0])
        ball_field.color_head[-1].bias += torch.tensor([0.0, 0.0, 0.6])
    free, held = (torch.logit(ball_field.color(point)) - was for point, was in zip(points, before))
    change = ball_field.color_change(points[0]).detach()
    torch.testing.assert_close(free, change + torch.tensor([[0.3, 0.0, 0.0]]), atol=1e-3, rtol=0)
    lighter = 0.5 * (change + torch.tensor([[0.3, 0.0, 0.0]])).mean(1, keepdim=True)
    torch.testing.assert_close(held, lighter.expand(1, 3), atol=1e-3, rtol=0)
