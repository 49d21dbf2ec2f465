import numpy as np
import pytest
import torch

from avatar_core.export.lens import Lens, MagnifiedSurface
from avatar_core.export.surface import distance_grid


def corners(grid) -> torch.Tensor:
    index = np.stack(np.unravel_index(np.arange(grid.values.size), grid.values.shape), axis=-1)
    return torch.from_numpy(grid.origin + index * grid.voxel).float()


def test_distances_are_exact_at_every_cell_that_the_surface_crosses(capsule_man):
    grid = distance_grid(capsule_man, 0.02)
    exact = capsule_man.sdf(corners(grid)).reshape(grid.values.shape).numpy()
    near = np.abs(exact) < 0.02
    assert near.sum() > 1000
    np.testing.assert_allclose(grid.values[near], exact[near], atol=1e-6)


def test_the_sign_is_right_everywhere(capsule_man):
    grid = distance_grid(capsule_man, 0.02)
    exact = capsule_man.sdf(corners(grid)).reshape(grid.values.shape).numpy()
    assert ((grid.values < 0) == (exact < 0)).all()


def test_most_of_space_is_never_asked(capsule_man):
    grid = distance_grid(capsule_man, 0.008)
    assert grid.evaluations < 0.15 * grid.values.size


def test_a_surface_that_leaves_its_bounds_is_closed_there():
    class Slab:
        bounds = (torch.tensor([-1.0, -1.0, -1.0]), torch.tensor([1.0, 1.0, 1.0]))

        def sdf(self, points):
            return points[:, 1].abs() - 0.2

    values = distance_grid(Slab(), 0.1).values
    for axis in range(3):
        sides = np.moveaxis(values, axis, 0)
        assert (sides[0] > 0).all()
        assert (sides[-1] > 0).all()


@pytest.mark.parametrize("power", [1.0, 2.0, 3.5])
def test_a_lens_is_undone_by_its_inverse_and_never_shrinks(power):
    lens = Lens((0.1, 1.5, 0.0), 0.3, power)
    points = torch.rand(500, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2
    moved = lens.enlarge(points)
    torch.testing.assert_close(lens.reduce(moved), points)
    nudged = points + 1e-4 * torch.nn.functional.normalize(points.roll(1, 0) - points, dim=1)
    stretch = (lens.enlarge(nudged) - moved).norm(dim=1) / (nudged - points).norm(dim=1)
    assert float(stretch.min()) > 1 - 1e-3
    inside = (points - points.new_tensor(lens.center)).norm(dim=1) < 0.29
    torch.testing.assert_close(stretch[inside], torch.full_like(stretch[inside], power))


def test_a_magnified_surface_has_its_bounds_around_it(capsule_man):
    seen = MagnifiedSurface(capsule_man, Lens((0.0, 1.64, 0.0), 0.15, 2.0))
    low, high = seen.bounds
    on_top = seen.lens.enlarge(torch.tensor([[0.0, 1.76, 0.0]]))
    assert float(seen.sdf(on_top).abs()) < 1e-5
    assert bool((on_top > low).all() and (on_top < high).all())
