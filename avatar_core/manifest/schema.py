"""The manifest's columns, statuses and stages. Every reader and writer passes this schema explicitly."""

import pyarrow as pa

SCHEMA_VERSION = 3
"""Raised when a column or a status is added; columns are never removed, renamed or given another meaning.

Version 2 added attempt, device, host and the status `quarantined`; files of version 1 read as nulls there. Version 3
added reviews: REVIEW_STAGE and the statuses `approved`, `requested` and `withdrawn`.
"""

CATALOG_STAGE = "catalog"
"""Stage of the records that say what a catalog's rows were: accepted or rejected."""

EXPORT_STAGE = "export"
"""The last stage: an avatar whose export is done is done."""

REVIEW_STAGE = "review"
"""Stage of the records that say what a person thinks of a finished avatar; their key is that of the export that was
looked at, so that a review counts for that result alone.
"""

STAGES = (
    CATALOG_STAGE,
    "coarse_shape",
    "implicit_init",
    "texturing",
    "candidate_poses",
    "motion",
    EXPORT_STAGE,
)

REVIEWS = ("approved", "rejected", "requested")
"""What a review says: good, bad, or that the avatar is to be made from another seed."""

WITHDRAWN = "withdrawn"
"""Status of a record of a review that takes the one before it back."""

STATUSES = (
    *("accepted", "rejected", "read"),
    *("running", "done", "cached", "failed", "skipped", "quarantined"),
    *("approved", "requested", WITHDRAWN),
)
"""accepted, rejected: of a row; read: of a catalog as a whole; approved, rejected, requested, withdrawn: of a review;
the others: of a stage.

quarantined: failed so often that it is not tried again by itself.
"""

FINISHED_STATUSES = ("done", "cached")

FAILED_STATUSES = ("failed", "quarantined")

ATTEMPT_STATUSES = ("done", *FAILED_STATUSES)
"""How an attempt at computing a stage ends; the other statuses of stages say that there was none, or not yet."""

_NEVER_NULL = ("avatar_id", "stage", "status", "run_id", "recorded_at", "sequence", "schema_version")

SCHEMA = pa.schema(
    [
        pa.field(name, kind, nullable=name not in _NEVER_NULL)
        for name, kind in {
            "avatar_id": pa.string(),
            "catalog": pa.string(),
            "line": pa.int64(),
            "stage": pa.string(),
            "key": pa.string(),
            "status": pa.string(),
            "seed": pa.int64(),
            "shape": pa.string(),
            "appearance": pa.string(),
            "motion": pa.string(),
            "preset": pa.string(),
            "body": pa.string(),
            "tags": pa.list_(pa.string()),
            "extra": pa.string(),
            "uri": pa.string(),
            "sha256": pa.string(),
            "bytes": pa.int64(),
            "seconds": pa.float64(),
            "peak_mb": pa.float64(),
            "score": pa.float64(),
            "attempt": pa.int16(),
            "device": pa.string(),
            "host": pa.string(),
            "error_kind": pa.string(),
            "error_field": pa.string(),
            "error_message": pa.string(),
            "remedy": pa.string(),
            "run_id": pa.string(),
            "recorded_at": pa.timestamp("us", tz="UTC"),
            "sequence": pa.int64(),
            "schema_version": pa.int16(),
        }.items()
    ]
)
"""Units: line from 1; bytes; seconds of wall time; peak_mb in MiB; recorded_at in UTC; extra is a JSON
object. attempt: number of this attempt at computing this key for this avatar, from 1. device: `cpu`, `cuda:0` or a
device's name. host: name of the machine.
"""
