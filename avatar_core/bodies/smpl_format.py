"""The arrays of an SMPL, SMPL-H or SMPL-X model: read from a download, checked, and as the safe file that is kept."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial

import numpy as np
from numpy.typing import NDArray

from avatar_core.bodies.skeleton import JOINT_INDEX
from avatar_core.bodies.smpl_kinds import KINDS, SmplKind
from avatar_core.bodies.smpl_pickle import UnsuitableModel, as_array, read_pickle
from avatar_core.errors import WeightsError
from avatar_core.storage.npz import UNREADABLE, ArrayRefused, array_names, read_numbers

SHAPES = 10
"""Shape components that are kept, the strongest; SMPL-X has its expressions after them."""
ARRAY_BYTES = 1 << 28
"""Size of the largest array that is read, unpacked."""
VERTICES = (1000, 200_000)
"""Fewest and most of a model."""
HEIGHTS = (1.2, 2.5)
"""Of the neutral body, metres: what is outside is in other units."""
SUM_TOLERANCE = 1e-3
LEVEL = 0.35
"""Height of a wrist over or under the shoulder, as a part of the arm, up to which arms are level."""
_NAMES = {
    "template": "v_template",
    "shape_directions": "shapedirs",
    "pose_directions": "posedirs",
    "regressor": "J_regressor",
    "weights": "weights",
    "tree": "kintree_table",
    "faces": "f",
}
"""What SMPL's files call the arrays."""


@dataclass(frozen=True, eq=False)
class SmplArrays:
    """A model of V vertices, J joints, S shape components and F faces; Y up, facing +Z, metres, in a T-pose."""

    template: NDArray[np.float32]
    """(V, 3)"""
    shape_directions: NDArray[np.float32]
    """(V, 3, S) what one unit of each shape component adds."""
    pose_directions: NDArray[np.float32]
    """(V, 3, 9 (J - 1)) what each entry of the joints' rotations, less the identity's, adds."""
    regressor: NDArray[np.float32]
    """(J, V) where the joints are, from the vertices; rows sum to one."""
    weights: NDArray[np.float32]
    """(V, J) skinning weights; rows sum to one."""
    faces: NDArray[np.int32]
    """(F, 3)"""

    @property
    def kind(self) -> SmplKind:
        """The model's kind, which its joints tell."""
        return next(kind for kind in KINDS.values() if len(kind.joints) == len(self.regressor))

    @property
    def digest(self) -> str:
        """The sha256 (hex) of the arrays' names, types, shapes and values."""
        summed = hashlib.sha256()
        for field in fields(self):
            values = getattr(self, field.name)
            summed.update(f"{field.name} {values.dtype.str} {values.shape}\n".encode())
            summed.update(np.ascontiguousarray(values).tobytes())
        return summed.hexdigest()

    def to_bytes(self) -> bytes:
        """Return the arrays as an .npz file."""
        file = io.BytesIO()
        np.savez(file, **{field.name: getattr(self, field.name) for field in fields(self)})
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes, source: str) -> SmplArrays:
        """Read what `to_bytes` wrote; raises WeightsError when it is damaged. No pickle is ever loaded."""
        arrays = _read_npz(content, source, {field.name: field.name for field in fields(cls)})
        return cls(**arrays)


def read_model(content: bytes, source: str) -> SmplArrays:
    """Read and check a model's file.

    Args:
        content: of a .pkl or .npz file.
        source: its name, for messages.
    Raises:
        UnsuitableModel: it is no model of SMPL's family.
        WeightsError: it would run code, or is damaged.
    """
    if content[:2] == b"PK":
        return _checked(source, _read_npz(content, source, _NAMES))
    found = read_pickle(content, source)
    missing = [name for name in _NAMES.values() if name not in found]
    if missing:
        raise UnsuitableModel(_lacking(source, missing))
    readers: dict[str, Callable[[], NDArray]] = {
        name: partial(as_array, found[theirs]) for name, theirs in _NAMES.items()
    }
    return _checked(source, {name: _array(source, _NAMES[name], reader) for name, reader in readers.items()})


def _read_npz(content: bytes, source: str, names: dict[str, str]) -> dict[str, NDArray]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            missing = [name for name in names.values() if name not in array_names(archive)]
            if missing:
                raise UnsuitableModel(_lacking(source, missing))
            return {name: read_numbers(archive, theirs, ARRAY_BYTES) for name, theirs in names.items()}
    except ArrayRefused as error:
        raise WeightsError(f"{source}: {error}") from error
    except UNREADABLE as error:
        raise WeightsError(f"{source}: not a readable .npz file ({error}); download it again") from error


def _lacking(source: str, missing: list[str]) -> str:
    return f"{source} is no SMPL, SMPL-H or SMPL-X model: it lacks {', '.join(missing)}"


