"""One folder, on a local disk or behind any fsspec URL, with the few operations that store and manifest need.

Local writes go through a temporary file and a rename (fsspec's own local writes are in place, hence not
atomic). Elsewhere a write is one PUT, which object stores make visible as a whole or not at all.
"""

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from avatar_core.errors import ConfigError
from avatar_core.storage.paths import TEMP_PREFIX, atomic_file, write_atomic


@dataclass(frozen=True)
class Location:
    """A folder that may not exist yet; `relative` arguments are `/`-separated paths below it."""

    url: str
    """As the user wrote it, for messages."""
    fs: Any
    """The fsspec file system."""
    root: str
    """The folder as the file system names it."""

    @property
    def is_local(self) -> bool:
        """Whether this is a folder on this machine's disks."""
        return isinstance(self.fs, LocalFileSystem)

    def child(self, *parts: str) -> "Location":
        """Return the folder `parts` below this one."""
        return replace(self, url="/".join([self.url.rstrip("/"), *parts]), root=self.full(*parts))

    def full(self, *parts: str) -> str:
        """Return the file system's own name of the path `parts` below this folder."""
        return "/".join([self.root.rstrip("/"), *parts])

    def path(self, *parts: str) -> Path:
        """Return the local path of `parts` below this folder; only for a local folder."""
        if not self.is_local:
            raise ValueError(f"{self.url} is not on a local disk")
        return Path(self.root, *parts)

    def read(self, relative: str) -> bytes:
        """Return a file's content; raises FileNotFoundError."""
        if self.is_local:
            return self.path(relative).read_bytes()
        return self.fs.cat_file(self.full(relative))

    def write(self, relative: str, data: bytes) -> None:
        """Create or replace a file in one visible step."""
        if self.is_local:
            write_atomic(self.path(relative), data)
            return
        self._put(relative, lambda target: self.fs.pipe_file(target, data))

    def upload(self, source: Path, relative: str) -> None:
        """Copy a local file to `relative` in one visible step."""
        if self.is_local:
            with open(source, "rb") as reader, atomic_file(self.path(relative)) as writer:
                shutil.copyfileobj(reader, writer)
            return
        self._put(relative, lambda target: self.fs.put_file(str(source), target))

    def download(self, relative: str, target: Path) -> None:
        """Copy a file to the local path `target`; raises FileNotFoundError."""
        target.parent.mkdir(parents=True, exist_ok=True)
        self.fs.get_file(self.full(relative), str(target))

    def files(self, relative: str = "") -> dict[str, int]:
        """Return the names and sizes in bytes of the files directly in a folder; empty if there is no such
        folder.

        Unfinished files are left out. Listings are never taken from fsspec's cache.
        """
        entries = self._entries(relative)
        return {name: size for name, (kind, size) in entries.items() if kind == "file"}

    def folders(self, relative: str = "") -> list[str]:
        """Return the sorted names of the folders directly in a folder; empty if there is no such folder."""
        return sorted(name for name, (kind, _) in self._entries(relative).items() if kind == "directory")

    def size(self, relative: str) -> int | None:
        """Return a file's size in bytes, or None if it does not exist."""
        try:
            if self.is_local:
                return self.path(relative).stat().st_size
            self.fs.invalidate_cache(self.full(relative))
            return int(self.fs.info(self.full(relative))["size"])
        except FileNotFoundError:
            return None

    def remove(self, relative: str) -> None:
        """Delete a file, if it exists."""
        try:
            if self.is_local:
                self.path(relative).unlink(missing_ok=True)
            else:
                self.fs.rm_file(self.full(relative))
        except FileNotFoundError:
            return

    def remove_folder(self, relative: str = "") -> None:
        """Delete a folder with everything in it, if it exists. Not atomic: `paths.remove_tree` is, on a
        local disk.
        """
        target = self.full(relative) if relative else self.root
        try:
            if self.is_local:
                shutil.rmtree(target)
            else:
                self.fs.invalidate_cache(target)
                self.fs.rm(target, recursive=True)
        except FileNotFoundError:
            return

    def _put(self, relative: str, put: Any) -> None:
        target = self.full(relative)
        try:
            put(target)
        except FileNotFoundError:  # a file system with real folders, such as SFTP; object stores have none
            top = "/" * target.startswith("/") + target.strip("/").split("/")[0]
            if not self.fs.exists(top):  # a bucket that does not exist, most likely misspelt: never create one
                raise
            self.fs.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
            put(target)
        self.fs.invalidate_cache(target)

    def _entries(self, relative: str) -> dict[str, tuple[str, int]]:
        target = self.full(relative) if relative else self.root
        self.fs.invalidate_cache(target)
        try:
            listing = self.fs.ls(target, detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return {}
        entries = {}
        for entry in listing:
            full = str(entry["name"]).rstrip("/")
            name = PurePosixPath(full).name
            if full != target.rstrip("/") and not name.startswith(TEMP_PREFIX):
                entries[name] = (entry["type"], int(entry.get("size") or 0))
        return entries


def open_location(url: str | os.PathLike[str]) -> Location:
    """Return the folder at a local path or fsspec URL, without creating it.

    Raises ConfigError if the URL's scheme is unknown or its file system is not installed.
    """
    text = os.fspath(url)
    if not text:
        raise ConfigError("The library location is empty: give a folder or an fsspec URL such as s3://bucket/library.")
    try:
        if "://" in text or "::" in text:
            fs, root = fsspec.core.url_to_fs(text)
        else:
            fs, root = LocalFileSystem(), Path(text).expanduser().absolute().as_posix()
    except ImportError as error:
        raise ConfigError(f"{text} needs a package that is not installed: {error}") from error
    except (ValueError, OSError) as error:
        raise ConfigError(f"{text} is neither a folder nor a usable fsspec URL: {error}") from error
    return Location(url=text, fs=fs, root=str(root))
