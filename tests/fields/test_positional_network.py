"""AvatarCLIP's large networks as an avatar's field: sizes, values, gradients, and the same interface as grids."""

import math

import pytest
import torch
from pydantic import ValidationError

from avatar_core.fields import AvatarField, BodySurface, FieldConfig, PositionalConfig
from avatar_core.fields.field_group import FieldGroup
from avatar_core.fields.field_inquiry import Asked
from avatar_core.fields.field_renderer import render_field
from avatar_core.fields.positional_network import PositionalNetwork, positional_encoding
from avatar_core.fields.shell import shell_of
from avatar_core.rendering.cameras import orbit_cameras
from avatar_core.rendering.lights import studio_lights
from avatar_core.seeds import torch_generator

TINY = PositionalConfig(octaves=2, sdf_width=24, sdf_layers=2, color_width=16, color_layers=2)
SMALL = FieldConfig(sdf_cell=0.02, kind="positional", positional=TINY)
CENTRE = (0.1, 0.5, -0.2)


def near_ball(count: int) -> torch.Tensor:
    """Points about the surface of the ball that fields are tested on."""
    draws = torch.randn(count, 3, generator=torch_generator(4, "near"))
    return torch.tensor(CENTRE) + 0.31 * torch.nn.functional.normalize(draws, dim=1)


def shaken(module: torch.nn.Module, seed: int = 1) -> None:
    """Let a module have learned something."""
    generator = torch_generator(seed, "shaken")
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))


@pytest.fixture
def untrained(ball: BodySurface) -> AvatarField:
    return AvatarField(ball, SMALL, torch_generator(0, "ball"))


@pytest.fixture
def trained(untrained: AvatarField) -> AvatarField:
    shaken(untrained)
    return untrained


def test_the_default_sizes_are_avatarclips():
    network = PositionalNetwork(PositionalConfig(), CENTRE, 0.035, torch_generator(0))
    linear = [*network.sdf_network.hidden, network.sdf_network.last, *network.color_network]
    assert [tuple(layer.weight.shape) for layer in linear] == [
        (256, 39), (256, 256), (256, 256), (217, 256), (257, 256), (256, 262), (256, 256), (3, 256),
    ]  # fmt: skip


def test_a_position_is_encoded_by_sines_and_cosines_of_doubled_frequencies():
    encoded = positional_encoding(torch.tensor([[0.5, -0.25, 1.0]]), 3)[0]
    assert encoded.shape == (3 + 6 * 3,)
    assert encoded[:3].tolist() == [0.5, -0.25, 1.0]
    assert encoded[3].item() == pytest.approx(math.sin(0.5))
    assert encoded[3 + 6 * 2 + 1].item() == pytest.approx(math.sin(-1.0))
    assert encoded[3 + 6 * 2 + 3 + 2].item() == pytest.approx(math.cos(4.0))


def test_values_are_those_of_plain_layers(trained):
    network, points = trained.network, near_ball(50)
    x = positional_encoding(points - trained.sdf_network.centre, TINY.octaves)
    hidden = x
    for layer in trained.sdf_network.hidden:
        direction, length = layer.parametrizations.weight.original1, layer.parametrizations.weight.original0
        weight = length * direction / direction.norm(dim=1, keepdim=True)
        before = hidden @ weight.T + layer.bias
        hidden = torch.log1p(torch.exp(-(100 * before).abs())) / 100 + before.clamp_min(0)
    last = trained.sdf_network.last
    distance = (torch.cat([hidden, x], 1) / 2**0.5) @ last.weight[0] + last.bias[0]
    torch.testing.assert_close(network.distance(points), distance, atol=1e-5, rtol=1e-4)


def test_the_field_starts_as_the_body_in_the_neutral_tone(untrained, ball_field):
    points = near_ball(200)
    assert not untrained.residual(points).any()
    assert not untrained.color_change(points).any()
    torch.testing.assert_close(untrained.sdf(points), ball_field.sdf(points))
    torch.testing.assert_close(untrained.color(points), ball_field.color(points))


def test_it_learns_from_the_start(untrained):
    points = near_ball(20)
    (untrained.residual(points).sum() + untrained.color_change(points).sum()).backward()
    for module in (untrained.sdf_network.last, untrained.color_network[-1]):
        assert module.parametrizations.weight.original0.grad.any()


