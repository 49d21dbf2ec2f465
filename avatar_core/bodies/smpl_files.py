"""Finds the model files in what a user downloaded: a file, a folder or a zip, of which nothing is unpacked to disk."""

from __future__ import annotations

import os
import re
import stat
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from avatar_core.errors import WeightsError
from avatar_core.storage.npz import UNREADABLE

SUFFIXES = (".npz", ".pkl")
"""Of models; where a model is there as both, the first is read."""
FILE_BYTES = 1 << 30
"""Size of the largest file that is read, unpacked."""
ENTRIES = 20_000
"""Of an archive or a folder, at most."""
SQUEEZED = 100
"""How many times smaller than its content a file in an archive may be: models shrink to a third, bombs by far more."""
_GENDERS = {"neutral": "neutral", "female": "female", "male": "male"}
_LETTERS = {"n": "neutral", "f": "female", "m": "male"}
_WORD = re.compile(r"[a-z]+")


@dataclass(frozen=True)
class ModelFile:
    """One file that may hold a model."""

    name: str
    """Its path from the folder on or in the archive; that of a file alone has its folder's name."""
    read: Callable[[], bytes]
    place: Path | None = None
    """Where it lies; None inside an archive."""

    @property
    def content(self) -> bytes:
        """What it holds, read anew each time; raises WeightsError when it cannot be read."""
        return self.read()

    @property
    def gender(self) -> str | None:
        """The gender that its name, or else the folder's, says: SMPLX_FEMALE.npz, basicmodel_m_lbs.pkl, male/a.npz."""
        return gender_of(self.name)


def gender_of(name: str) -> str | None:
    """Return the gender that a path says, the last part first; None where it says none."""
    *folders, file = PurePosixPath(name.lower()).parts
    for part, known in ((file, _GENDERS | _LETTERS), *((folder, _GENDERS) for folder in reversed(folders))):
        said = {known[word] for word in _WORD.findall(part) if word in known}
        if len(said) == 1:
            return said.pop()
    return None


def model_files(path: Path, suffixes: tuple[str, ...] = SUFFIXES) -> Iterator[ModelFile]:
    """Yield the files of a download that may hold models, one at a time, in the order of `suffixes`.

    Raises WeightsError for a path that is not there, and for archives and folders that are not safe to read: paths that
    lead out of them, links, and files that are too large.
    """
    path = path.absolute()
    if path.is_dir():
        yield from _of_folder(path, suffixes)
    elif not path.is_file():
        raise WeightsError(
            f"{path}: there is no such file or folder; give the download of a model: a zip, folder, "
            f"{' or '.join(suffixes)}"
        )
    elif path.suffix.lower() == ".zip":
        yield from _of_zip(path, suffixes)
    elif path.suffix.lower() in suffixes:
        yield ModelFile(f"{path.parent.name}/{path.name}", partial(_read, path), path)
    else:
        raise WeightsError(f"{path} is no zip, folder, {' or '.join(suffixes)}; give the download of a model")


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > FILE_BYTES:
            raise WeightsError(f"{path} takes more than {FILE_BYTES >> 20} MiB: no model does")
        return path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror}); check its permissions") from error


def _of_folder(folder: Path, suffixes: tuple[str, ...]) -> Iterator[ModelFile]:
    found: list[Path] = []
    for parent, _, names in os.walk(folder):
        found += [Path(parent) / name for name in names if Path(name).suffix.lower() in suffixes]
        if len(found) > ENTRIES:
            raise WeightsError(f"{folder} holds more than {ENTRIES} files; give the folder of the models alone")
    for path in sorted(found, key=lambda path: _order(path, suffixes)):
        name = path.relative_to(folder.parent).as_posix()
        if path.is_symlink():
            raise WeightsError(f"{folder}: {name} is a link, which is not followed; give the file that it leads to")
        yield ModelFile(name, partial(_read, path), path)


def _order(path: Path | PurePosixPath, suffixes: tuple[str, ...]) -> tuple[int, str]:
    return suffixes.index(path.suffix.lower()), str(path)


def _of_zip(path: Path, suffixes: tuple[str, ...]) -> Iterator[ModelFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if len(entries) > ENTRIES:
                raise WeightsError(f"{path} holds more than {ENTRIES} files; it is no download of a model")
            for entry in entries:
                _check_entry(path, entry)
            if sum(entry.compress_size for entry in entries) > path.stat().st_size:
                raise WeightsError(f"{path}: its files lie over each other, as in a bomb; it is refused")
            models = {
                PurePosixPath(entry.filename): entry
                for entry in entries
                if PurePosixPath(entry.filename).suffix.lower() in suffixes and not _hidden(entry.filename)
            }
            for name in sorted(models, key=lambda path: _order(path, suffixes)):
                yield ModelFile(str(name), partial(_unpacked, path, models[name]))
    except UNREADABLE as error:
        raise _unreadable(path, error) from error


def _unpacked(path: Path, entry: zipfile.ZipInfo) -> bytes:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(entry)
    except UNREADABLE as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> WeightsError:
    return WeightsError(f"{path}: not a readable zip ({error}); download it again, or unpack it yourself")


def _hidden(name: str) -> bool:
    """Whether a file is what macOS leaves beside the real one."""
    return any(part == "__MACOSX" or part.startswith("._") for part in PurePosixPath(name).parts)


def _check_entry(path: Path, entry: zipfile.ZipInfo) -> None:
    """Raise WeightsError for an entry that an honest download does not have."""
    name = entry.orig_filename
    if name.startswith(("/", "\\")) or "\\" in name or ":" in name or "\0" in name or ".." in name.split("/"):
        raise WeightsError(f"{path}: {name!r} leads out of the archive; it is refused. Download it from its own page")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise WeightsError(f"{path}: {name!r} is a link; it is refused. Download it from its own page")
    if entry.file_size > FILE_BYTES:
        raise WeightsError(f"{path}: {name!r} unpacks to more than {FILE_BYTES >> 20} MiB, which no model does")
    if entry.file_size > SQUEEZED * max(entry.compress_size, 1 << 10):
        raise WeightsError(f"{path}: {name!r} unpacks to {entry.file_size >> 20} MiB from next to nothing: refused")
