"""Reads BVH files through the `pybvh` package, which an optional extra installs."""

import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from avatar_core.priors.bvh_text import check_bvh
from avatar_core.priors.captured_motion import check_finite, check_length
from avatar_core.priors.motion_data import MotionDataError

_REST_DEGREES, _JUMP_DEGREES = 0.01, 10.0


@dataclass(frozen=True)
class SourceMotion:
    """A skeleton of J joints and its motion, in the file's own axes and unit of length.

    names, parents: (J); -1 for the root's parent, and parents come first.
    offsets: (J, 3) float64 from the parent's joint, in the zero pose.
    tips: the end of joints that end a chain, as offsets (3,) from the joint.
    rotations: (T, J, 3, 3) float64 relative to the parent.
    root: (T, 3) float64 position of the root.
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]
    offsets: Tensor
    tips: dict[int, Tensor]
    rotations: Tensor
    root: Tensor
    fps: float


def read_bvh(path: Path) -> SourceMotion:
    """Read one BVH file; a first frame that is only the zero pose, as CMU's conversions have it, is left out.

    Positions of joints other than the root are not read: bones keep their length.
    Raises MotionDataError when pybvh is not installed, and when the file is truncated, too large, or holds values that
    are not finite.
    """
    try:
        import pybvh
    except ImportError as error:
        raise MotionDataError(
            f"{path}: reading BVH files needs pybvh; install this package's extra bvh, or: pip install pybvh"
        ) from error
    with tempfile.TemporaryDirectory() as scratch:
        plain = check_bvh(path, Path(scratch))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                parsed = pybvh.read_bvh_file(plain, world_up="+y", warn_on_world_up_disagreement=False)
        except (ValueError, IndexError, KeyError, AttributeError, OSError, RecursionError) as error:
            reason = str(error).replace(str(plain), "the file")
            raise MotionDataError(
                f"{path}: not a readable BVH file ({reason}); it may be truncated: copy or export it again"
            ) from error
    check_length(path, parsed.frame_count, parsed.fps)
    check_finite(path, np.concatenate([parsed.root_pos, parsed.joint_angles.reshape(parsed.frame_count, -1)], axis=1))
    if not all(np.isfinite(node.offset).all() for node in parsed.nodes):
        raise MotionDataError(f"{path}: an OFFSET is not finite; repair the skeleton and export it again")
    return _source_motion(parsed)


def _source_motion(parsed: Any) -> SourceMotion:
    """Turn pybvh's nodes and Euler angles into arrays."""
    joints = [node for node in parsed.nodes if not node.is_end_site()]
    index = {id(node): number for number, node in enumerate(joints)}
    tips = {index[id(node.parent)]: torch.from_numpy(node.offset.copy()) for node in parsed.nodes if node.is_end_site()}
    first = 1 if _starts_with_zero_pose(parsed.joint_angles) else 0
    rotations = [
        Rotation.from_euler("".join(node.rot_channels), parsed.joint_angles[first:, number]).as_matrix()
        for number, node in enumerate(joints)
    ]
    return SourceMotion(
        names=tuple(node.name for node in joints),
        parents=tuple(index[id(node.parent)] if node.parent is not None else -1 for node in joints),
        offsets=torch.from_numpy(np.stack([node.offset for node in joints])),
        tips=tips,
        rotations=torch.from_numpy(np.stack(rotations, axis=1)),
        root=torch.from_numpy(parsed.root_pos[first:].copy()),
        fps=float(parsed.fps),
    )


def _starts_with_zero_pose(angles: NDArray[np.float64]) -> bool:
    """Whether frame 0 of Euler angles (T, J, 3) in radians is the zero pose and frame 1 is another one."""
    if len(angles) < 2:
        return False
    degrees = np.rad2deg(np.abs(angles[:2])).max(axis=(1, 2))
    return bool(degrees[0] < _REST_DEGREES and degrees[1] > _JUMP_DEGREES)
