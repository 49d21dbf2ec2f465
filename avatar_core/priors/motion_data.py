"""Motion capture in the documented folder layout: `clips.npz` (the motion) and `clips.csv` (one row a clip).

Rotations are axis-angle in radians, each of SMPL's 22 body joints relative to its parent and to the T-pose;
translations are the pelvis in metres, Y up, ground at y = 0. Clips run at 30 frames a second.
"""

import csv
import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avatar_core.errors import AvatarError
from avatar_core.seeds import numpy_generator
from avatar_core.storage.npz import UNREADABLE, ArrayRefused, array_names, read_numbers, read_texts

JOINTS = 22
FPS = 30
MIRROR_JOINTS = (0, 2, 1, 3, 5, 4, 6, 8, 7, 9, 11, 10, 12, 14, 13, 15, 17, 16, 19, 18, 21, 20)
"""Index of the joint that takes each joint's place when left and right change sides."""

MEASURES = "measures.json"
"""File beside trained weights with what was measured, and with the terms of their motion."""
AUTHORED = "authored/"
"""What the source file of a clip begins with that was written as key poses (see authored.py)."""

MAX_BYTES = 1 << 31
"""Size of the largest array that is read, unpacked."""

_ARRAYS = ("poses", "trans", "clip_start", "clip_len", "clip_id", "rest_joints", "fps")
_COLUMNS = ("clip_id", "source_file", "label", "captions")


class MotionDataError(AvatarError):
    """A folder of motion clips that cannot be used; names the file and the remedy."""


@dataclass(frozen=True)
class Clip:
    """One clip's place in the frames of its folder.

    start, length: frames [start, start + length) of `MotionData.poses`.
    """

    id: str
    label: str
    captions: tuple[str, ...]
    source_file: str
    start: int
    length: int

    @property
    def authored(self) -> bool:
        """Whether it was written as key poses instead of captured."""
        return self.source_file.startswith(AUTHORED)

    def words(self) -> dict[str, object]:
        """What a codebook tells of the clip: for people to read, never for scoring."""
        return {"label": self.label, "captions": list(self.captions)} | ({"authored": True} if self.authored else {})


@dataclass(frozen=True)
class MotionData:
    """All clips of one folder, end to end.

    poses: (N, 22, 3) float32 axis-angle, radians.
    trans: (N, 3) float32 pelvis position, metres.
    rest_joints: (22, 3) float32 joints of the T-pose with the pelvis at the origin, metres.
    licences: terms that the clips come under, each once; weights that are trained on them inherit them.
    """

    poses: NDArray[np.float32]
    trans: NDArray[np.float32]
    rest_joints: NDArray[np.float32]
    clips: tuple[Clip, ...]
    licences: tuple[str, ...] = ()


def load_motion_folder(folder: str | Path) -> MotionData:
    """Read a folder in the documented layout.

    Raises MotionDataError when a file is missing, unreadable or inconsistent, and for frames that are not finite.
    """
    folder = Path(folder)
    arrays = _read_arrays(folder / "clips.npz")
    rows = _read_rows(folder / "clips.csv")
    _check_arrays(folder / "clips.npz", arrays)
    ids = [str(name) for name in arrays["clip_id"]]
    if ids != [row["clip_id"] for row in rows]:
        raise MotionDataError(
            f"{folder / 'clips.csv'}: its clip_id column differs from clips.npz ({len(rows)} rows, {len(ids)} clips); "
            "write both files from the same list of clips, in the same order"
        )
    clips = tuple(
        Clip(
            row["clip_id"],
            row["label"],
            tuple(row["captions"].split("|")),
            row["source_file"],
            int(s),
            int(n),
        )
        for row, s, n in zip(rows, arrays["clip_start"], arrays["clip_len"])
    )
    return MotionData(
        poses=arrays["poses"].astype(np.float32),
        trans=arrays["trans"].astype(np.float32),
        rest_joints=arrays["rest_joints"].astype(np.float32),
        clips=clips,
        licences=tuple(sorted({(row.get("licence") or "").strip() for row in rows} - {""})),
    )


