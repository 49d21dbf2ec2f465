"""Looks a BVH file over before it is parsed: bounds its size, and takes out what the parser does not model.

The parser refuses position channels of joints other than the root, which many programs write for every joint, and cuts
names at spaces. Such files are copied without them.
"""

from dataclasses import dataclass
from pathlib import Path

from avatar_core.priors.captured_motion import MAX_FRAMES
from avatar_core.priors.motion_data import MotionDataError

MAX_BYTES = 1 << 28
"""Size of the largest file that is read."""
MAX_VALUES = 20_000_000
"""Most numbers (frames times channels) in one file."""
MAX_JOINTS = 500
_MAX_LINE = 1 << 16


@dataclass(frozen=True)
class _Header:
    """The skeleton part of a file.

    lines: what the parser is given. kept: the columns of the motion that go with it. columns: all of them in the file.
    changed: whether `lines` differ from the file's.
    """

    lines: tuple[str, ...]
    kept: tuple[int, ...]
    columns: int
    changed: bool


def check_bvh(path: Path, scratch: Path) -> Path:
    """Return a file that the parser can read: `path` itself, or a copy in the folder `scratch`.

    Raises MotionDataError when the file is too large, or so damaged that its skeleton has no end.
    """
    if path.stat().st_size > MAX_BYTES:
        raise MotionDataError(f"{path}: larger than {MAX_BYTES >> 20} MiB; cut the file")
    with path.open(encoding="utf-8", errors="replace") as file:
        header = _read_header(path, file)
        if not header.changed and path.suffix == ".bvh":
            return path
        copy = scratch / "plain.bvh"
        with copy.open("w", encoding="utf-8") as plain:
            plain.writelines(f"{line}\n" for line in header.lines)
            for number, line in enumerate(file):
                values = line.split()
                if values and len(values) != header.columns:
                    raise MotionDataError(
                        f"{path}: frame {number} has {len(values)} values, not {header.columns}; the file may be "
                        "truncated: copy or export it again"
                    )
                plain.write(" ".join(values[column] for column in header.kept if values) + "\n")
    return copy


def _read_header(path: Path, file) -> _Header:
    """Read the lines of the text `file` as far as the frame time, and plan which columns of the motion to keep."""
    lines: list[str] = []
    kept: list[int] = []
    columns = joints = frames = 0
    changed = False
    while raw := file.readline(_MAX_LINE):
        words = raw.split()
        if words[:1] in (["ROOT"], ["JOINT"]):
            joints += 1
            name = "_".join(words[1:])
            changed |= len(words) != 2 or not name.isascii()
            words = [words[0], name]
        elif words[:1] == ["CHANNELS"]:
            here = words[2:]
            wanted = [
                number for number, channel in enumerate(here) if joints < 2 or not channel.lower().endswith("position")
            ]
            kept += [columns + number for number in wanted]
            columns += len(here)
            changed |= len(wanted) != len(here)
            words = ["CHANNELS", str(len(wanted)), *(here[number] for number in wanted)]
        elif words[:1] == ["Frames:"]:
            frames = int(words[1]) if len(words) == 2 and words[1].isdecimal() else 0
        if joints > MAX_JOINTS or len(lines) > 20 * MAX_JOINTS:
            raise MotionDataError(f"{path}: more than {MAX_JOINTS} joints; export the body alone")
        lines.append(" ".join(words))
        if words[:2] == ["Frame", "Time:"]:
            break
    else:
        raise MotionDataError(
            f"{path}: it ends before its motion, or is no BVH file; it may be truncated: copy or export it again"
        )
    if frames > MAX_FRAMES or frames * columns > MAX_VALUES:
        raise MotionDataError(
            f"{path}: {frames} frames of {columns} channels are more than are read from one file ({MAX_FRAMES} frames, "
            f"{MAX_VALUES} values); cut the file or export the body alone"
        )
    return _Header(tuple(lines), tuple(kept), columns, changed)
