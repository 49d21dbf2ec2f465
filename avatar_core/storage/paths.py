"""Durable writes on a local disk: a temporary neighbour, fsync, an atomic rename, and fsync of the folder."""

import contextlib
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

TEMP_PREFIX = "_tmp-"
"""Prefix of everything unfinished; readers of the store and of the manifest skip names that begin with
`_`.
"""


def cache_root() -> Path:
    """Return the folder for files that can be fetched or computed again: `AVATARS_CACHE`, else under
    `~/.cache`.
    """
    override = os.environ.get("AVATARS_CACHE")
    return Path(override).expanduser() if override else Path.home() / ".cache" / "avatar-foundry"


def temp_name(suffix: str = "") -> str:
    """Return a unique name for an unfinished file or folder, ending in `suffix`."""
    return f"{TEMP_PREFIX}{uuid.uuid4().hex}{suffix}"


def fsync_path(path: Path) -> None:
    """Force a file's data, or a folder's entries, to the disk."""
    if os.name == "nt" and path.is_dir():  # Windows keeps folder entries durable itself and cannot open a folder
        return
    flags = os.O_RDWR if os.name == "nt" else os.O_RDONLY
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a binary file that takes the place of `path` when the block ends well, and vanishes when it
    does not.

    A reader sees the old content or the whole new one, also after a crash or a power cut.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / temp_name(path.suffix)
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_path(path.parent)


def write_atomic(path: Path, data: bytes) -> None:
    """Write `data` to `path` as `atomic_file` does, creating the parent folders."""
    with atomic_file(path) as file:
        file.write(data)


def sync_tree(folder: Path) -> None:
    """Force every file and folder under `folder`, and itself, to the disk."""
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            fsync_path(Path(parent) / name)
        fsync_path(Path(parent))


def remove_tree(folder: Path, trash: Path) -> None:
    """Delete a folder that others may be looking for: moved into `trash` in one step, then deleted there.

    Does nothing if the folder is gone already. `trash` must be on the same file system.
    """
    trash.mkdir(parents=True, exist_ok=True)
    target = trash / temp_name()
    try:
        os.replace(folder, target)
    except FileNotFoundError:
        return
    shutil.rmtree(target, ignore_errors=True)


def remove_stale(folder: Path, older_than: float) -> int:
    """Delete the unfinished files and folders in `folder` that nobody touched for `older_than` seconds.

    Returns the number deleted. These are what killed runs leave behind; live ones are younger.
    """
    stale = stale_entries(folder, time.time() - older_than)
    for entry in stale:
        remove_entry(entry)
    return len(stale)


def stale_entries(folder: Path, before: float) -> list[Path]:
    """Return the unfinished files and folders in `folder` that nobody touched since `before`, in seconds since the
    epoch.
    """
    if not folder.is_dir():
        return []
    return [entry for entry in folder.iterdir() if entry.name.startswith(TEMP_PREFIX) and _newest(entry) < before]


def remove_entry(entry: Path) -> None:
    """Delete a file, a link (never what it points to) or a folder, as far as that is possible."""
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry, ignore_errors=True)
    else:
        entry.unlink(missing_ok=True)


def _newest(entry: Path) -> float:
    """Return the latest modification time in a file or tree, in seconds since the epoch; infinity if it
    just went.
    """
    try:
        newest = entry.lstat().st_mtime
        if entry.is_dir() and not entry.is_symlink():
            newest = max([newest, *(path.lstat().st_mtime for path in entry.rglob("*"))])
    except FileNotFoundError:
        return float("inf")
    return newest
