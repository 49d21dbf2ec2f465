"""Writes authored clips, after captured ones where there are any, to a folder that `load_motion_folder` reads."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avatar_core.bodies.skeleton import JOINT_NAMES, PARENTS
from avatar_core.priors.authored_motion import AuthoredClip
from avatar_core.priors.captured_motion import REST_JOINTS
from avatar_core.priors.motion_data import AUTHORED, FPS, load_motion_folder
from avatar_core.tables import plain_cell

SOURCE = "authored"
"""What the column `source` says of an authored clip; its `source_file` is authored/<action>."""

_COLUMNS = (
    "clip_id", "source_file", "source_start_frame", "frames", "fps", "label", "captions", "repaired_frames", "source",
    "licence",
)  # fmt: skip
_PERSON = "a person is "


def write_folder(folder: Path, clips: list[AuthoredClip], data: Path | None = None) -> None:
    """Write clips.npz and clips.csv to `folder`.

    clips: the authored ones. data: folder of captured clips, which come first and keep their skeleton.
    Raises MotionDataError when `data` cannot be read.
    """
    poses: list[NDArray] = [clip.poses.astype(np.float16) for clip in clips]
    trans: list[NDArray] = [clip.trans for clip in clips]
    rows = _rows(clips)
    rest_joints = REST_JOINTS
    if data is not None:
        captured = load_motion_folder(data)
        with (data / "clips.csv").open(newline="", encoding="utf-8-sig") as file:
            rows = [*map(_plain, csv.DictReader(file)), *rows]
        whole = [slice(clip.start, clip.start + clip.length) for clip in captured.clips]
        poses = [*(captured.poses[frames].astype(np.float16) for frames in whole), *poses]
        trans = [*(captured.trans[frames] for frames in whole), *trans]
        rest_joints = captured.rest_joints
    lengths = np.array([len(part) for part in poses], np.int32)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        folder / "clips.npz",
        poses=np.concatenate(poses),
        trans=np.concatenate(trans),
        clip_start=(np.cumsum(lengths) - lengths).astype(np.int32),
        clip_len=lengths,
        clip_id=np.array([row["clip_id"] for row in rows]),
        label=np.array([row["label"] for row in rows]),
        joint_names=np.array(JOINT_NAMES),
        parents=np.array(PARENTS, np.int8),
        rest_joints=rest_joints,
        fps=np.float32(FPS),
    )
    with (folder / "clips.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _COLUMNS, restval="", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def _plain(row: dict[str, str]) -> dict[str, str]:
    """A captured clip's row, as it may be written."""
    return {name: plain_cell(row.get(name) or "") for name in _COLUMNS}


def _rows(clips: list[AuthoredClip]) -> list[dict[str, str]]:
    numbers: dict[str, int] = {}
    rows = []
    for clip in clips:
        name = clip.action.name
        number = numbers[name] = numbers.get(name, -1) + 1
        rows.append(
            dict.fromkeys(_COLUMNS, "0")
            | {
                "clip_id": f"authored_{name.replace(' ', '_')}_{number:04d}",
                "source_file": AUTHORED + name,
                "frames": str(len(clip.poses)),
                "fps": str(FPS),
                "label": name,
                "captions": "|".join(_PERSON + caption for caption in clip.action.captions),
                "source": SOURCE,
                "licence": "Apache-2.0",
            }
        )
    return rows
