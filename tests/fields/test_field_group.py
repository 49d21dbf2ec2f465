"""Several fields evaluated together give each one's own values and gradients."""

import pytest
import torch
import trimesh

from avatar_core.fields import AvatarField, BodySurface
from avatar_core.fields.field_group import FieldGroup
from avatar_core.fields.field_inquiry import Asked
from avatar_core.fields.field_renderer import rendering
from avatar_core.fields.shell import shell_of
from avatar_core.rendering.cameras import orbit_cameras
from avatar_core.rendering.lights import studio_lights
from avatar_core.seeds import torch_generator

CENTRES = torch.tensor([[0.1, 0.5, -0.2], [0.0, 0.9, 0.1], [0.3, 0.2, 0.0]])
RADII = (0.3, 0.45, 0.2)
COUNTS = (130, 0, 57)


def learned_ball(place: int, config, device="cpu") -> AvatarField:
    """A field that has learned something, over a ball of its own size and place."""
    mesh = trimesh.creation.icosphere(subdivisions=3, radius=RADII[place])
    vertices = torch.tensor(mesh.vertices, dtype=torch.float32) + CENTRES[place]
    field = AvatarField(BodySurface(vertices.to(device), torch.tensor(mesh.faces).to(device)), config)
    generator = torch_generator(place, "learned")
    with torch.no_grad():
        for parameter in field.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator).to(device))
    field.color_encoding.set_active_levels(1.5 + 0.5 * place)
    field.geometry_encoding.set_active_levels(2.0 - 0.4 * place)
    return field


def near(place: int, count: int, seed: int) -> torch.Tensor:
    draws = torch.randn(count, 3, generator=torch_generator(seed, str(place)))
    return CENTRES[place] + (RADII[place] + 0.01) * torch.nn.functional.normalize(draws, dim=1)


@pytest.fixture
def fields(ball_field):
    return [learned_ball(place, ball_field.config) for place in range(3)]


@pytest.fixture
def asked():
    """Points of each field, of different numbers; the last asks for no colour at all."""
    residual = [near(place, count, 1) for place, count in enumerate(COUNTS)]
    color = [near(place, count, 2) for place, count in enumerate(reversed(COUNTS))]
    return [Asked(residual[0], color[0]), Asked(None, color[1]), Asked(residual[2], None)]


def gradients(fields, answers):
    """Gradients of all parameters that a number made of the answers depends on."""
    generator = torch_generator(9)
    total = sum(
        (part * torch.randn(part.shape, generator=generator).to(part)).sum()
        for answer in answers
        for part in (answer.residual, answer.color)
    )
    names = [name for name, _ in fields[0].named_parameters() if name != "base.logits"]
    wanted = [dict(field.named_parameters())[name] for field in fields for name in names]
    return torch.autograd.grad(total, wanted, allow_unused=True, materialize_grads=True)


def assert_alike(together, alone, tolerance=1e-5):
    for mine, own in zip(together, alone, strict=True):
        torch.testing.assert_close(mine.cpu(), own.cpu(), atol=tolerance, rtol=1e-4)


def test_the_fields_under_test_have_tables_of_different_layouts(fields):
    assert len({len(field.color_encoding.table) for field in fields}) > 1


def test_values_are_each_fields_own(fields, asked):
    for answer, field, question in zip(FieldGroup(fields).learned(asked), fields, asked, strict=True):
        own = field.learned(question)
        assert_alike([answer.residual, answer.color], [own.residual, own.color], 1e-6)


def test_gradients_are_each_fields_own(fields, asked):
    together = gradients(fields, FieldGroup(fields).learned(asked))
    alone = gradients(fields, [field.learned(one) for field, one in zip(fields, asked)])
    assert_alike(together, alone)
    assert sum(bool(gradient.any()) for gradient in together) > 6


def test_a_question_about_nothing_has_an_answer_of_nothing(fields):
    answers = FieldGroup(fields).learned([Asked()] * 3)
    assert [(answer.residual.shape, answer.color.shape) for answer in answers] == [((0,), (0, 3))] * 3


def test_fields_of_different_configurations_are_not_grouped(fields, ball_field):
    wider = learned_ball(0, ball_field.config.model_copy(update={"hidden": 12}))
    with pytest.raises(ValueError, match="different configurations"):
        FieldGroup([fields[0], wider])


def test_views_rendered_together_are_those_rendered_alone(fields):
    def render(place):
        cameras = orbit_cameras([0.0, 2.0], [0.1, 0.0], [1.5, 1.5], CENTRES[place], [0.8, 0.8], 20)
        background = torch.full((2, 3, 20, 20), 0.25)
        return rendering(
            fields[place],
            shell_of(fields[place]),
            cameras,
            studio_lights(cameras),
            background,
            torch.tensor(800.0),
            intervals=6,
            clay=True,
            generator=torch_generator(place),
        )

    together = FieldGroup(fields).answer([render(place) for place in range(3)])
    for place, views in enumerate(together):
        alone = fields[place].answer(render(place))
        assert torch.equal(views.rays.pixel, alone.rays.pixel)
        torch.testing.assert_close(views.image, alone.image, atol=1e-4, rtol=0)
        torch.testing.assert_close(views.clay, alone.clay, atol=1e-3, rtol=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_learns_what_a_cpu_learns(fields, asked, ball_field):
    there = [learned_ball(place, ball_field.config, "cuda") for place in range(3)]
    moved = [
        Asked(*(None if part is None else part.cuda() for part in (one.residual, one.color))) for one in asked
    ]
    answers, own = FieldGroup(there).learned(moved), FieldGroup(fields).learned(asked)
    for mine, other in zip(answers, own, strict=True):
        assert_alike([mine.residual, mine.color], [other.residual, other.color], 1e-4)
    # Sums in another order: on a GPU, additions into the tables are atomic.
    assert_alike(gradients(there, answers), gradients(fields, own), 1e-3)
