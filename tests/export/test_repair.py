import numpy as np
import trimesh

from avatar_core.export.mesh import signed_volume
from avatar_core.export.repair import drop_flaps, is_closed, separate_pinches


def two_boxes_sharing_an_edge() -> tuple[np.ndarray, np.ndarray]:
    first = trimesh.creation.box()
    second = trimesh.creation.box().apply_translation([1, 1, 0])
    both = trimesh.util.concatenate([first, second])
    both.merge_vertices()
    return np.asarray(both.vertices), np.asarray(both.faces, dtype=np.int32)


def test_a_pinched_edge_is_not_closed_until_it_is_separated():
    points, faces = two_boxes_sharing_an_edge()
    assert not is_closed(faces)
    moved, separated = separate_pinches(points, faces)
    assert is_closed(separated)
    assert trimesh.Trimesh(moved, separated).is_watertight
    assert abs(signed_volume(moved, separated) - 2) < 0.1


def test_an_open_or_flipped_mesh_is_not_closed():
    box = np.asarray(trimesh.creation.box().faces)
    assert is_closed(box)
    assert not is_closed(box[1:])
    flipped = box.copy()
    flipped[0] = flipped[0, ::-1]
    assert not is_closed(flipped)


def test_flaps_and_triangles_without_area_go():
    box = np.asarray(trimesh.creation.box().faces, dtype=np.int32)
    flap = np.array([[0, 1, 8], [8, 1, 0], [3, 3, 5]], np.int32)
    np.testing.assert_array_equal(drop_flaps(np.concatenate([box, flap])), box)


def test_a_closed_mesh_is_left_alone():
    ball = trimesh.creation.icosphere(2)
    points, faces = separate_pinches(np.asarray(ball.vertices), np.asarray(ball.faces, dtype=np.int32))
    np.testing.assert_array_equal(points, ball.vertices)
    np.testing.assert_array_equal(faces, ball.faces)
