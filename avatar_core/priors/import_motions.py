"""Turn a folder of motion capture, AMASS .npz and .bvh files, into a motion folder that the priors can be trained on.

  python -m avatar_core.priors.import_motions captures --out data/motions
  python -m avatar_core.priors.import_motions AMASS --out data/motions --kind amass --captions captions.csv
  python -m avatar_core.priors.import_motions takes --out data/motions --kind bvh --captions texts

The folder is walked recursively. What cannot be used is skipped, and listed with the reason and the remedy in
skipped.csv beside clips.npz and clips.csv. The exit status is 0 when something was written, else 2.

Captions are a CSV with the columns file, label, captions (separated by |), or a folder of texts as HumanML3D has them.
With HumanML3D's own folder, whose index.csv says which AMASS file each text is of, SOURCE is AMASS's own folder.
Files without one are labelled by their name: KickHigh_01.bvh is "kick high".

Licences: weights inherit the terms of the motion they are trained on. AMASS may be used for non-commercial research
only, and so may weights that are trained on it; clips.csv says so. --licence notes other terms there.
"""

import argparse
import csv
import io
import logging
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from avatar_core.bodies.skeleton import JOINT_NAMES, PARENTS
from avatar_core.priors.amass import read_amass
from avatar_core.priors.bvh import read_bvh
from avatar_core.priors.captured_motion import REST_JOINTS, ImportedClip, make_clips
from avatar_core.priors.import_captions import Description, describe, read_captions, unmatched
from avatar_core.priors.motion_data import FPS, MotionDataError
from avatar_core.priors.retarget_source import retarget
from avatar_core.storage.paths import atomic_file, write_atomic
from avatar_core.tables import plain_cell

log = logging.getLogger(__name__)

LONGEST = 10.0
"""Seconds of the longest clip; longer files are cut."""
NAMED = 20
"""Descriptions of files that are not there, of which the names are told."""
KINDS = {"amass": (".npz",), "bvh": (".bvh",), "auto": (".npz", ".bvh")}
_AMASS_TERMS = "AMASS licence: non-commercial research only"
_COLUMNS = (
    "clip_id", "source_file", "source_start_frame", "frames", "fps", "label", "captions", "source", "licence",
)  # fmt: skip


@dataclass(frozen=True)
class ImportSummary:
    """What an import did.

    files: motion files found; used: those that became clips; skipped: (file, reason) of the others.
    """

    files: int
    used: int
    clips: int
    frames: int
    skipped: tuple[tuple[str, str], ...]


def import_motions(
    source: Path,
    out: Path,
    *,
    kind: str = "auto",
    captions: Path | None = None,
    fps: float = FPS,
    licence: str = "",
) -> ImportSummary:
    """Convert the motion files under `source`; write clips.npz, clips.csv and, if files were skipped, skipped.csv.

    kind: a key of KINDS. captions: what `read_captions` reads. fps: frames a second of the clips. licence: the terms of
    the files, for clips.csv; without them, AMASS files get AMASS's.
    Raises MotionDataError when nothing usable is there; nothing is written then.
    """
    given = read_captions(captions) if captions else {}
    files = list(find_files(source, out, KINDS[kind]))
    if not files:
        raise MotionDataError(f"{source}: holds no {' or '.join(KINDS[kind])} files; give a folder of motion capture")
    lost = unmatched(given, [name for name, _ in files])
    for key in lost[:NAMED]:
        log.warning("%s: no motion file is called %s; correct the name or drop that line", captions, key)
    if len(lost) > NAMED:
        log.warning("%s: nor are there motion files for %d other descriptions", captions, len(lost) - NAMED)
    clips: list[tuple[str, str, ImportedClip]] = []
    skipped: list[tuple[str, str]] = []
    stems = Counter(_stem(name) for name, _ in files)
    for number, (name, path) in enumerate(files):
        try:
            made = _convert(source, path, fps)
        except MotionDataError as error:
            reason = str(error).removeprefix(f"{path}: ")
            skipped.append((name, reason))
            log.warning("%d of %d: %s skipped: %s", number + 1, len(files), name, reason)
            continue
        base = _stem(name) if stems[_stem(name)] == 1 else name
        clips += [(name, f"{base}#{k}" if len(made) > 1 else base, clip) for k, clip in enumerate(made)]
        frames = sum(len(clip.poses) for clip in made)
        log.info("%d of %d: %s: %d frames in %d clips", number + 1, len(files), name, frames, len(made))
    if not clips:
        raise MotionDataError(
            f"{source}: none of its {len(files)} motion files can be used; the first, {skipped[0][0]}: {skipped[0][1]}"
        )
    _write(out, clips, skipped, given, fps, licence)
    total = sum(len(clip.poses) for _, _, clip in clips)
    return ImportSummary(len(files), len(files) - len(skipped), len(clips), total, tuple(skipped))