def _read_arrays(path: Path) -> dict[str, NDArray]:
    if not path.is_file():
        raise MotionDataError(f"{path}: no such file; give a folder that holds clips.npz and clips.csv")
    try:
        with zipfile.ZipFile(path) as archive:
            missing = [name for name in _ARRAYS if name not in array_names(archive)]
            if missing:
                raise MotionDataError(
                    f"{path}: lacks the arrays {', '.join(missing)}; write them as documented"
                )
            return {
                name: (read_texts if name == "clip_id" else read_numbers)(archive, name, MAX_BYTES) for name in _ARRAYS
            }
    except ArrayRefused as error:
        raise MotionDataError(f"{path}: {error}") from error
    except UNREADABLE as error:
        raise MotionDataError(
            f"{path}: not a readable .npz file of plain arrays ({error}); copy it again or rewrite it without pickles"
        ) from error


def _read_rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        raise MotionDataError(f"{path}: no such file; give a folder that holds clips.npz and clips.csv")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [name for name in _COLUMNS if name not in (reader.fieldnames or [])]
            if missing:
                raise MotionDataError(
                    f"{path}: lacks the columns {', '.join(missing)}; add them as documented"
                )
            rows = list(reader)
            short = next((number for number, row in enumerate(rows, 2) if None in map(row.get, _COLUMNS)), None)
            if short is not None:
                raise MotionDataError(f"{path}: row {short} has fewer fields than the header; complete it")
            return rows
    except UnicodeDecodeError as error:
        raise MotionDataError(f"{path}: not UTF-8 text ({error}); save it as UTF-8 CSV") from error
    except csv.Error as error:
        raise MotionDataError(f"{path}: no readable table ({error}); save it as UTF-8 CSV") from error


def _check_arrays(path: Path, arrays: dict[str, NDArray]) -> None:
    poses, trans, start, length = (arrays[k] for k in ("poses", "trans", "clip_start", "clip_len"))
    frames = len(poses) if poses.ndim else 0
    expected = {
        "poses": (frames, JOINTS, 3),
        "trans": (frames, 3),
        "rest_joints": (JOINTS, 3),
        "clip_start": (start.size,),
        "clip_len": (start.size,),
        "clip_id": (start.size,),
        "fps": (),
    }
    for name, shape in expected.items():
        if arrays[name].shape != shape:
            raise MotionDataError(
                f"{path}: {name} has shape {arrays[name].shape}, not {shape}; retarget to 22 joints"
            )
    if start.dtype.kind not in "iu" or length.dtype.kind not in "iu":
        raise MotionDataError(f"{path}: clip_start or clip_len are no whole numbers; save them as integers")
    if float(arrays["fps"]) != FPS:
        raise MotionDataError(
            f"{path}: {float(arrays['fps']):g} frames a second; resample the clips to {FPS}"
        )
    if len(start) == 0:
        raise MotionDataError(f"{path}: holds no clips; add at least one")
    if start.min() < 0 or length.min() < 1 or max(int(s) + int(n) for s, n in zip(start, length)) > frames:
        raise MotionDataError(
            f"{path}: a clip reaches outside the {frames} frames; repair clip_start and clip_len"
        )
    finite = np.isfinite(poses).all(axis=(1, 2)) & np.isfinite(trans).all(axis=1)
    bad = np.concatenate([[0], np.cumsum(~finite)])
    for s, n, name in zip(start.tolist(), length.tolist(), arrays["clip_id"]):
        if bad[s + n] > bad[s]:
            raise MotionDataError(
                f"{path}: clip {name} holds values that are not finite; repair or drop that clip"
            )


def split_by_source(
    data: MotionData, held_out: float, seed: int
) -> tuple[tuple[Clip, ...], tuple[Clip, ...]]:
    """Split the clips into (training, held-out) so that no source file is on both sides.

    held_out: share of the captured files that is held out, 0 to 1. Files that carry the only clips of a label stay in
    training, so that no action is lost, and so do authored clips, whose variants are too alike to measure by.
    """
    files = sorted({clip.source_file for clip in data.clips if not clip.authored})
    labels: dict[str, set[str]] = {}
    for clip in data.clips:
        labels.setdefault(clip.label, set()).add(clip.source_file)
    order = numpy_generator(seed, "motion_split").permutation(len(files))
    held: set[str] = set()
    for index in order:
        if len(held) >= round(held_out * len(files)):
            break
        candidate = held | {files[index]}
        if all(not sources <= candidate for sources in labels.values()):
            held = candidate
    training = tuple(clip for clip in data.clips if clip.source_file not in held)
    return training, tuple(clip for clip in data.clips if clip.source_file in held)


