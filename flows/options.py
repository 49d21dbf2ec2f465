"""The settings of a run that change no result: how it is cut up, when it stops, what it tries again."""

from datetime import UTC, datetime, timedelta
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field


class Gate(BaseModel):
    """The bar that an avatar's report has to reach; one below it is made again with the next seed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    minimum: float
    """Least value of `measure`."""
    measure: str = "score"
    """What is compared: `score` (texturing's cosine of the avatar's views with its prompt), or the path of a number in
    report.json with dots, such as `scores.after`."""
    attempts: int = Field(default=3, ge=1, le=20)
    """How many seeds are tried at most, the row's own included; the best is kept."""


class RunOptions(BaseModel):
    """How a run goes about its work."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shard_size: int = Field(default=1000, ge=1, le=100_000)
    """Avatars of a shard: what one flow run on one device makes."""
    micro_batch: int | None = Field(default=None, ge=1, le=1024)
    """Avatars of a task: 1 shows each stage of each avatar in Prefect, 32 to 64 spare it a million rows' runs. None: 1
    for up to 200 rows, else 32."""
    verify: Literal["auto", "manifest", "sizes", "digest"] = "auto"
    """How results that the manifest has are checked before they count: not at all, by presence and sizes, or by digests
    too. auto: digests for 200 avatars, sizes for 20,000 on a local disk, the manifest's word for more."""
    max_attempts: int = Field(default=3, ge=1, le=100)
    """Attempts at a stage of an avatar before it is put in quarantine, until `avatars retry`."""
    retry: bool = False
    """Whether what is in quarantine is tried again."""
    failure_fraction: float = Field(default=0.5, gt=0, le=1)
    """The run stops when more than this share of the avatars that were tried failed..."""
    failure_minimum: int = Field(default=20, ge=1)
    """...and at least so many were tried."""
    max_avatars: int | None = Field(default=None, ge=1)
    """Most avatars that the run makes; None: all."""
    max_gpu_hours: float | None = Field(default=None, gt=0)
    """Most hours of stages on a GPU that the run spends (computing hours where it runs on a CPU); None: no limit."""
    gate: Gate | None = None
    remake_before: AwareDatetime | None = None
    """Results that were made before this moment (with a time zone) are made again."""


def days_ago(days: float | None) -> datetime | None:
    """Return the moment that many days ago, for `RunOptions.remake_before`; None stays None."""
    return None if days is None else datetime.now(UTC) - timedelta(days=days)
