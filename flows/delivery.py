"""Finished avatars where people look for them: LIBRARY/avatars/<id>/, from the export artifact in the store."""

import contextlib
import os
import shutil
from pathlib import Path

from avatar_core.storage import ArtifactRef, ArtifactStore, Location
from avatar_core.storage.paths import fsync_path, remove_tree, sync_tree, temp_name
from avatar_core.storage.refs import MARKER_NAME, file_digest

FOLDER = "avatars"
FILES = (
    "avatar.glb",
    "avatar.ply",
    "preview.png",
    "turntable.mp4",
    "motion.mp4",
    "optimisation.mp4",
    "learning.png",
    "report.json",
)


def delivered_uri(avatar_id: str) -> str:
    """Return the avatar's folder, relative to the library."""
    return f"{FOLDER}/{avatar_id}"


def deliver(store: ArtifactStore, ref: ArtifactRef, avatar_id: str) -> bool:
    """Put the files of an export artifact into the avatar's folder, unless they are there; return whether it did.

    On a local disk the folder appears in one step, and its files are hard links to the store where the disk allows
    that, so that they take no space twice. Raises ArtifactError when the artifact cannot be read.
    """
    source = store.fetch(ref)
    files = [path for path in sorted(source.iterdir()) if path.is_file() and path.name != MARKER_NAME]
    if not store.library.is_local:
        return _deliver_remote(store.library, files, avatar_id)
    target = store.library.path(FOLDER, avatar_id)
    if target.is_dir() and _holds(target, files):
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / temp_name()
    temporary.mkdir()
    try:
        for path in files:
            _link(path, temporary / path.name)
        sync_tree(temporary)
        remove_tree(target, store.library.path(FOLDER))
        os.replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    fsync_path(target.parent)
    return True


def _holds(folder: Path, files: list[Path]) -> bool:
    """Return whether `folder` has the same files with the same content."""
    return all(_same(path, folder / path.name) for path in files)


def _same(one: Path, other: Path) -> bool:
    if not other.is_file():
        return False
    if one.samefile(other):
        return True
    return one.stat().st_size == other.stat().st_size and file_digest(one) == file_digest(other)


def _link(source: Path, target: Path) -> None:
    with contextlib.suppress(OSError):
        os.link(source, target)
        return
    shutil.copyfile(source, target)


def _deliver_remote(library: Location, files: list[Path], avatar_id: str) -> bool:
    changed = False
    for path in files:
        relative = f"{FOLDER}/{avatar_id}/{path.name}"
        if library.size(relative) != path.stat().st_size:
            library.upload(path, relative)
            changed = True
    return changed
