"""Visibility: rays hit what geometry says they hit."""

import math
import subprocess
import sys

import pytest
import torch

from avatar_core.errors import BodyError
from avatar_core.rendering.cameras import orbit_cameras
from avatar_core.rendering.rasterizer import MeshRays, rasterize

QUAD = torch.tensor([[-1.0, -1.0, 0.0], [1.0, -1.0, 0.0], [1.0, 1.0, 0.0], [-1.0, 1.0, 0.0]])
QUAD_FACES = torch.tensor([[0, 1, 2], [0, 2, 3]])


def brute_force(vertices, faces, origins, directions):
    """Return face and distance of the first hit by testing every ray against every face, in double precision."""
    corners = vertices.double()[faces]
    origins, directions = origins.reshape(-1, 1, 3).double(), directions.reshape(-1, 1, 3).double()
    edge_1, edge_2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    system = torch.stack(torch.broadcast_tensors(edge_1, edge_2, -directions), dim=-1)
    u, v, distance = torch.linalg.solve(system, origins - corners[:, 0]).unbind(-1)
    distance = distance.masked_fill((u < 0) | (v < 0) | (u + v > 1) | (distance < 0), math.inf)
    nearest, face = distance.min(dim=1)
    return face.masked_fill(nearest.isinf(), -1), nearest


def test_a_fine_sphere_is_seen_where_the_analytic_sphere_is(sphere) -> None:
    vertices, faces = sphere(radius=0.5, subdivisions=4)
    cameras = orbit_cameras(torch.tensor([0.0, 2.0]), 0.3, 2.0, [0.0, 0.0, 0.0], 0.7, 40)
    raster = rasterize(vertices, faces, cameras)
    origins, directions = cameras.rays()
    along = -(origins * directions).sum(-1)
    squared_miss = (origins + along[..., None] * directions).square().sum(-1)
    inner, outer = squared_miss < 0.495**2, squared_miss > 0.5**2
    assert inner.any()
    assert (raster.face[inner] >= 0).all()
    assert (raster.face[outer] == -1).all()
    exact = along - (0.25 - squared_miss).clamp(min=0).sqrt()
    well_inside = squared_miss < 0.4**2
    torch.testing.assert_close(raster.depth[well_inside], exact[well_inside], atol=2e-3, rtol=0)


def test_barycentric_weights_give_the_hit_point(soup) -> None:
    vertices, faces = soup
    cameras = orbit_cameras(torch.tensor([0.4, 4.0]), 0.3, 2.0, [0.0, 0.0, 0.0], 0.8, 32)
    raster = rasterize(vertices, faces, cameras)
    origins, directions = cameras.rays()
    hit = raster.face >= 0
    points = (vertices[faces[raster.face.clamp(min=0)]] * raster.bary[..., None]).sum(-2)
    torch.testing.assert_close(
        points[hit], (origins + raster.depth[..., None] * directions)[hit], atol=1e-5, rtol=0
    )
    torch.testing.assert_close(raster.bary.sum(-1), hit.float(), atol=1e-6, rtol=0)
    assert (raster.depth[~hit] == 0).all()


def test_every_pixel_agrees_with_a_brute_force_search(soup) -> None:
    vertices, faces = soup
    cameras = orbit_cameras(torch.tensor([0.4, 2.5]), -0.3, 2.0, [0.0, 0.0, 0.0], 0.8, 32)
    raster = rasterize(vertices, faces, cameras)
    face, distance = brute_force(vertices, faces, *cameras.rays())
    assert (face >= 0).sum() > 200
    differing = (raster.face.reshape(-1) != face).float().mean()
    assert differing < 2e-3  # only rays that graze an edge may differ in float32
    same = (raster.face.reshape(-1) == face) & (face >= 0)
    torch.testing.assert_close(raster.depth.reshape(-1)[same], distance[same].float(), atol=1e-5, rtol=1e-5)


def test_a_quad_is_hit_from_both_sides() -> None:
    rays = MeshRays(QUAD, QUAD_FACES)
    origins = torch.tensor([[0.5, -0.5, 3.0], [0.5, -0.5, -2.0], [1.5, 0.0, 3.0]])
    directions = torch.tensor([[0.0, 0.0, -1.0], [0.0, 0.0, 1.0], [0.0, 0.0, -1.0]])
    face, bary, distance = rays.cast(origins, directions)
    assert face.tolist() == [0, 0, -1]
    torch.testing.assert_close(distance, torch.tensor([3.0, 2.0, 0.0]))
    torch.testing.assert_close(bary[0], torch.tensor([0.25, 0.5, 0.25]))
    assert rays.cast(origins, directions, max_distance=2.5)[0].tolist() == [-1, 0, -1]


def test_casting_no_rays_returns_nothing() -> None:
    face, bary, distance = MeshRays(QUAD, QUAD_FACES).cast(torch.zeros(0, 3), torch.zeros(0, 3))
    assert (face.shape, bary.shape, distance.shape) == ((0,), (0, 3), (0,))


