import pytest
import torch

from avatar_core.errors import ConfigError
from avatar_core.fields.hash_encoding import HashEncoding
from avatar_core.fields.hash_layout import HashConfig, hash_layout
from avatar_core.fields.hash_reference import encode_reference
from avatar_core.seeds import torch_generator

LOWER, UPPER = (-0.5, 0.0, -0.3), (0.5, 1.8, 0.4)
# The first levels are dense, the last two hashed.
CONFIG = HashConfig(levels=4, coarsest_cell=0.3, finest_cell=0.05, log2_table_size=10)


def random_points(count: int, *, margin: float = 0.0, seed: int = 3) -> torch.Tensor:
    lower, upper = torch.tensor(LOWER) - margin, torch.tensor(UPPER) + margin
    return lower + torch.rand(count, 3, generator=torch_generator(seed)) * (upper - lower)


@pytest.fixture
def encoding() -> HashEncoding:
    encoding = HashEncoding(CONFIG, LOWER, UPPER)
    with torch.no_grad():
        encoding.table.normal_(generator=torch_generator(5))
    return encoding


def reference(encoding: HashEncoding, points: torch.Tensor) -> torch.Tensor:
    return encode_reference(points, encoding.table, encoding.level_weights, encoding.layout)


def test_the_layout_under_test_has_dense_and_hashed_levels(encoding):
    assert set(encoding.layout.dense) == {True, False}


def test_values_equal_the_reference_inside_and_outside_the_box(encoding):
    points = random_points(500, margin=0.2)
    torch.testing.assert_close(encoding(points), reference(encoding, points), atol=2e-6, rtol=1e-5)


def test_corners_of_the_box_are_inside(encoding):
    points = torch.tensor([LOWER, UPPER])
    torch.testing.assert_close(encoding(points), reference(encoding, points), atol=2e-6, rtol=1e-5)


def test_gradients_equal_the_reference(encoding):
    points = random_points(400, margin=0.1).requires_grad_()
    weights = torch.randn(400, encoding.width, generator=torch_generator(7))
    ours = torch.autograd.grad((encoding(points) * weights).sum(), [points, encoding.table])
    theirs = torch.autograd.grad((reference(encoding, points) * weights).sum(), [points, encoding.table])
    torch.testing.assert_close(ours[0], theirs[0], atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(ours[1], theirs[1], atol=1e-4, rtol=1e-4)


def test_gradient_in_the_points_equals_finite_differences(encoding):
    # A step far smaller than any cell, at points that it does not carry over a cell's wall.
    step = 1e-3
    points = random_points(300)
    cells = torch.tensor(encoding.layout.cells)
    inside_cell = ((points - torch.tensor(LOWER))[:, :, None] / cells) % 1.0
    safe = ((inside_cell > 0.05) & (inside_cell < 0.95)).all(2).all(1)
    points = points[safe].requires_grad_()
    assert len(points) > 30
    (gradient,) = torch.autograd.grad(encoding(points).sum(), [points])
    for axis in range(3):
        offset = torch.zeros(3)
        offset[axis] = step
        ahead, behind = (encoding(points.detach() + sign * offset).sum(1) for sign in (1, -1))
        torch.testing.assert_close(gradient[:, axis], (ahead - behind) / (2 * step), atol=0.05, rtol=0.02)


def test_gradient_in_the_table_equals_finite_differences(encoding):
    points = random_points(50)
    (gradient,) = torch.autograd.grad(encoding(points).square().sum(), [encoding.table])
    for row in gradient.abs().sum(1).topk(5).indices.tolist():
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                encoding.table[row, 0] += sign * 1e-2
                values.append(float(encoding(points).square().sum()))
                encoding.table[row, 0] -= sign * 1e-2
        assert float(gradient[row, 0]) == pytest.approx((values[0] - values[1]) / 2e-2, rel=0.02, abs=0.02)


def test_levels_fade_in(encoding):
    points = random_points(20)
    full = encoding(points).detach()
    encoding.set_active_levels(1.5)
    faded = encoding(points).detach()
    torch.testing.assert_close(faded[:, :2], full[:, :2])
    torch.testing.assert_close(faded[:, 2:4], 0.5 * full[:, 2:4])
    assert not faded[:, 4:].any()


def test_inactive_levels_get_no_gradient(encoding):
    encoding.set_active_levels(2)
    (gradient,) = torch.autograd.grad(encoding(random_points(100)).sum(), [encoding.table])
    start = encoding.layout.offsets[2]
    assert gradient[:start].any()
    assert not gradient[start:].any()


def test_the_backward_pass_is_bit_reproducible(encoding):
    points = random_points(5000)
    first, second = (torch.autograd.grad(encoding(points).sum(), [encoding.table])[0] for _ in range(2))
    assert torch.equal(first, second)


def test_no_points_give_no_features(encoding):
    features = encoding(torch.empty(0, 3))
    assert features.shape == (0, encoding.width)
    (gradient,) = torch.autograd.grad(features.sum(), [encoding.table])
    assert not gradient.any()


def test_an_empty_box_is_refused():
    with pytest.raises(ConfigError, match="empty"):
        hash_layout(CONFIG, (0.0, 0.0, 0.0), (1.0, 0.0, 1.0))


def test_cells_that_grow_are_refused():
    with pytest.raises(ConfigError, match="finest_cell"):
        hash_layout(HashConfig(coarsest_cell=0.1, finest_cell=0.2), LOWER, UPPER)


def test_cores_share_the_work_and_change_no_bit():
    encoding = HashEncoding(CONFIG, LOWER, UPPER, torch_generator(0, "table"))
    points = random_points(9000).requires_grad_(True)
    weights = torch.rand(9000, encoding.width, generator=torch_generator(2, "weights"))
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            features = encoding(points)
            gradients = torch.autograd.grad((features * weights).sum(), [encoding.table, points])
            found.append((features.detach(), *gradients))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(found[0], other))