def _array(source: str, name: str, reader: Callable[[], NDArray]) -> NDArray:
    try:
        return reader()
    except ValueError as error:
        raise WeightsError(f"{source}: {name} is no readable array ({error}); download it again") from error


def _checked(source: str, found: dict[str, NDArray]) -> SmplArrays:
    """Return the arrays of a file as a model; raises WeightsError where they are none."""

    def check(holds: bool, problem: str) -> None:
        if not holds:
            raise UnsuitableModel(f"{source} is no SMPL, SMPL-H or SMPL-X model that can be used: {problem}")

    template, shapes, poses, regressor, weights, tree, faces = (found[name] for name in _NAMES)
    joints, count = len(regressor) if regressor.ndim == 2 else 0, len(template) if template.ndim == 2 else 0
    kind = next((kind for kind in KINDS.values() if len(kind.joints) == joints), None)
    known = ", ".join(f"{len(one.joints)} ({one.title})" for one in KINDS.values())
    check(kind is not None, f"it has {joints} joints, not {known}")
    assert kind is not None
    check(VERTICES[0] <= count <= VERTICES[1], f"it has {count} vertices, not {VERTICES[0]} to {VERTICES[1]}")
    for name, array, shape in (
        ("template", template, (count, 3)),
        ("shape_directions", shapes, (count, 3, None)),
        ("pose_directions", poses, (count, 3, 9 * (joints - 1))),
        ("regressor", regressor, (joints, count)),
        ("weights", weights, (count, joints)),
        ("tree", tree, (2, joints)),
        ("faces", faces, (None, 3)),
    ):
        fits = array.ndim == len(shape) and all(one in (None, size) for one, size in zip(shape, array.shape))
        wanted = " x ".join("any" if one is None else str(one) for one in shape)
        check(fits, f"{_NAMES[name]} has the shape {array.shape}, not {wanted}")
        check(bool(np.isfinite(array).all()), f"{_NAMES[name]} holds values that are not finite")
    check(shapes.shape[2] > 0, "it has no shape components")
    order = tree[0].astype(np.int64)
    order[0] = -1  # files write it as 4294967295, the same in 32 bits without a sign
    check(tuple(order) == kind.parents, f"its joints do not hang together as those of {kind.title}")
    check(len(faces) > 0 and faces.min() >= 0 and faces.max() < count, "its faces name vertices that do not exist")
    for name, rows in (("regressor", regressor), ("weights", weights)):
        off = float(np.abs(rows.sum(axis=1, dtype=np.float64) - 1).max())
        check(off < SUM_TOLERANCE, f"rows of {_NAMES[name]} do not sum to one (they are {off:.3g} off)")
    check(float(weights.min()) > -SUM_TOLERANCE, "it has negative skinning weights")
    weights = np.clip(weights.astype(np.float64), 0, None)
    model = SmplArrays(
        template=_plain(template),
        shape_directions=_plain(shapes[:, :, :SHAPES]),
        pose_directions=_plain(poses),
        regressor=_plain(regressor),
        weights=_plain(weights / weights.sum(axis=1, keepdims=True)),
        faces=np.ascontiguousarray(faces.astype(np.int32)),
    )
    problem = _posture(model)
    check(problem is None, problem or "")
    return model


def _plain(values: NDArray) -> NDArray[np.float32]:
    return np.ascontiguousarray(values.astype(np.float32))


def _posture(model: SmplArrays) -> str | None:
    """Say what is wrong with how a model stands at rest; None where it is in a T-pose, Y up, facing +Z, in metres."""
    height = float(np.ptp(model.template[:, 1]))
    if not HEIGHTS[0] < height < HEIGHTS[1]:
        return f"its body is {height:.2f} high, not {HEIGHTS[0]} to {HEIGHTS[1]} metres with Y up"
    joints = model.regressor @ model.template

    def way(first: str, second: str) -> NDArray[np.float32]:
        return joints[JOINT_INDEX[second]] - joints[JOINT_INDEX[first]]

    arms = {side: way(f"{side}_shoulder", f"{side}_wrist") for side in ("left", "right")}
    upright = way("pelvis", "head")[1] > 0.2 * height and way("left_hip", "left_ankle")[1] < -0.2 * height
    forward = way("left_ankle", "left_foot")[2] > 0 and arms["left"][0] > 0 > arms["right"][0]
    level = all(abs(arm[1]) < LEVEL * float(np.linalg.norm(arm)) for arm in arms.values())
    if not upright:
        return "its head is not above its hips and its feet below them"
    if not forward:
        return "it does not face +Z with its left hand at +X"
    return None if level else "its arms are not level: it does not rest in a T-pose"