def test_a_refit_answers_as_a_new_hierarchy(sphere) -> None:
    vertices, faces = sphere(subdivisions=3)
    moved = vertices * torch.tensor([0.4, 1.2, 0.7]) + torch.tensor([0.1, 0.0, 0.2])
    cameras = orbit_cameras(0.4, 0.1, 2.0, [0.0, 0.0, 0.0], 0.8, 48)
    rays = MeshRays(vertices, faces)
    before = rays.rasterize(cameras)
    rays.refit(moved)
    after, fresh = rays.rasterize(cameras), MeshRays(moved, faces).rasterize(cameras)
    assert not torch.equal(before.face, after.face)
    assert (after.face == fresh.face).float().mean() > 0.999
    torch.testing.assert_close(after.depth, fresh.depth, atol=1e-5, rtol=0)


def test_the_mesh_keeps_its_own_copy_of_the_vertices() -> None:
    vertices = QUAD.clone()
    rays = MeshRays(vertices, QUAD_FACES)
    vertices += 10
    assert rays.cast(torch.tensor([[0.1, 0.2, 3.0]]), torch.tensor([[0.0, 0.0, -1.0]]))[0].item() >= 0


def test_one_vertex_set_a_camera_equals_one_call_each(sphere) -> None:
    vertices, faces = sphere()
    sets = torch.stack([vertices, vertices * 0.5, vertices + 0.3])
    cameras = orbit_cameras(torch.tensor([0.0, 1.0, 2.0]), 0.1, 2.0, [0.0, 0.0, 0.0], 0.8, 24)
    together = rasterize(sets, faces, cameras, silhouettes=True)
    for index in range(3):
        alone = rasterize(sets[index], faces, cameras[index], silhouettes=True)
        torch.testing.assert_close(together.depth[index], alone.depth[0], atol=1e-5, rtol=0)
        mine = together.crossings.view == index
        pixels = together.crossings.inside[mine] - index * 24 * 24
        assert pixels.tolist() == alone.crossings.inside.tolist()


def test_the_same_call_gives_the_same_bits(soup) -> None:
    vertices, faces = soup
    cameras = orbit_cameras(0.4, 0.1, 2.0, [0.0, 0.0, 0.0], 0.8, 48)
    first, second = (rasterize(vertices, faces, cameras, silhouettes=True) for _ in range(2))
    assert torch.equal(first.face, second.face)
    assert torch.equal(first.bary, second.bary)
    assert torch.equal(first.crossings.inside, second.crossings.inside)


def test_faces_without_area_are_never_seen_and_spoil_nothing() -> None:
    faces = torch.cat([torch.tensor([[0, 0, 1], [2, 2, 2]]), QUAD_FACES])
    cameras = orbit_cameras(0.0, 0.0, 4.0, [0.0, 0.0, 0.0], 0.8, 16)
    raster = rasterize(QUAD, faces, cameras, silhouettes=True)
    clean = rasterize(QUAD, QUAD_FACES, cameras)
    assert torch.equal(raster.face.clamp(min=1) - 2, clean.face)


def test_vertices_that_are_not_finite_are_refused() -> None:
    cameras = orbit_cameras(0.0, 0.0, 4.0, [0.0, 0.0, 0.0], 0.8, 16)
    broken = QUAD.clone()
    broken[2, 1] = math.nan
    with pytest.raises(BodyError, match="1 vertices of the mesh are not finite"):
        rasterize(broken, QUAD_FACES, cameras)
    with pytest.raises(BodyError, match="not finite"):
        MeshRays(QUAD, QUAD_FACES).refit(broken)


@pytest.mark.parametrize(
    ("vertices", "faces", "message"),
    [
        (QUAD[:, :2], QUAD_FACES, "vertices have shape"),
        (QUAD[:0], QUAD_FACES, "vertices have shape"),
        (QUAD, QUAD_FACES[:0], "at least one face"),
        (QUAD, QUAD_FACES + 1, "faces name vertices 1..4"),
        (QUAD, QUAD_FACES.float(), "faces are indices"),
        (QUAD.expand(3, -1, -1), QUAD_FACES, "3 vertex sets for 1 cameras"),
    ],
)
def test_what_is_no_mesh_is_refused(vertices, faces, message) -> None:
    cameras = orbit_cameras(0.0, 0.0, 4.0, [0.0, 0.0, 0.0], 0.8, 16)
    with pytest.raises(ValueError, match=message):
        rasterize(vertices, faces, cameras)


def test_importing_the_rasterizer_prints_nothing() -> None:
    command = [sys.executable, "-c", "import avatar_core.rendering.rasterizer"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_sees_what_the_cpu_sees(soup) -> None:
    vertices, faces = soup
    cameras = orbit_cameras(torch.tensor([0.4, 2.5]), -0.3, 2.0, [0.0, 0.0, 0.0], 0.8, 32)
    host = rasterize(vertices, faces, cameras, silhouettes=True)
    device = rasterize(vertices.cuda(), faces.cuda(), cameras.to("cuda"), silhouettes=True)
    assert (host.face == device.face.cpu()).float().mean() > 0.995
