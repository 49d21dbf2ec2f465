import pytest
import torch

from avatar_core.fields.neus import Sharpness, composite
from avatar_core.fields.neus_reference import composite_reference, interval_opacities
from avatar_core.seeds import torch_generator

SHARP = torch.tensor(500.0)


def plane_rays(crossings: torch.Tensor, samples: int = 24) -> tuple[torch.Tensor, torch.Tensor]:
    depths = torch.linspace(0.0, 0.1, samples + 1).expand(len(crossings), -1)
    return crossings[:, None] - depths, depths


def test_opacity_is_equation_13():
    distances = 0.01 * torch.randn(20, 5, generator=torch_generator(1), dtype=torch.float64)
    sharp = torch.tensor(300.0, dtype=torch.float64)
    cumulative = torch.sigmoid(sharp * distances)
    expected = ((cumulative[:, :-1] - cumulative[:, 1:]) / cumulative[:, :-1]).clamp(0, 1)
    torch.testing.assert_close(interval_opacities(distances, sharp), expected)


def test_opacity_is_finite_deep_inside_and_far_outside():
    distances = torch.tensor([[10.0, 9.0, -9.0, -10.0]])
    opacity = interval_opacities(distances, SHARP)
    assert torch.isfinite(opacity).all()
    assert opacity[0, 1] == 1


def test_a_plane_is_opaque_and_at_its_depth():
    crossings = torch.tensor([0.03, 0.051, 0.072])
    seen = composite(*plane_rays(crossings), SHARP)
    torch.testing.assert_close(seen.opacity, torch.ones(3), atol=1e-3, rtol=0)
    torch.testing.assert_close(seen.depth, crossings, atol=1e-3, rtol=0)


def test_a_ray_that_misses_is_clear():
    depths = torch.linspace(0.0, 0.1, 9)[None]
    seen = composite(torch.full((1, 9), 0.05), depths, SHARP)
    assert float(seen.opacity) < 1e-4


def test_the_first_of_two_surfaces_is_seen():
    depths = torch.linspace(0.0, 0.2, 81)[None]
    distances = torch.minimum((depths - 0.05).abs(), (depths - 0.15).abs()) - 0.01
    seen = composite(distances, depths, torch.tensor(2000.0))
    assert float(seen.depth) == pytest.approx(0.04, abs=2e-3)


def test_weights_are_a_part_of_the_ray():
    distances = 0.02 * torch.randn(50, 9, generator=torch_generator(3))
    depths = torch.linspace(0.0, 0.1, 9).expand(50, -1)
    seen = composite(distances, depths, SHARP)
    assert float(seen.weights.amin()) >= 0
    assert float(seen.opacity.amax()) <= 1 + 1e-5


def test_opacity_gradients_equal_finite_differences():
    distances = 0.004 * torch.randn(4, 6, generator=torch_generator(5), dtype=torch.float64)
    sharp = torch.tensor(300.0, dtype=torch.float64, requires_grad=True)
    depths = torch.linspace(0.0, 0.05, 6, dtype=torch.float64).expand(4, -1)
    assert torch.autograd.gradcheck(
        lambda d, s: composite_reference(d, depths, s).opacity, (distances.requires_grad_(), sharp), eps=1e-7, atol=1e-3
    )


def test_sharpness_starts_where_it_is_told_and_learns():
    sharpness = Sharpness(600.0)
    assert float(sharpness().detach()) == pytest.approx(600.0, rel=1e-5)
    sharpness().backward()
    assert float(sharpness.log_scale.grad) > 0


def some_rays(count: int = 300, ends: int = 9) -> tuple[torch.Tensor, torch.Tensor]:
    """Rays that enter, leave, graze and miss a surface."""
    generator = torch_generator(11)
    depths = torch.rand(count, ends, generator=generator).cumsum(1) * 0.02
    start = 0.05 * torch.rand(count, 1, generator=generator) - 0.005
    slope = 1.6 * torch.rand(count, 1, generator=generator) - 0.6
    return start - slope * depths + 0.002 * torch.randn(count, ends, generator=generator), depths


def test_the_kernel_equals_the_reference():
    ours, theirs = (function(*some_rays(), SHARP) for function in (composite, composite_reference))
    for name in ("weights", "opacity"):
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name), atol=2e-6, rtol=1e-4)
    seen = theirs.opacity > 0.01
    torch.testing.assert_close(ours.depth[seen], theirs.depth[seen], atol=1e-5, rtol=1e-4)
    assert 0.2 < float((theirs.opacity > 0.5).float().mean()) < 0.9


def test_the_kernels_gradients_equal_the_references():
    distances, depths = some_rays()
    pulls = [torch.randn(300, 8, generator=torch_generator(12)), *torch.randn(2, 300, generator=torch_generator(13))]
    grads = []
    for function in (composite, composite_reference):
        inputs = distances.clone().requires_grad_(), SHARP.clone().requires_grad_()
        seen = function(inputs[0], depths, inputs[1])
        # Depths of rays that hardly see anything are a division of two small numbers.
        solid = (seen.opacity > 0.05).detach()
        loss = (seen.weights * pulls[0]).sum() + (seen.opacity * pulls[1]).sum()
        loss = loss + (seen.depth * pulls[2])[solid].sum()
        grads.append(torch.autograd.grad(loss, inputs))
    torch.testing.assert_close(grads[0][0], grads[1][0], atol=2e-2, rtol=1e-3)
    torch.testing.assert_close(grads[0][1], grads[1][1], atol=1e-5, rtol=1e-3)
    assert float(grads[1][0].abs().amax()) > 50


def test_no_ray_is_no_work():
    empty = torch.zeros(0, 9, requires_grad=True)
    seen = composite(empty, torch.zeros(0, 9), SHARP)
    assert seen.weights.shape == (0, 8)
    seen.opacity.sum().backward()
    assert empty.grad.shape == (0, 9)
