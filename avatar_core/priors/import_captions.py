"""Labels and captions of a user's own motion files."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from avatar_core.priors.motion_data import MotionDataError
from avatar_core.tables import FORMULA

INDEX = "index.csv"
"""HumanML3D's table of the AMASS files that its texts are of."""
_MAX_BYTES = 1 << 26
_INDEX_COLUMNS, _INDEX_ROOT = ("source_path", "new_name"), "pose_data"
_FORMULA = "".join(FORMULA) + " "
_COLUMNS = ("file", "label", "captions")
_SUFFIXES = re.compile(r"[ _-]*(poses|stageii|stagei)$", re.IGNORECASE)


@dataclass(frozen=True)
class Description:
    """What a file shows.

    label: the action, in few words; captions: sentences on it, at least one.
    """

    label: str
    captions: tuple[str, ...]


def label_from_name(file: str) -> str:
    """Make a label of a file's name: "KickHigh_01.bvh" becomes "kick high"; a name without words, "motion"."""
    stem = _SUFFIXES.sub("", PurePosixPath(file).stem)
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", stem)
    words = re.findall(r"[^\W\d_]+", spaced.lower())
    return " ".join(words) or "motion"


def describe(file: str, given: dict[str, Description]) -> Description:
    """Return the description of `file`, a path inside the source folder, out of `given` or else from its name."""
    path = PurePosixPath(file)
    for key in (file, str(path.with_suffix("")), path.name, path.stem):
        if key in given:
            return given[key]
    label = label_from_name(file)
    return Description(label, (label,))


def unmatched(given: dict[str, Description], files: Sequence[str]) -> list[str]:
    """Return the keys of `given` that describe none of `files`."""
    paths = [PurePosixPath(file) for file in files]
    known = {key for path in paths for key in (str(path), str(path.with_suffix("")), path.name, path.stem)}
    return [key for key in given if key not in known]


def read_captions(source: Path) -> dict[str, Description]:
    """Read descriptions by file from a CSV, from a folder of texts as HumanML3D has them, or from HumanML3D itself.

    The CSV has the columns file, label and captions, the last separated by |; file is a path inside the source folder,
    with or without its suffix, or the name alone. A text file is named like the motion's; each line is a caption, up to
    a # where tokens and a time span follow. Captions of a part of the motion are left out if others are there. Where an
    index.csv lies beside the texts, it says which AMASS file each is of: several of one file are put together.
    Raises MotionDataError when it cannot be read.
    """
    if source.is_dir():
        texts = sorted(path for path in source.rglob("*.txt") if path.is_file() and not path.is_symlink())
        if not texts:
            raise MotionDataError(f"{source}: holds no .txt files; give the folder of texts or a CSV file")
        if (source / INDEX).is_file():
            return _read_index(source / INDEX, texts)
        keys = [path.relative_to(source).with_suffix("").as_posix() for path in texts]
        return {key: _read_text(path, key) for key, path in zip(keys, texts)}
    try:
        rows = list(csv.DictReader(io.StringIO(_read(source), newline="")))
    except csv.Error as error:
        raise MotionDataError(f"{source}: no readable table ({error}); save it as CSV again") from error
    missing = [name for name in _COLUMNS if rows and name not in rows[0]]
    if missing or not rows:
        raise MotionDataError(f"{source}: lacks {', '.join(missing) or 'rows'}; its columns are file, label, captions")
    found = {}
    for number, row in enumerate(rows, start=2):
        file, label = (row["file"] or "").strip().replace("\\", "/"), (row["label"] or "").strip().lstrip(_FORMULA)
        if not file:
            raise MotionDataError(f"{source}: line {number}: no file; name a motion file of the folder")
        label = label or label_from_name(file)
        found[str(PurePosixPath(file))] = Description(label, _clean((row["captions"] or "").split("|")) or (label,))
    return found


def _read_index(index: Path, texts: Sequence[Path]) -> dict[str, Description]:
    """Descriptions by AMASS file, as its path is inside AMASS without its suffix."""
    rows = list(csv.DictReader(io.StringIO(_read(index), newline="")))
    missing = [name for name in _INDEX_COLUMNS if not rows or name not in rows[0]]
    if missing:
        raise MotionDataError(f"{index}: lacks {', '.join(missing)}; give HumanML3D's own folder")
    by_name = {path.stem: path for path in texts}
    captions: dict[str, list[str]] = {}
    for row in rows:
        parts = PurePosixPath(row["source_path"] or "").with_suffix("").parts
        text = by_name.get(PurePosixPath(row["new_name"] or "").stem)
        if text is not None and parts:
            key = PurePosixPath(*(part for part in parts if part != _INDEX_ROOT)).as_posix()
            captions.setdefault(key, []).extend(_read_text(text, key).captions)
    return {key: Description(label_from_name(key), tuple(dict.fromkeys(found))) for key, found in captions.items()}


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise MotionDataError(f"{path}: larger than {_MAX_BYTES >> 20} MiB; give a smaller file")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise MotionDataError(
            f"{path}: cannot be read ({error.strerror}); give a CSV file or a folder of texts"
        ) from error
    except UnicodeDecodeError as error:
        raise MotionDataError(f"{path}: not UTF-8 text ({error}); save it as UTF-8") from error


def _read_text(path: Path, key: str) -> Description:
    whole: list[str] = []
    parts: list[str] = []
    for line in _read(path).splitlines():
        caption, *rest = line.split("#")
        span = rest[1:3] if len(rest) >= 3 else []
        (whole if not any(_number(value) for value in span) else parts).append(caption)
    label = label_from_name(key)
    return Description(label, _clean(whole) or _clean(parts) or (label,))


def _number(text: str) -> float:
    """Return the number in `text`; 0 for none and for HumanML3D's "nan"."""
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if value == value else 0.0


def _clean(captions: Sequence[str]) -> tuple[str, ...]:
    """Return captions on one line each, without the separator and what begins a formula, without empty ones."""
    bare = (" ".join(caption.replace("|", " ").split()).lstrip(_FORMULA) for caption in captions)
    return tuple(caption for caption in bare if caption)