def test_normals_agree_with_autograd(trained):
    with torch.no_grad():
        trained.sdf_network.last.parametrizations.weight.original0[0] = 20.0
    points = near_ball(60).requires_grad_()
    (exact,) = torch.autograd.grad(trained.residual(points).sum(), points)
    slope = trained.gradient(points.detach())[0] - AvatarField(trained.surface, SMALL).gradient(points.detach())[0]
    assert exact.norm(dim=1).mean() > 0.05
    assert (slope - exact).norm(dim=1).mean() < 0.03 * exact.norm(dim=1).mean()


def test_gradients_of_distance_and_colours_agree_with_finite_differences():
    network = PositionalNetwork(TINY, CENTRE, 0.035, torch_generator(0))
    for module in network.modules.values():
        module.double()
        shaken(module)
    parameters = [parameter for _, group in network.rates() for parameter in group]
    points = near_ball(3).double()
    values = [parameter.detach().clone() for parameter in parameters]

    def total(shift: float, directions: list[torch.Tensor]) -> torch.Tensor:
        with torch.no_grad():
            for parameter, value, direction in zip(parameters, values, directions):
                parameter.copy_(value + shift * direction)
        return network.color(points).square().sum() + network.distance(points).square().sum()

    generator = torch_generator(2, "direction")
    directions = [torch.randn(value.shape, generator=generator).double() for value in values]
    exact = torch.autograd.grad(total(0.0, directions), parameters)
    slope = sum((one * direction).sum() for one, direction in zip(exact, directions))
    step = 1e-6
    numeric = (total(step, directions) - total(-step, directions)) / (2 * step)
    assert numeric.item() == pytest.approx(slope.item(), rel=1e-4)


def test_colours_reach_the_distance_through_slope_and_features(trained):
    trained.color_change(near_ball(20)).sum().backward()
    assert trained.sdf_network.last.parametrizations.weight.original0.grad[0].any()
    assert trained.sdf_network.last.parametrizations.weight.original0.grad[1:].any()


def test_without_gradients_asked_for_none_are_kept(trained):
    with torch.no_grad():
        assert not trained.color(near_ball(5)).requires_grad
        assert not trained.sdf(near_ball(5)).requires_grad


def test_a_state_gives_the_same_field_again(trained, ball):
    state, points = trained.state(), near_ball(50)
    again = AvatarField(ball, FieldConfig.model_validate_json(bytes(state["config"].tolist())))
    again.load(state)
    torch.testing.assert_close(again.residual(points), trained.residual(points))
    torch.testing.assert_close(again.color(points), trained.color(points))


def test_fields_together_are_each_alone(ball):
    fields = [AvatarField(ball, SMALL, torch_generator(seed)) for seed in range(2)]
    for seed, field in enumerate(fields):
        shaken(field, seed)
    asked = [Asked(near_ball(9), near_ball(4)), Asked(None, near_ball(6))]
    for answer, field, question in zip(FieldGroup(fields).learned(asked), fields, asked):
        own = field.learned(question)
        torch.testing.assert_close(answer.residual, own.residual)
        torch.testing.assert_close(answer.color, own.color)


def test_it_renders_and_the_picture_teaches_both_networks(trained):
    cameras = orbit_cameras([0.3], [0.1], [1.5], torch.tensor(CENTRE), [0.7], 20)
    views = render_field(
        trained, shell_of(trained), cameras, studio_lights(cameras), torch.ones(1, 3, 20, 20), torch.tensor(200.0),
        generator=torch_generator(5),
    )  # fmt: skip
    views.image.square().mean().backward()
    for name, parameter in trained.named_parameters():
        if name.startswith(("sdf_network", "color_network")):
            assert torch.isfinite(parameter.grad).all(), name
            assert parameter.grad.any(), name


def test_settings_of_the_other_kind_are_left_out_when_written():
    assert {"kind", "positional"}.isdisjoint(FieldConfig().model_dump())
    assert {"geometry", "color", "hidden"}.isdisjoint(SMALL.model_dump())
    assert FieldConfig.model_validate_json(SMALL.model_dump_json()) == SMALL


def test_the_encoded_position_must_fit_into_the_width():
    with pytest.raises(ValidationError, match="39 of it"):
        PositionalConfig(sdf_width=32)
