"""One entry of the manifest: what became of one avatar in one stage, or of one row of a catalog."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from avatar_core.errors import ManifestError
from avatar_core.manifest.schema import CATALOG_STAGE, REVIEW_STAGE, REVIEWS, STATUSES, WITHDRAWN
from avatar_core.storage.refs import ArtifactRef

if TYPE_CHECKING:  # the catalog needs torch for its seeds, reading a manifest does not
    from avatar_core.catalog import CatalogRow, RejectedRow

MAX_MESSAGE = 4000
MAX_ATTEMPT = 2**15 - 1

_STAGE = re.compile(r"[a-z][a-z0-9_]*")
_TEXTS = (
    "catalog",
    "key",
    "shape",
    "appearance",
    "motion",
    "preset",
    "body",
    "uri",
    "sha256",
    "device",
    "host",
    "error_kind",
    "error_field",
    "error_message",
    "remedy",
)


@dataclass(frozen=True)
class ManifestRecord:
    """One entry; the writer adds the run, the time and the order. The schema documents units.

    Raises ManifestError for an unknown status, a stage that is no identifier, an empty id or an attempt out of range.
    """

    avatar_id: str
    stage: str
    status: str
    catalog: str | None = None
    line: int | None = None
    key: str | None = None
    seed: int | None = None
    shape: str | None = None
    appearance: str | None = None
    motion: str | None = None
    preset: str | None = None
    body: str | None = None
    tags: tuple[str, ...] = ()
    extra: Mapping[str, str] = field(default_factory=dict)
    uri: str | None = None
    sha256: str | None = None
    bytes: int | None = None
    seconds: float | None = None
    peak_mb: float | None = None
    score: float | None = None
    attempt: int | None = None
    device: str | None = None
    host: str | None = None
    error_kind: str | None = None
    error_field: str | None = None
    error_message: str | None = None
    remedy: str | None = None

    def __post_init__(self) -> None:
        """Validate what later reading relies on."""
        if not self.avatar_id:
            raise ManifestError("A manifest record needs the id of its avatar.")
        if self.status not in STATUSES:
            raise ManifestError(f"{self.avatar_id}: status {self.status!r} is none of {', '.join(STATUSES)}.")
        if not _STAGE.fullmatch(self.stage):
            raise ManifestError(f"{self.avatar_id}: {self.stage!r} is no stage name.")
        if self.attempt is not None and not 1 <= self.attempt <= MAX_ATTEMPT:
            raise ManifestError(f"{self.avatar_id}: attempt {self.attempt} is not between 1 and {MAX_ATTEMPT}.")

    @classmethod
    def accepted(cls, row: "CatalogRow", *, catalog: str, seed: int, **others: Any) -> "ManifestRecord":
        """Return the record of a row that was accepted, with the seed in effect."""
        return cls(
            avatar_id=row.id,
            stage=CATALOG_STAGE,
            status="accepted",
            catalog=catalog,
            line=row.line,
            seed=seed,
            shape=row.shape,
            appearance=row.appearance,
            motion=row.motion,
            tags=row.tags,
            extra=row.extra,
            **{"preset": row.preset, "body": row.body, **others},
        )

    @classmethod
    def rejected(cls, row: "RejectedRow", *, catalog: str) -> "ManifestRecord":
        """Return the record of a row that was rejected.

        It goes by catalog and line, not by the row's id, which may be that of another, good row.
        """
        return cls(
            avatar_id=f"rejected:{catalog}:{row.line}",
            stage=CATALOG_STAGE,
            status="rejected",
            catalog=catalog,
            line=row.line,
            error_kind="CatalogRow",
            error_field=row.field,
            error_message=row.reason,
            remedy=row.remedy,
        )

    @classmethod
    def catalog_read(cls, catalog: str) -> "ManifestRecord":
        """Return the record that a run read a whole catalog: its earlier rejections no longer count."""
        return cls(avatar_id=f"catalog:{catalog}", stage=CATALOG_STAGE, status="read", catalog=catalog)

    @classmethod
    def review(cls, avatar_id: str, status: str, key: str | None) -> "ManifestRecord":
        """Return the record of a person's word, one of REVIEWS or WITHDRAWN, about the export with `key`; None: about
        an avatar that has no export.
        """
        if status not in (*REVIEWS, WITHDRAWN):
            raise ManifestError(f"{avatar_id}: {status!r} is no review: give {', '.join((*REVIEWS, WITHDRAWN))}.")
        return cls(avatar_id=avatar_id, stage=REVIEW_STAGE, status=status, key=key)

    @classmethod
    def of_artifact(cls, avatar_id: str, status: str, ref: ArtifactRef, **others: Any) -> "ManifestRecord":
        """Return the record of a stage that has its artifact; `others` are further fields, such as
        seconds.
        """
        return cls(
            avatar_id=avatar_id,
            stage=ref.stage,
            status=status,
            key=ref.key,
            uri=ref.uri,
            sha256=ref.sha256,
            bytes=ref.bytes,
            **others,
        )

    def to_row(self) -> dict[str, Any]:
        """Return the columns of the schema that the record itself decides."""
        row = {name: getattr(self, name) for name in self.__dataclass_fields__}
        row.update({name: _storable(row[name]) for name in _TEXTS})
        row["tags"] = [_storable(tag) for tag in self.tags]
        row["extra"] = json.dumps(dict(self.extra), sort_keys=True) if self.extra else None
        return row


def _storable(text: str | None) -> str | None:
    """Return text as UTF-8 can hold it, cut at MAX_MESSAGE characters."""
    return None if text is None else text[:MAX_MESSAGE].encode("utf-8", "replace").decode()
