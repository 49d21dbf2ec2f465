"""What names an artifact (its reference) and what proves one (its marker file)."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from avatar_core.documents import read_json
from avatar_core.errors import ArtifactError
from avatar_core.storage.keys import canonical_json

MARKER_NAME = "artifact.json"
MARKER_FORMAT = 1

_STAGE = re.compile(r"[a-z][a-z0-9_]{0,63}")
_KEY = re.compile(r"[0-9a-f]{8,64}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


def check_names(stage: str, key: str) -> None:
    """Raise ArtifactError unless `stage` is a lower-case identifier and `key` a hexadecimal digest."""
    if not _STAGE.fullmatch(stage):
        raise ArtifactError(f"{stage!r} is no stage name: use lower-case letters, digits and underscores.")
    if not _KEY.fullmatch(key):
        raise ArtifactError(f"{key!r} is no stage key: use the hexadecimal digest that stage_key() returns.")


@dataclass(frozen=True)
class ArtifactRef:
    """A published result: small, JSON, and valid wherever the library is moved to."""

    stage: str
    key: str
    uri: str
    """Folder relative to the library, `/`-separated."""
    sha256: str
    """Digest of the files' names, sizes and digests; the same for equal content."""
    bytes: int
    """Size of the files together."""

    def to_json(self) -> dict[str, str | int]:
        """Return a JSON object of the fields."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "ArtifactRef":
        """Return the reference that `to_json` wrote; raises ArtifactError if fields are missing or
        malformed.
        """
        try:
            ref = cls(**{name: data[name] for name in ("stage", "key", "uri", "sha256", "bytes")})
        except (KeyError, TypeError) as error:
            raise ArtifactError(f"{data!r} is no artifact reference: {error}.") from error
        check_names(ref.stage, ref.key)
        return ref


@dataclass(frozen=True)
class FileEntry:
    """One file of an artifact."""

    path: str
    """Relative to the artifact, `/`-separated."""
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Marker:
    """The content of `artifact.json`: written last, it makes a folder an artifact."""

    stage: str
    key: str
    files: tuple[FileEntry, ...]
    meta: Mapping[str, Any]
    prefix: str = ""
    """Folder of the files inside the artifact's: empty on a local disk, unique per upload in an object
    store.
    """

    @property
    def sha256(self) -> str:
        """Digest of the content: of the sorted names, sizes and digests of the files."""
        return hashlib.sha256(canonical_json([asdict(entry) for entry in self.files]).encode()).hexdigest()

    @property
    def total_bytes(self) -> int:
        """Size of the files together."""
        return sum(entry.bytes for entry in self.files)

    def stored_path(self, entry: FileEntry) -> str:
        """Return where the entry's file lies, relative to the artifact's folder."""
        return f"{self.prefix}/{entry.path}" if self.prefix else entry.path

    def encode(self) -> bytes:
        """Return the marker as UTF-8 JSON, indented for people."""
        content = {
            "format": MARKER_FORMAT,
            "stage": self.stage,
            "key": self.key,
            "sha256": self.sha256,
            "bytes": self.total_bytes,
            "prefix": self.prefix,
            "files": [asdict(entry) for entry in self.files],
            "meta": dict(self.meta),
        }
        return json.dumps(content, indent=1, sort_keys=True, allow_nan=False).encode()

    @classmethod
    def decode(cls, data: bytes) -> "Marker":
        """Return the marker that `encode` wrote; raises ArtifactError if it is torn, altered or not ours."""
        try:
            content = read_json(data)
            if content["format"] != MARKER_FORMAT:
                raise ValueError(f"format {content['format']!r} is not {MARKER_FORMAT}")
            files = tuple(
                FileEntry(_safe_relative(item["path"]), int(item["bytes"]), _digest(item["sha256"]))
                for item in content["files"]
            )
            prefix = content["prefix"] and _safe_relative(content["prefix"])
            marker = cls(content["stage"], content["key"], files, content["meta"], prefix)
            if marker.sha256 != content["sha256"]:
                raise ValueError("its own digest does not match its list of files")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ArtifactError(f"{MARKER_NAME} is damaged: {error}") from error
        return marker


def list_files(folder: Path) -> tuple[FileEntry, ...]:
    """Return the files under `folder`, sorted by path, with sizes and SHA-256 digests.

    Raises ArtifactError if there are none, or if one is a link or bears the marker's name.
    """
    entries = []
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    for relative, path in sorted(paths.items()):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise ArtifactError(f"{relative} is no plain file: an artifact holds nothing else.")
        if relative == MARKER_NAME:
            raise ArtifactError(f"{MARKER_NAME} is the store's own file: give the stage's file another name.")
        if path.is_file():
            try:
                _safe_relative(relative)
            except ValueError as error:
                raise ArtifactError(f"{error}: give the stage's file a portable name.") from error
            entries.append(FileEntry(relative, path.stat().st_size, file_digest(path)))
    if not entries:
        raise ArtifactError("The stage wrote no file: an artifact needs at least one.")
    return tuple(entries)


def file_digest(path: Path) -> str:
    """Return the SHA-256 digest of a file's content in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _safe_relative(text: str) -> str:
    path = PurePosixPath(text)
    if not text or path.is_absolute() or ".." in path.parts or "\\" in text or ":" in path.parts[0]:
        raise ValueError(f"{text!r} is no path inside the artifact")
    return text


def _digest(text: str) -> str:
    if not _DIGEST.fullmatch(text):
        raise ValueError(f"{text!r} is no SHA-256 digest")
    return text
