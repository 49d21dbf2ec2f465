"""The artifact store: results of stages by key, whole or absent, on a local disk or behind an fsspec URL."""

import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from avatar_core.errors import ArtifactError
from avatar_core.storage.backoff import BackOff
from avatar_core.storage.cache import STALE_SECONDS, FetchCache
from avatar_core.storage.explaining import Damage, computing, reading, writing
from avatar_core.storage.location import open_location
from avatar_core.storage.paths import (
    cache_root,
    fsync_path,
    remove_stale,
    remove_tree,
    sync_tree,
    temp_name,
    write_atomic,
)
from avatar_core.storage.refs import (
    MARKER_NAME,
    ArtifactRef,
    FileEntry,
    Marker,
    check_names,
    file_digest,
    list_files,
)

if TYPE_CHECKING:
    from avatar_core.storage.checkpoints import CheckpointStore

logger = logging.getLogger(__name__)

STORE_FOLDER = "store"
Verify = Literal["sizes", "digest"]
DEFAULT_CACHE_BYTES = 20 * 2**30

_RENAME_ATTEMPTS = 5
_UPLOAD_PREFIX = "data-"


class ArtifactStore:
    """Artifacts under `<library>/store/<stage>/<key>/`; safe for any number of processes and hosts at once.

    An artifact appears in one step and is never changed afterwards. Equal keys mean equal content, so the
    first of two concurrent publishers wins and the other one's copy is dropped.
    """

    def __init__(
        self,
        url: str | os.PathLike[str],
        *,
        cache_folder: Path | None = None,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
        backoff: BackOff | None = None,
    ) -> None:
        """Open the store of the library at a local folder or fsspec URL, creating nothing.

        `cache_folder` and `cache_bytes` bound the local copies of a store that is not local (default:
        `artifacts` under `cache_root()`), `backoff` says how its operations are repeated that fail for a passing
        reason. Raises ConfigError for a URL that cannot be used.
        """
        self.library = open_location(url, backoff)
        self._root = self.library.child(STORE_FOLDER)
        self._checked_stale = False
        place = hashlib.sha256(self._root.root.encode()).hexdigest()[:16]
        self._cache = FetchCache((cache_folder or cache_root() / "artifacts") / place, cache_bytes)

    def find(self, stage: str, key: str, *, verify: Verify | None = None) -> ArtifactRef | None:
        """Return the reference of a published artifact, or None if there is none to use.

        `verify` says what is checked beside the presence of every file: "sizes", or "digest" for the
        SHA-256 as well. Default: "digest" on a local disk, "sizes" elsewhere (where `fetch` checks digests
        on the way). A damaged artifact is logged and removed, so that the stage computes it again. Raises
        ArtifactError if the store cannot be read (permissions, network), which proves nothing about the
        artifact.
        """
        check_names(stage, key)
        with reading(self._describe(stage, key)):
            try:
                marker = self._read_marker(stage, key)
                if marker is None:
                    return None
                self._check_files(marker, verify or ("digest" if self.library.is_local else "sizes"))
                return _ref(marker)
            except Damage as error:
                damage = str(error)
        logger.warning("Removing the damaged artifact %s: %s. It will be computed again.", _uri(stage, key), damage)
        with writing(self._describe(stage, key)):
            self._invalidate(stage, key)
        return None

    def publish(
        self, stage: str, key: str, write: Callable[[Path], None], meta: Mapping[str, Any] | None = None
    ) -> ArtifactRef:
        """Store what `write(folder)` puts into an empty local folder, and return its reference.

        `meta` is any JSON object to keep with it (`read_meta`). If a valid artifact exists already it is
        returned and `write` is not called; whatever `write` raises passes through and leaves nothing
        behind. Raises ArtifactError if it wrote no files or the store cannot be written.
        """
        check_names(stage, key)
        try:
            stored_meta = json.loads(json.dumps(dict(meta or {}), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise ArtifactError(f"The metadata of {_uri(stage, key)} cannot be kept as JSON: {error}.") from error
        existing = self.find(stage, key)
        if existing is not None:
            return existing
        self._clean_once()
        if self.library.is_local:
            return self._publish_local(stage, key, write, stored_meta)
        return self._publish_remote(stage, key, write, stored_meta)

    def fetch(self, ref: ArtifactRef) -> Path:
        """Return a local folder with the artifact's files; treat it as read-only.

        Local stores give the artifact's own folder; others a cached copy, checked against its digests. Raises
        ArtifactError if the artifact is missing, or damaged (then it is removed, for the next run to compute
        again).
        """
        with reading(self._describe(ref.stage, ref.key)):
            try:
                marker = self._read_marker(ref.stage, ref.key)
                if marker is None:
                    raise Damage("it is missing")
                if self.library.is_local:
                    self._check_files(marker, "sizes")
                    return self._root.path(ref.stage, ref.key)
                return self._fetch_remote(marker)
            except Damage as error:
                damage = error
        with writing(self._describe(ref.stage, ref.key)):
            self._invalidate(ref.stage, ref.key)
        raise ArtifactError(
            f"{self._describe(ref.stage, ref.key)} cannot be used: {damage}. Run the catalog again."
        ) from damage

    def read_meta(self, ref: ArtifactRef) -> dict[str, Any]:
        """Return the `meta` that the artifact was published with; raises ArtifactError if it is missing."""
        with reading(self._describe(ref.stage, ref.key)):
            try:
                marker = self._read_marker(ref.stage, ref.key)
            except Damage as damage:
                raise ArtifactError(f"{self._describe(ref.stage, ref.key)} cannot be read: {damage}.") from damage
        if marker is None:
            raise ArtifactError(f"{self._describe(ref.stage, ref.key)} is missing.")
        return dict(marker.meta)

    def delete(self, ref: ArtifactRef) -> None:
        """Delete an artifact, if it exists; raises ArtifactError if the store cannot be written."""
        self.remove(ref.stage, ref.key)

    def remove(self, stage: str, key: str) -> None:
        """Delete whatever is stored under a key, whole or damaged; raises ArtifactError if the store cannot be
        written.
        """
        check_names(stage, key)
        with writing(self._describe(stage, key)):
            self._remove(stage, key)

    def checkpoints(self, stage: str, key: str) -> "CheckpointStore":
        """Return the checkpoints of the running computation of one result."""
        # Imported here: it needs torch, which takes a second that commands such as `status` need not pay.
        from avatar_core.storage.checkpoints import CheckpointStore

        check_names(stage, key)
        return CheckpointStore(self._root.child("_checkpoints", stage, key))

    def clean_stale(self, older_than: float = STALE_SECONDS) -> int:
        """Delete what killed runs left unfinished at least `older_than` seconds ago; return how many
        pieces.
        """
        return remove_stale(self._root.path("_tmp"), older_than) if self.library.is_local else 0

    def _publish_local(
        self, stage: str, key: str, write: Callable[[Path], None], meta: Mapping[str, Any]
    ) -> ArtifactRef:
        temporary = self._root.path("_tmp", temp_name())
        try:
            with writing(self._describe(stage, key)):
                temporary.mkdir(parents=True)
            with computing(self._describe(stage, key)):
                write(temporary)
            with writing(self._describe(stage, key)):
                marker = Marker(stage, key, list_files(temporary), meta)
                write_atomic(temporary / MARKER_NAME, marker.encode())
                sync_tree(temporary)
                return self._rename(temporary, marker)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _rename(self, temporary: Path, marker: Marker) -> ArtifactRef:
        """Move a complete folder into place, unless a valid artifact came first."""
        target = self._root.path(marker.stage, marker.key)
        target.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(_RENAME_ATTEMPTS):
            try:
                os.replace(temporary, target)
            except OSError:
                if not target.exists():
                    raise
                winner = self.find(marker.stage, marker.key)  # removes a damaged one, which clears the way
                if winner is not None:
                    return winner
                continue
            fsync_path(target.parent)
            fsync_path(target.parent.parent)  # holds the entry of a new stage
            return _ref(marker)
        raise ArtifactError(f"{self._describe(marker.stage, marker.key)} cannot be replaced: delete it and run again.")

    def _publish_remote(
        self, stage: str, key: str, write: Callable[[Path], None], meta: Mapping[str, Any]
    ) -> ArtifactRef:
        prefix = f"{_UPLOAD_PREFIX}{int(time.time())}-{uuid.uuid4().hex[:12]}"
        with tempfile.TemporaryDirectory(prefix="avatars-") as name:
            folder = Path(name)
            with computing(self._describe(stage, key)):
                write(folder)
            marker = Marker(stage, key, list_files(folder), meta, prefix)
            with writing(self._describe(stage, key)):
                for entry in marker.files:
                    self._root.upload(folder / entry.path, f"{stage}/{key}/{marker.stored_path(entry)}")
                return self._mark(marker)

    def _mark(self, marker: Marker) -> ArtifactRef:
        """Make uploaded files an artifact, unless a valid one came first."""
        stage, key = marker.stage, marker.key
        winner = self.find(stage, key)
        if winner is not None:
            self._root.remove_folder(f"{stage}/{key}/{marker.prefix}")
            return winner
        self._root.write(f"{stage}/{key}/{MARKER_NAME}", marker.encode())
        published = self._read_marker(stage, key)  # of two that pass each other here, the later one stays
        if published is None:
            raise Damage("it vanished after it was written")
        self._remove_old_uploads(published)
        return _ref(published)

    def _remove_old_uploads(self, marker: Marker) -> None:
        """Delete uploads that never finished or that lost, once no publisher can still be at work on them."""
        folder = f"{marker.stage}/{marker.key}"
        for name in self._root.folders(folder):
            started = name.removeprefix(_UPLOAD_PREFIX).split("-")[0]
            if name != marker.prefix and started.isdigit() and int(started) < time.time() - STALE_SECONDS:
                self._root.remove_folder(f"{folder}/{name}")

    def _read_marker(self, stage: str, key: str) -> Marker | None:
        try:
            data = self._root.read(f"{stage}/{key}/{MARKER_NAME}")
        except FileNotFoundError:
            if self.library.is_local and self._root.path(stage, key).is_dir():
                raise Damage(f"{MARKER_NAME} is missing") from None
            return None
        try:
            marker = Marker.decode(data)
        except ArtifactError as error:
            raise Damage(str(error)) from error
        if (marker.stage, marker.key) != (stage, key):
            raise Damage(f"{MARKER_NAME} belongs to {_uri(marker.stage, marker.key)}")
        return marker

    def _check_files(self, marker: Marker, verify: Verify) -> None:
        """Raise Damage for the first file that is missing or has another size or digest than the marker
        says.
        """
        folder = f"{marker.stage}/{marker.key}"
        for entry in marker.files:
            path = f"{folder}/{marker.stored_path(entry)}"
            size = self._root.size(path)
            if size is None:
                raise Damage(f"{entry.path} is missing")
            if size != entry.bytes:
                raise Damage(f"{entry.path} has {size} bytes instead of {entry.bytes}")
            if verify == "digest" and self._digest(path) != entry.sha256:
                raise Damage(f"the content of {entry.path} was altered")

    def _digest(self, relative: str) -> str:
        try:
            if self.library.is_local:
                return file_digest(self._root.path(relative))
            return hashlib.sha256(self._root.read(relative)).hexdigest()
        except FileNotFoundError:
            raise Damage(f"{relative} vanished") from None

    def _fetch_remote(self, marker: Marker) -> Path:
        name = f"{marker.stage}-{marker.key}-{marker.sha256[:16]}"
        cached = self._cache.get(name)
        if cached is not None:
            if all(_has_size(cached / entry.path, entry.bytes) for entry in marker.files):
                return cached
            self._cache.drop(name)
        return self._cache.add(name, lambda folder: self._download(marker, folder))

    def _download(self, marker: Marker, folder: Path) -> None:
        for entry in marker.files:
            target = folder / entry.path
            try:
                self._root.download(f"{marker.stage}/{marker.key}/{marker.stored_path(entry)}", target)
            except FileNotFoundError:
                raise Damage(f"{entry.path} is missing") from None
            _check_download(entry, target)

    def _invalidate(self, stage: str, key: str) -> None:
        """Take a damaged artifact out of sight, leaving alone what others may be uploading for the same
        key.
        """
        if self.library.is_local:
            self._remove(stage, key)
        else:
            self._root.remove(f"{stage}/{key}/{MARKER_NAME}")

    def _remove(self, stage: str, key: str) -> None:
        if self.library.is_local:
            remove_tree(self._root.path(stage, key), self._root.path("_tmp"))
            return
        self._root.remove(f"{stage}/{key}/{MARKER_NAME}")  # first, so that no reader sees half an artifact
        self._root.remove_folder(f"{stage}/{key}")

    def _clean_once(self) -> None:
        if not self._checked_stale:
            self._checked_stale = True
            count = self.clean_stale()
            if count:
                logger.info("Removed %d unfinished results of runs that were killed.", count)

    def _describe(self, stage: str, key: str) -> str:
        return f"Artifact {self.library.url.rstrip('/')}/{_uri(stage, key)}"


def _uri(stage: str, key: str) -> str:
    return f"{STORE_FOLDER}/{stage}/{key}"


def _ref(marker: Marker) -> ArtifactRef:
    return ArtifactRef(marker.stage, marker.key, _uri(marker.stage, marker.key), marker.sha256, marker.total_bytes)


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _check_download(entry: FileEntry, path: Path) -> None:
    if path.stat().st_size != entry.bytes or file_digest(path) != entry.sha256:
        raise Damage(f"the content of {entry.path} was altered")
