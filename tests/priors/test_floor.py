import numpy as np
import pytest

from avatar_core.priors.captured_motion import REST_JOINTS
from avatar_core.priors.floor import STEEPEST, floor_rise

FPS = 30


def walk(way: np.ndarray, slope: np.ndarray, step: int = 15, noise: float = 0.0) -> np.ndarray:
    """Joints (T, 22, 3) of a body that slides along `way` (T, 2) over a sloping floor, with feet that step in turn."""
    joints = REST_JOINTS + np.stack([way[:, 0], 0 * way[:, 0], way[:, 1]], axis=1)[:, None]
    phases = np.arange(len(way)) // step
    for side, feet in enumerate(((7, 10), (8, 11))):
        for phase in range(phases[-1] + 1):
            frames = phases == phase
            if phase % 2 == side:  # stands where it was put down
                joints[np.ix_(frames, feet)] = joints[np.flatnonzero(frames)[0]][list(feet)]
            else:
                lift = 0.1 * np.sin(np.pi * np.linspace(0, 1, frames.sum()))
                joints[np.ix_(frames, feet, [1])] += lift[:, None, None]
    joints[..., 1] += joints[..., [0, 2]] @ slope + noise * np.random.default_rng(1).normal(size=(len(way), 1))
    return joints


STRAIGHT = np.stack([np.zeros(150), np.linspace(0, 5, 150)], axis=1)
ROUND = 1.5 * np.stack([np.cos(np.linspace(0, 6, 150)), np.sin(np.linspace(0, 6, 150))], axis=1)


@pytest.mark.parametrize("way", [STRAIGHT, ROUND], ids=["straight", "round"])
@pytest.mark.parametrize("slope", [(0.0, 0.02), (0.015, -0.02), (0.0, 0.0)])
def test_a_tilted_floor_is_found_along_the_way(way, slope):
    joints = walk(way, np.array(slope), noise=0.002)
    expected = (joints[:, 0, [0, 2]] - joints[0, 0, [0, 2]]) @ np.array(slope)
    if way is STRAIGHT:  # what lies across the way shows no slope, and needs none
        expected = (way - way[0]) @ np.array([0, slope[1]])
    np.testing.assert_allclose(floor_rise(joints, FPS), expected, atol=0.012)


def test_a_hill_is_meant():
    assert not floor_rise(walk(STRAIGHT, np.array([0, 2 * STEEPEST])), FPS).any()


def test_who_stays_in_place_shows_no_slope():
    assert not floor_rise(walk(STRAIGHT / 20, np.array([0, 0.03])), FPS).any()


def test_who_never_stands_shows_none_either():
    flying = REST_JOINTS + np.stack([np.zeros(60), np.linspace(0, 1, 60), np.linspace(0, 60, 60)], axis=1)[:, None]
    assert not floor_rise(flying, FPS).any()
    assert floor_rise(flying[:1], FPS).shape == (1,)
