"""Models in SMPL's format that are nobody's: Anny's bodies, rewritten as a template with shape and pose directions.

    python tests/support/synthetic_smpl.py FOLDER

writes one model of each kind into FOLDER, as .npz, for trying out what is documented.
"""

from __future__ import annotations

import argparse
import contextlib
import pickle
import sys
import types
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.sparse import csc_matrix

from avatar_core.bodies import load_body
from avatar_core.bodies.base import BodyModel
from avatar_core.bodies.smpl_kinds import KINDS

SHAPES, PEOPLE, NEAREST = 10, 40, 16
NO_PARENT = 4294967295
"""How SMPL's files write that the pelvis hangs on nothing."""


@cache
def synthetic_model(kind: str = "smpl") -> dict[str, Any]:
    """Return a model's arrays by SMPL's own names; the regressor is sparse."""
    body, joints, parents = load_body(), KINDS[kind].joints, KINDS[kind].parents
    template, places = _tpose(body, body.neutral_shape), _joints(body, joints)
    generator = torch.Generator().manual_seed(7)
    betas = 0.5 + 0.2 * torch.randn(PEOPLE, len(body.shape_labels), generator=generator)
    betas[:, body.shape_labels.index("age")] = 2 / 3
    people = torch.stack([_tpose(body, one.clamp(0, 1)) for one in betas])
    flat = (people - people.mean(0)).flatten(1)
    _, strengths, axes = torch.linalg.svd(flat, full_matrices=False)
    scaled = axes[:SHAPES] * strengths[:SHAPES, None] / PEOPLE**0.5
    weights = _weights(body, joints)
    bulges = torch.randn(len(template), 3, 9 * (len(joints) - 1), generator=generator)
    # Only where the joint that turns has any skin.
    bulges *= 0.001 * weights[:, 1:].repeat_interleave(9, dim=1)[:, None]
    tree = np.array([[NO_PARENT, *parents[1:]], range(len(joints))], np.uint32)
    return {
        "v_template": template.double().numpy(),
        "shapedirs": scaled.unflatten(1, (-1, 3)).permute(1, 2, 0).double().numpy(),
        "posedirs": bulges.double().numpy(),
        "J_regressor": csc_matrix(_regressor(template.double().numpy(), places.double().numpy())),
        "weights": weights.double().numpy(),
        "kintree_table": tree,
        "f": body.faces.numpy().astype(np.uint32),
        "bs_style": "lbs",
    }


def _tpose(body: BodyModel, betas: torch.Tensor) -> torch.Tensor:
    """Vertices (V, 3) of a body in the T-pose, the pelvis at the origin."""
    return body.pose(body.shape(betas), torch.eye(3).repeat(1, 22, 1, 1), torch.zeros(1, 3)).vertices[0]


def _joints(body: BodyModel, names: tuple[str, ...]) -> torch.Tensor:
    """Joints (J, 3) of the neutral body in the same pose."""
    rig = body.rig(body.shape(body.neutral_shape))
    bones = rig.pose(torch.eye(3).repeat(1, 22, 1, 1), torch.zeros(1, 3))[0]
    heads = (bones[:, :3, :3] @ rig.heads[..., None]).squeeze(-1) + bones[:, :3, 3]
    index = {name: number for number, name in enumerate(rig.names)}
    index |= {f"{side}_hand": index[f"{side}_middle1"] for side in ("left", "right")} | {"jaw": index["head"]}
    return torch.stack([heads[index[name]] for name in names])


def _weights(body: BodyModel, joints: tuple[str, ...]) -> torch.Tensor:
    rig = body.rig(body.shape(body.neutral_shape))
    weights = torch.zeros(len(rig.weights), len(joints))
    for bone, name in enumerate(rig.names):
        side, _, part = name.partition("_")
        owner = name if name in joints else rig.names[rig.joint_of_bone[bone]]
        if part[-1:].isdigit() and f"{side}_hand" in joints:
            owner = f"{side}_hand"
        weights[:, joints.index(owner)] += rig.weights[:, bone]
    return weights / weights.sum(1, keepdim=True)


def _regressor(vertices: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Least weights (J, V) of the nearest vertices that sum to one and give the joints."""
    found = np.zeros((len(places), len(vertices)))
    for row, place in zip(found, places):
        near = np.argsort(np.linalg.norm(vertices - place, axis=1), kind="stable")[:NEAREST]
        system = np.vstack([vertices[near].T - place[:, None], np.ones(NEAREST)])
        row[near] = np.linalg.pinv(system) @ np.array([0.0, 0.0, 0.0, 1.0])
        row[near] /= row[near].sum()
    return found


def write_npz(path: Path, kind: str = "smpl", **changes: Any) -> Path:
    """Write a model as plain arrays; `changes` replace arrays by their names, None leaves one out."""
    arrays = synthetic_model(kind)
    arrays = arrays | {"J_regressor": arrays["J_regressor"].toarray()} | changes
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return path


class _Ch:
    """An array as chumpy has it: its state holds the values, among other things."""

    def __init__(self, values: np.ndarray) -> None:
        self.x, self._dirty_vars, self._itr = values, set(), None


class _Select:
    """A choice of another array's values."""

    def __init__(self, source: _Ch, places: np.ndarray, shape: tuple[int, ...]) -> None:
        self.a, self.idxs, self.preferred_shape, self._dirty_vars = source, places, shape, set()


@contextlib.contextmanager
def fake_chumpy() -> Iterator[None]:
    """Let the classes above be pickled under chumpy's names."""
    modules = {name: types.ModuleType(name) for name in ("chumpy", "chumpy.ch", "chumpy.reordering")}
    for module, name, kind in (("chumpy.ch", "Ch", _Ch), ("chumpy.reordering", "Select", _Select)):
        kind.__module__, kind.__name__, kind.__qualname__ = module, name, name
        setattr(modules[module], name, kind)
    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def pickled(kind: str = "smpl", protocol: int = 2, **changes: Any) -> bytes:
    """Return a model as SMPL's own pickles are: chumpy arrays, a sparse regressor, names of Python 2's modules.

    Protocols 0 to 2 are those of Python 2; `fix_imports` writes its modules' names.
    """
    arrays = synthetic_model(kind) | changes
    shapes = arrays["shapedirs"]
    with fake_chumpy():
        arrays |= {name: _Ch(arrays[name]) for name in ("v_template", "posedirs", "weights")}
        arrays["shapedirs"] = _Select(_Ch(np.ascontiguousarray(shapes).ravel()), np.arange(shapes.size), shapes.shape)
        return pickle.dumps(arrays, protocol=protocol, fix_imports=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="gets a folder for each kind")
    chosen = parser.parse_args().folder
    for each in KINDS:
        for gender in ("neutral", "female"):
            print(write_npz(chosen / each / f"{each.upper()}_{gender.upper()}.npz", each))
