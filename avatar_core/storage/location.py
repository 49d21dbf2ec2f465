"""One folder, on a local disk or behind any fsspec URL, with the few operations that store and manifest need.

Local writes go through a temporary file and a rename (fsspec's own local writes are in place, hence not
atomic). Elsewhere a write is one PUT (or one multipart upload), which object stores make visible as a whole or not at
all; nothing is ever renamed there, passing trouble is waited out, and what remains is raised as StorageError.
"""

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import fsspec
from fsspec.implementations.local import LocalFileSystem

from avatar_core.errors import ConfigError
from avatar_core.storage.backoff import BackOff
from avatar_core.storage.failures import storage_error
from avatar_core.storage.paths import TEMP_PREFIX, atomic_file, write_atomic

Result = TypeVar("Result")

_MODIFIED_FIELDS = ("mtime", "LastModified", "last_modified", "updated", "created")
"""Where the file systems keep a file's time of modification, in order of trust."""


@dataclass(frozen=True)
class StoredFile:
    """A file below a folder."""

    bytes: int
    modified: float
    """When it was last written, by the clock of the place, in seconds since the epoch."""


@dataclass(frozen=True)
class Location:
    """A folder that may not exist yet; `relative` arguments are `/`-separated paths below it."""

    url: str
    """As the user wrote it, for messages."""
    fs: Any
    """The fsspec file system."""
    root: str
    """The folder as the file system names it."""
    backoff: BackOff = field(default_factory=BackOff)
    """How operations are repeated that fail for a passing reason; not used on a local disk."""

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
        return self.remotely(self.fs.cat_file, self.full(relative))

    def write(self, relative: str, data: bytes) -> None:
        """Create or replace a file in one visible step."""
        if self.is_local:
            write_atomic(self.path(relative), data)
            return
        self.put(relative, data)

    def put(self, relative: str, data: bytes, **conditions: Any) -> None:
        """Write to a remote place under conditions of its file system's own, such as `mode="create"`.

        Raises what the file system raises when they do not hold (`failures.is_lost_race`).
        """

        def put(target: str) -> None:
            self.fs.pipe_file(target, data, **conditions)

        self._put(relative, put)

    def upload(self, source: Path, relative: str) -> None:
        """Copy a local file to `relative` in one visible step."""
        if self.is_local:
            with open(source, "rb") as reader, atomic_file(self.path(relative)) as writer:
                shutil.copyfileobj(reader, writer)
            return

        def upload(target: str) -> None:
            self.fs.put_file(str(source), target)

        self._put(relative, upload)

    def download(self, relative: str, target: Path) -> None:
        """Copy a file to the local path `target`; raises FileNotFoundError."""
        target.parent.mkdir(parents=True, exist_ok=True)
        if self.is_local:
            shutil.copyfile(self.path(relative), target)
            return
        self.remotely(self.fs.get_file, self.full(relative), str(target))

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
            return int(self._info(relative)["size"])
        except FileNotFoundError:
            return None

    def modified(self, relative: str) -> float | None:
        """Return when a file was last written, by the clock of the place, in seconds since the epoch; None if it does
        not exist.
        """
        try:
            if self.is_local:
                return self.path(relative).lstat().st_mtime
            return self._modified(self.full(relative), self._info(relative))
        except FileNotFoundError:
            return None

    def tree(self, relative: str = "") -> dict[str, StoredFile]:
        """Return all files below a folder by their `/`-separated names relative to it; links are left out and not
        followed.
        """
        target = self.full(relative) if relative else self.root
        if self.is_local:
            return dict(_local_tree(Path(target)))
        self.fs.invalidate_cache(target)
        found = self.remotely(self.fs.find, target, detail=True)
        return {
            full.removeprefix(target).lstrip("/"): StoredFile(int(info["size"] or 0), self._modified(full, info))
            for full, info in found.items()
            if info["type"] == "file"
        }

    def remove(self, relative: str) -> None:
        """Delete a file, if it exists."""
        try:
            if self.is_local:
                self.path(relative).unlink(missing_ok=True)
            else:
                self.remotely(self.fs.rm_file, self.full(relative))
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
                self.remotely(self.fs.rm, target, recursive=True)
        except FileNotFoundError:
            return

    def remotely(self, operation: Callable[..., Result], *arguments: Any, **options: Any) -> Result:
        """Return what an operation of the remote file system returns, repeated while it fails for a passing reason.

        Raises StorageError, which says what to do, where the place is to blame, and what the operation raises else.
        """
        name = getattr(operation, "__name__", type(operation).__name__).strip("_")
        try:
            return self.backoff.call(f"{name} at {self.url}", lambda: operation(*arguments, **options))
        except Exception as error:
            explained = storage_error(error, self.url)
            if explained is None:
                raise
            raise explained from error

    def _put(self, relative: str, put: Callable[[str], Any]) -> None:
        target = self.full(relative)
        try:
            self.remotely(put, target)
        except FileNotFoundError:  # a file system with real folders, such as SFTP; object stores have none
            top = "/" * target.startswith("/") + target.strip("/").split("/")[0]
            if not self.remotely(self.fs.exists, top):  # most likely misspelt: never create one
                raise
            self.remotely(self.fs.makedirs, target.rsplit("/", 1)[0], exist_ok=True)
            self.remotely(put, target)
        self.fs.invalidate_cache(target)

    def _info(self, relative: str) -> dict[str, Any]:
        self.fs.invalidate_cache(self.full(relative))
        return self.remotely(self.fs.info, self.full(relative))

    def _modified(self, full: str, info: dict[str, Any]) -> float:
        value = next((info[name] for name in _MODIFIED_FIELDS if info.get(name)), None)
        if value is None:
            value = self.remotely(self.fs.modified, full)
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        if isinstance(value, datetime):
            return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
        return float(value)

    def _entries(self, relative: str) -> dict[str, tuple[str, int]]:
        target = self.full(relative) if relative else self.root
        self.fs.invalidate_cache(target)
        try:
            if self.is_local:
                listing = self.fs.ls(target, detail=True)
            else:
                listing = self.remotely(self.fs.ls, target, detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return {}
        entries = {}
        for entry in listing:
            full = str(entry["name"]).rstrip("/")
            name = PurePosixPath(full).name
            if full != target.rstrip("/") and not name.startswith(TEMP_PREFIX):
                entries[name] = (entry["type"], int(entry.get("size") or 0))
        return entries


def open_location(url: str | os.PathLike[str], backoff: BackOff | None = None) -> Location:
    """Return the folder at a local path or fsspec URL, without creating it.

    `backoff` says how remote operations are repeated that fail for a passing reason. Raises ConfigError if the URL's
    scheme is unknown or its file system is not installed.
    """
    text = os.fspath(url)
    if not text:
        raise ConfigError("The library location is empty: give a folder or an fsspec URL such as s3://bucket/library.")
    if "\0" in text:
        raise ConfigError(f"{text!r} is neither a folder nor a usable fsspec URL: it holds a null character.")
    try:
        if "://" in text or "::" in text:
            fs, root = fsspec.core.url_to_fs(text)
        else:
            fs, root = LocalFileSystem(), Path(text).expanduser().absolute().as_posix()
    except ImportError as error:
        raise ConfigError(f"{text} needs a package that is not installed: {error}") from error
    except Exception as error:  # each file system checks its part of a URL in its own way
        raise ConfigError(f"{text} is neither a folder nor a usable fsspec URL: {error}") from error
    return Location(url=text, fs=fs, root=str(root), backoff=backoff or BackOff())


def _local_tree(top: Path) -> Iterator[tuple[str, StoredFile]]:
    for parent, _, names in os.walk(top):
        for path in (Path(parent, name) for name in names):
            try:
                status = path.lstat()
            except FileNotFoundError:  # deleted by another process since it was listed
                continue
            if stat.S_ISREG(status.st_mode):
                yield path.relative_to(top).as_posix(), StoredFile(status.st_size, status.st_mtime)