def find_files(source: Path, out: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    """Yield (name inside the folder, path) of files with `suffixes` under `source`, in order, but none under `out`.

    Links to folders are not followed. Raises MotionDataError when `source` is no folder.
    """
    if not source.is_dir():
        raise MotionDataError(f"{source}: no such folder; give a folder of motion capture")
    for parent, folders, names in os.walk(source):
        folders[:] = sorted(folder for folder in folders if (Path(parent) / folder).resolve() != out.resolve())
        for name in sorted(names):
            path = Path(parent) / name
            if path.suffix.lower() in suffixes:
                yield _printable(path.relative_to(source).as_posix()), path


def _convert(source: Path, path: Path, fps: float) -> list[ImportedClip]:
    """Read one file and make its clips; raises MotionDataError for whatever is wrong with it."""
    try:
        if not path.resolve().is_relative_to(source.resolve()):
            raise MotionDataError(f"{path}: a link that leads out of the folder; copy the file into the folder")
        if not path.is_file():
            raise MotionDataError(f"{path}: not a regular file; take it out of the folder")
        motion = read_amass(path) if path.suffix.lower() == ".npz" else retarget(path, read_bvh(path))
    except OSError as error:
        raise MotionDataError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    except MemoryError as error:
        raise MotionDataError(f"{path}: too large for this machine's memory; cut the file") from error
    return make_clips(path, motion, fps, LONGEST)


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))


def _printable(name: str) -> str:
    """Replace what a table cannot hold: bytes that are not UTF-8, line breaks, and formulas."""
    text = name.encode("utf-8", "backslashreplace").decode("utf-8")
    return plain_cell("".join(letter if letter.isprintable() else "?" for letter in text))


def _write(
    out: Path,
    clips: list[tuple[str, str, ImportedClip]],
    skipped: list[tuple[str, str]],
    given: dict[str, Description],
    fps: float,
    licence: str,
) -> None:
    """Write the folder, each file in one step."""
    counts = np.array([len(clip.poses) for _, _, clip in clips], np.int32)
    arrays: dict[str, Any] = {
        "poses": np.concatenate([clip.poses for _, _, clip in clips]),
        "trans": np.concatenate([clip.trans for _, _, clip in clips]),
        "clip_start": (np.cumsum(counts) - counts).astype(np.int32),
        "clip_len": counts,
        "clip_id": np.array([clip_id for _, clip_id, _ in clips]),
        "label": np.array([describe(file, given).label for file, _, _ in clips]),
        "joint_names": np.array(JOINT_NAMES),
        "parents": np.array(PARENTS, np.int32),
        "rest_joints": REST_JOINTS,
        "fps": np.float32(fps),
    }
    with atomic_file(out / "clips.npz") as file:
        np.savez_compressed(file, **arrays)
    rows: list[tuple] = [_COLUMNS]
    for name, clip_id, clip in clips:
        text = describe(name, given)
        kind = "AMASS" if name.lower().endswith(".npz") else "BVH"
        terms = licence or (_AMASS_TERMS if kind == "AMASS" else "")
        rows.append(
            (
                clip_id, name, clip.start, len(clip.poses), f"{fps:g}", text.label, "|".join(text.captions),
                kind, terms,
            )
        )  # fmt: skip
    write_atomic(out / "clips.csv", _csv(rows))
    if skipped:
        write_atomic(out / "skipped.csv", _csv([("file", "reason"), *skipped]))
    else:
        (out / "skipped.csv").unlink(missing_ok=True)


def _csv(rows: list[tuple]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(
        [plain_cell(cell) if isinstance(cell, str) else cell for cell in row] for row in rows
    )
    return text.getvalue().encode("utf-8", "backslashreplace")


def main(arguments: list[str] | None = None) -> int:
    """Import a folder; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m avatar_core.priors.import_motions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", type=Path, help="folder of motion capture")
    parser.add_argument("--out", type=Path, required=True, help="folder that receives clips.npz and clips.csv")
    parser.add_argument("--kind", choices=sorted(KINDS), default="auto", help="which files to read (default: both)")
    parser.add_argument("--captions", type=Path, help="CSV file, or folder of texts")
    parser.add_argument("--fps", type=float, default=FPS, help="frames a second of the clips; the priors read 30 only")
    parser.add_argument("--licence", default="", help="terms of the source files, for clips.csv")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if not 1 <= options.fps <= 240:
        parser.error("--fps must lie between 1 and 240")
    if options.fps != FPS:
        log.warning("the priors are trained on %d frames a second, and refuse a folder of %g", FPS, options.fps)
    try:
        summary = import_motions(
            options.source, options.out,
            kind=options.kind, captions=options.captions, fps=options.fps, licence=options.licence,
        )  # fmt: skip
    except MotionDataError as error:
        log.error("%s", error)
        return 2
    log.info(
        "%d of %d files used: %d clips, %d frames (%.1f minutes) in %s%s",
        summary.used, summary.files, summary.clips, summary.frames, summary.frames / options.fps / 60, options.out,
        f"; {len(summary.skipped)} skipped, see skipped.csv" if summary.skipped else "",
    )  # fmt: skip
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
