"""Finished avatars where people look for them: LIBRARY/avatars/<id>/, from the export artifact in the store.

The page of an avatar's report is made here, so that avatars of earlier versions get it without being computed again.
"""

import contextlib
import logging
import os
import shutil
from pathlib import Path

from avatar_core.errors import ArtifactError, CatalogError
from avatar_core.storage import ArtifactRef, ArtifactStore, Location
from avatar_core.storage.paths import fsync_path, remove_tree, sync_tree, temp_name
from avatar_core.storage.refs import MARKER_NAME, file_digest

FOLDER = "avatars"
MAX_ID = 200
"""Characters of the longest name of a folder; catalogs give shorter ones."""
EXPORTED = (
    "avatar.glb",
    "avatar.ply",
    "preview.png",
    "turntable.mp4",
    "motion.mp4",
    "motion.webp",
    "optimisation.mp4",
    "learning.png",
    "features.safetensors",
    "report.json",
)
"""The files of an export artifact, as `avatar_core.stages.export` lists them."""
REPORT, PAGE = "report.json", "report.html"
FILES = (*EXPORTED, PAGE)
"""The files of a finished avatar."""
PAGE_HEAD = 256
"""Bytes at the beginning of a page that tell what it was made from."""

logger = logging.getLogger(__name__)


def is_folder_name(avatar_id: str) -> bool:
    """Tell whether an id can be the name of one folder; a manifest may hold anything."""
    return avatar_id not in ("", ".", "..") and len(avatar_id) <= MAX_ID and not set(avatar_id) & set("/\\\0")


def delivered_uri(avatar_id: str) -> str:
    """Return the avatar's folder, relative to the library.

    Raises CatalogError for an id that could lead elsewhere.
    """
    if not is_folder_name(avatar_id):
        raise CatalogError(f"{avatar_id[:MAX_ID]!r} is no id of an avatar; `avatars status` lists the library's.")
    return f"{FOLDER}/{avatar_id}"


def deliver(store: ArtifactStore, ref: ArtifactRef, avatar_id: str) -> bool:
    """Put the files of an export artifact into the avatar's folder, unless they are there; return whether it did.

    On a local disk the folder appears in one step, and its files are hard links to the store where the disk allows
    that, so that they take no space twice. Where only the report's page is missing or of an earlier version, that alone
    is written. Raises ArtifactError when the artifact cannot be read.
    """
    source = store.fetch(ref)
    files = [path for path in sorted(source.iterdir()) if path.is_file() and path.name != MARKER_NAME]
    if not store.library.is_local:
        return _deliver_remote(store.library, files, avatar_id)
    target = store.library.path(delivered_uri(avatar_id))
    if target.is_dir() and _holds(target, files):
        return write_page(store.library, avatar_id)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / temp_name()
    temporary.mkdir()
    try:
        for path in files:
            _link(path, temporary / path.name)
        if (temporary / REPORT).is_file():
            sizes = {path.name: path.stat().st_size for path in files}
            page = _rendered(avatar_id, (temporary / REPORT).read_bytes(), sizes)
            if page is not None:
                (temporary / PAGE).write_bytes(page)
        sync_tree(temporary)
        remove_tree(target, store.library.path(FOLDER))
        os.replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    fsync_path(target.parent)
    return True


def write_page(library: Location, avatar_id: str) -> bool:
    """Write the page of a delivered avatar's report, unless it is up to date; return whether it did.

    A report that cannot be read gets no page, and the log says why.
    """
    folder = library.child(delivered_uri(avatar_id))
    try:
        report = folder.read(REPORT)
    except FileNotFoundError:
        return False
    if _is_current(folder, report):
        return False
    page = _rendered(avatar_id, report, folder.files())
    if page is not None:
        folder.write(PAGE, page)
    return page is not None


def _is_current(folder: Location, report: bytes) -> bool:
    """Whether the folder's page was made from this report, by this version of the page."""
    from avatar_core.reports.avatar_page import marker

    try:
        if folder.is_local:
            with open(folder.path(PAGE), "rb") as file:
                head = file.read(PAGE_HEAD)
        else:
            head = folder.read(PAGE)[:PAGE_HEAD]
    except FileNotFoundError:
        return False
    return marker(report).encode() in head


def _rendered(avatar_id: str, report: bytes, files: dict[str, int]) -> bytes | None:
    """The page of a report, with the names and sizes of the files beside it; None where it cannot be read."""
    from avatar_core.reports.avatar_page import avatar_page

    try:
        return avatar_page(avatar_id, report, files).encode()
    except ArtifactError as error:
        logger.warning("%s gets no page of its report: %s", avatar_id, error)
        return None


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
        relative = f"{delivered_uri(avatar_id)}/{path.name}"
        if library.size(relative) != path.stat().st_size:
            library.upload(path, relative)
            changed = True
    return write_page(library, avatar_id) or changed