def label_weights(clips: tuple[Clip, ...], power: float = 0.5) -> NDArray[np.float64]:
    """Return each clip's weight a frame (C,), so that a label with n frames is drawn in proportion to n ** power.

    With power 1 every frame is as likely as another; with 0 every label is.
    """
    totals: dict[str, int] = {}
    for clip in clips:
        totals[clip.label] = totals.get(clip.label, 0) + clip.length
    return np.array([totals[clip.label] ** (power - 1.0) for clip in clips])


def mirror(poses: NDArray, trans: NDArray) -> tuple[NDArray, NDArray]:
    """Swap left and right by reflecting in the plane x = 0.

    poses: (..., 22, 3) axis-angle; trans: (..., 3) metres. An axis-angle vector is axial, so that its y and z turn.
    """
    mirrored = poses[..., list(MIRROR_JOINTS), :] * np.array([1.0, -1.0, -1.0], poses.dtype)
    return mirrored, trans * np.array([-1.0, 1.0, 1.0], trans.dtype)


@dataclass(frozen=True)
class Window:
    """A stretch of frames for the motion prior.

    frames: (T,) indices into `MotionData.poses`; a clip shorter than the window goes on by a loop or a hold.
    laps: (T,) how many loops of displacement `step` (3,) metres have been added before each frame.
    """

    clip: Clip
    frames: NDArray[np.int64]
    laps: NDArray[np.int64]
    step: NDArray[np.float32]

    def read(self, data: MotionData) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return poses (T, 22, 3) and pelvis positions (T, 3) of the window."""
        trans = data.trans[self.frames] + self.laps[:, None].astype(np.float32) * self.step
        return data.poses[self.frames], trans


def cut_windows(
    data: MotionData, clips: tuple[Clip, ...], length: int, stride: int, shortest: int = 20
) -> list[Window]:
    """Cut windows of `length` frames every `stride` frames; clips of `shortest` frames or more are extended to fit."""
    windows = []
    for clip in clips:
        if clip.length >= length:
            starts = list(range(0, clip.length - length + 1, stride))
            for start in starts:
                frames = clip.start + start + np.arange(length)
                windows.append(Window(clip, frames, np.zeros(length, np.int64), np.zeros(3, np.float32)))
        elif clip.length >= shortest:
            windows.append(_extend(data, clip, length))
    return windows


def _extend(data: MotionData, clip: Clip, length: int) -> Window:
    """Continue a short clip: by its best loop where two frames are alike, else by holding its last frame."""
    poses = data.poses[clip.start : clip.start + clip.length].reshape(clip.length, -1)
    closest, loop = math.inf, None
    for first in range(clip.length - 13):
        for last in range(first + 12, clip.length - 1):
            gap = (
                np.abs(poses[last] - poses[first]).mean() + np.abs(poses[last + 1] - poses[first + 1]).mean()
            )
            if gap < closest:
                closest, loop = gap, (first, last)
    extra = length - clip.length
    frames = np.arange(clip.length)
    laps = np.zeros(clip.length, np.int64)
    step = np.zeros(3, np.float32)
    if loop is not None and closest < 0.24:
        first, last = loop
        index = np.arange(length)
        laps = np.maximum(0, (index - first) // (last - first))
        frames = np.where(index < last, index, first + (index - first) % (last - first))
        step = (data.trans[clip.start + last] - data.trans[clip.start + first]) * np.array(
            [1, 0, 1], np.float32
        )
    else:
        frames = np.concatenate([frames, np.full(extra, clip.length - 1)])
        laps = np.zeros(length, np.int64)
    return Window(clip, clip.start + frames, laps, step)


def write_measures(folder: Path, measures: Mapping[str, object], data: MotionData) -> None:
    """Write what was measured of weights to their folder, and the terms of the motion that they were trained on."""
    facts = {**measures, **({"licences": list(data.licences)} if data.licences else {})}
    (folder / MEASURES).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
