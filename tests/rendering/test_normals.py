"""Vertex normals: outwards, weighted by area, the same from the kernel and from torch, differentiable."""

import torch

from avatar_core.rendering.kernels import sum_face_normals
from avatar_core.rendering.normals import sum_face_normals_reference, vertex_normals


def test_normals_of_a_sphere_point_outwards(sphere) -> None:
    vertices, faces = sphere(radius=0.7, subdivisions=3)
    torch.testing.assert_close(vertex_normals(vertices, faces), vertices / 0.7, atol=0.02, rtol=0)


def test_larger_faces_weigh_more() -> None:
    vertices = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, -3.0]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    expected = torch.tensor([-3.0, 0.0, 1.0]) / 10**0.5
    torch.testing.assert_close(vertex_normals(vertices, faces)[0], expected)


def test_a_vertex_without_faces_has_no_normal() -> None:
    vertices = torch.eye(3).repeat(2, 1)[:4]
    normals = vertex_normals(vertices, torch.tensor([[0, 1, 2]]))
    assert normals[3].tolist() == [0.0, 0.0, 0.0]
    assert torch.isfinite(normals).all()


def test_the_kernel_agrees_with_its_reference_for_batches(soup) -> None:
    vertices, _ = soup
    faces = torch.randint(60, (40, 3), generator=torch.Generator().manual_seed(0))
    sets = torch.stack([vertices, 2 * vertices.flip(0)])
    torch.testing.assert_close(sum_face_normals(sets, faces), sum_face_normals_reference(sets, faces))


def test_gradients_match_finite_differences(sphere) -> None:
    vertices, faces = sphere(subdivisions=1)
    leaf = vertices.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda values: vertex_normals(values, faces), leaf, fast_mode=True)
