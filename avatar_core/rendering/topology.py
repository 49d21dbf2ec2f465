"""What depends on a mesh's faces alone: its edges and the faces beside them, found once per face list."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary


@dataclass(frozen=True, eq=False)
class MeshTopology:
    """The edges of a triangle mesh."""

    edges: Tensor
    """(E, 2) int64 vertices of each edge, the smaller index first."""
    edge_faces: Tensor
    """(E, 2) int64 faces on both sides; on a boundary the one face twice."""
    opposite: Tensor
    """(E,) int64 the vertex of the first face that is not on the edge."""
    boundary: Tensor
    """(E,) bool, true where an edge has a face on one side only."""
    flipped: Tensor
    """(E,) bool, true where both faces run along the edge in the same direction (inconsistent winding)."""


_known: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


def mesh_topology(faces: Tensor) -> MeshTopology:
    """Return the edges of faces (F, 3), remembered while the tensor lives and is not changed in place."""
    held = _known.get(faces)
    if held is not None and held[0] == faces._version:
        return held[1]
    topology = build_topology(faces)
    _known[faces] = (faces._version, topology)
    return topology


def build_topology(faces: Tensor) -> MeshTopology:
    """Find the edges of faces (F, 3).

    Where three or more faces share an edge, each consecutive pair of them (by face index) counts as one edge.
    """
    faces = faces.to(torch.int64)
    start = faces.reshape(-1)
    end = faces.roll(-1, dims=1).reshape(-1)
    across = faces.roll(-2, dims=1).reshape(-1)
    low, high = torch.minimum(start, end), torch.maximum(start, end)
    key = low * (faces.max() + 1) + high
    key, order = torch.sort(key, stable=True)
    same = torch.zeros_like(key, dtype=torch.bool)
    same[:-1] = key[:-1] == key[1:]
    shared_with_previous = same.roll(1)
    first = torch.nonzero(same | ~shared_with_previous)[:, 0]
    second = torch.where(same[first], first + 1, first)
    first, second = order[first], order[second]
    return MeshTopology(
        edges=torch.stack([low[first], high[first]], dim=1),
        edge_faces=torch.stack([first, second], dim=1).div(3, rounding_mode="floor"),
        opposite=across[first],
        boundary=first == second,
        flipped=(first != second) & (start[first] == start[second]),
    )
