"""Kernels in pieces, side by side: the same bits, whatever the number of cores."""

import os
import subprocess
import sys

import pytest
import torch
import warp as wp

from avatar_core.rendering.warp_runtime import FIRST, LEAST_ROWS, Rows, Shared, launch, launch_side_by_side, stretches

COUNT = 3 * LEAST_ROWS + 17


@wp.kernel(enable_backward=False)
def _moved(
    points: wp.array(dtype=wp.vec3), offsets: wp.array(dtype=wp.vec3), first: int, moved: wp.array(dtype=wp.vec3)
):
    i = wp.tid()
    moved[i] = points[i] + float(first + i) * offsets[(first + i) % offsets.shape[0]]


@pytest.fixture
def cores():
    """Sets the number of cores that torch, and so kernels, may use."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def move(count: int) -> torch.Tensor:
    points = torch.arange(3.0 * count).reshape(count, 3)
    offsets = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.5, 0.0]])
    moved = torch.full_like(points, torch.nan)
    launch(_moved, count, [Rows(points, wp.vec3), Shared(offsets, wp.vec3), FIRST, Rows(moved, wp.vec3)], on=points)
    return moved


def expected(count: int) -> torch.Tensor:
    points = torch.arange(3.0 * count).reshape(count, 3)
    number = torch.arange(float(count))
    points[::2, 0] += number[::2]
    points[1::2, 1] += 0.5 * number[1::2]
    return points


@pytest.mark.parametrize("count", [0, 1, LEAST_ROWS, COUNT])
@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_pieces_make_the_whole(cores, count, threads):
    cores(threads)
    assert torch.equal(move(count), expected(count))


def test_large_launches_are_cut_and_small_ones_are_not(cores, monkeypatch):
    seen = []
    monkeypatch.setattr(wp, "launch", lambda kernel, dim, inputs, device: seen.append((dim, inputs[2])))
    cores(3)
    move(COUNT)
    assert sorted(seen, key=lambda one: one[1]) == [(last - first, first) for first, last in stretches(COUNT, 3)]
    seen.clear()
    move(2 * LEAST_ROWS - 1)
    assert seen == [(2 * LEAST_ROWS - 1, 0)]


def test_a_failing_piece_is_heard_of(cores, monkeypatch):
    def fail(kernel, dim, inputs, device):
        if inputs[2] > 0:
            raise RuntimeError("no more memory")

    monkeypatch.setattr(wp, "launch", fail)
    cores(2)
    with pytest.raises(RuntimeError, match="no more memory"):
        move(COUNT)


def test_parts_run_beside_each_other():
    points, offsets = torch.ones(5, 3), torch.zeros(1, 3)
    moved = torch.zeros(10, 3)
    parts = [
        (5, [Shared(points, wp.vec3), Shared(offsets, wp.vec3), 0, Shared(moved[place : place + 5], wp.vec3)])
        for place in (0, 5)
    ]
    launch_side_by_side(_moved, parts, on=points)
    assert torch.equal(moved, torch.ones(10, 3))


def test_stretches_leave_nothing_out():
    assert stretches(7, 3) == [(0, 2), (2, 4), (4, 7)]
    assert stretches(0, 2) == [(0, 0), (0, 0)]


FORKING = """
import os, sys, torch, trimesh
from avatar_core.fields import BodySurface

torch.set_num_threads(2)
ball = trimesh.creation.icosphere(subdivisions=3)
surface = BodySurface(torch.tensor(ball.vertices, dtype=torch.float32), torch.tensor(ball.faces))
points = torch.rand(9000, 3, generator=torch.Generator().manual_seed(0))
before = surface.closest(points).distance  # by threads that are not those of the child
child = os.fork()
if child == 0:
    os._exit(0 if torch.equal(surface.closest(points).distance, before) else 3)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_forked_process_launches_too():
    """In a process of its own: what else runs beside tests may not survive a fork."""
    done = subprocess.run([sys.executable, "-c", FORKING], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
