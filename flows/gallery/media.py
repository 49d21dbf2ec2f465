"""Files of finished avatars for a browser: those that an avatar's folder has by contract, and no path beside them."""

import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from avatar_core.errors import CatalogError
from avatar_core.storage import Location, cache_root
from avatar_core.storage.cache import FetchCache
from flows.delivery import FILES, delivered_uri, is_folder_name

TYPES: Mapping[str, str] = {
    ".glb": "model/gltf-binary",
    ".ply": "application/octet-stream",
    ".png": "image/png",
    ".webp": "image/webp",
    ".mp4": "video/mp4",
    ".json": "application/json",
    ".html": "text/html; charset=utf-8",
    ".safetensors": "application/octet-stream",
}
"""What each kind of file is sent as, whatever is in it."""

BUDGET = 2 * 2**30
"""Bytes that copies of remote files may take on this machine."""


class MissingFileError(CatalogError):
    """A file that an avatar does not have."""


class Media:
    """The files of one library's avatars, on this machine's disk."""

    def __init__(self, library: Location, folder: Path | None = None) -> None:
        """Keep copies of remote files in `folder`; default: the cache of this machine."""
        self._library = library
        self._cache = FetchCache(folder or cache_root() / "gallery" / "files", BUDGET)

    def files(self, avatar_id: str) -> dict[str, int]:
        """Return the names and sizes in bytes of an avatar's files, in the order of FILES."""
        if not is_folder_name(avatar_id):
            return {}
        found = self._library.files(delivered_uri(avatar_id))
        return {name: found[name] for name in FILES if name in found}

    def path(self, avatar_id: str, name: str) -> Path:
        """Return where a file of an avatar of the manifest lies on this machine, having fetched it if need be.

        Raises MissingFileError for a name that is none of FILES, a file that is not there, and one that a link leads
        to from outside of the library.
        """
        if name not in FILES or not is_folder_name(avatar_id):
            raise MissingFileError(f"Avatars have no file {name!r}.")
        relative = _relative(avatar_id, name)
        try:
            return self._local(relative) if self._library.is_local else self._fetched(relative)
        except (FileNotFoundError, NotADirectoryError):
            raise MissingFileError(f"{avatar_id} has no {name}.") from None

    def read(self, avatar_id: str, name: str, limit: int) -> bytes:
        """Return a file of at most `limit` bytes; raises MissingFileError as `path` does, and for more."""
        if self._library.is_local:
            path = self.path(avatar_id, name)
            size = path.stat().st_size
        else:
            size = self.files(avatar_id).get(name, -1)
        if not 0 <= size <= limit:
            raise MissingFileError(f"{avatar_id} has no {name} of at most {limit:,} bytes.")
        return path.read_bytes() if self._library.is_local else self._library.read(_relative(avatar_id, name))

    def _local(self, relative: str) -> Path:
        path = self._library.path(relative).resolve(strict=True)
        inside = path.is_relative_to(self._library.path().resolve())
        if not inside or not stat.S_ISREG(os.stat(path).st_mode):
            raise FileNotFoundError(relative)
        return path

    def _fetched(self, relative: str) -> Path:
        size, modified = self._library.size(relative), self._library.modified(relative)
        if size is None:
            raise FileNotFoundError(relative)
        digest = hashlib.sha256(f"{self._library.url}\n{relative}\n{size}\n{modified}".encode()).hexdigest()
        name = relative.rpartition("/")[2]
        folder = self._cache.get(digest) or self._cache.add(
            digest, lambda temporary: self._library.download(relative, temporary / name)
        )
        return folder / name


def _relative(avatar_id: str, name: str) -> str:
    return f"{delivered_uri(avatar_id)}/{name}"


def content_type(name: str) -> str:
    """Return the media type of one of FILES."""
    return TYPES[Path(name).suffix]
