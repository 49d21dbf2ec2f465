"""Carries out one stage: inputs from the store, the pure function, its result back into the store."""

import functools
import importlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import ModuleType
from typing import TYPE_CHECKING, Any

from avatar_core.errors import ArtifactError
from avatar_core.storage import ArtifactRef, ArtifactStore
from tasks.devices import device_name
from tasks.gpu import gpu_slot
from tasks.interruption import stop_requested
from tasks.log_context import working_on
from tasks.measuring import Cost
from tasks.models import load_models
from tasks.publishing import publish_result
from tasks.reporting import reporter
from tasks.work import UPSTREAM, Avatar, Place, StageWork

if TYPE_CHECKING:
    from pydantic import BaseModel

    from avatar_core.stages.base import StageContext

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inputs:
    """What a stage is given from earlier ones."""

    results: Mapping[str, Any]
    """The loaded results that it reads, by stage."""
    costs: Mapping[str, Mapping[str, Any]]
    """What every stage before it took, where the library knows: seconds, peak_mb and device."""

    def __getitem__(self, stage: str) -> Any:
        """Return the result of `stage`."""
        return self.results[stage]


Call = Callable[[ModuleType, Inputs, "BaseModel", "StageContext"], Any]
"""Calls a stage's `run` with its own arguments: (module, inputs, config, context) -> result."""


def stage_module(name: str) -> ModuleType:
    """Return the module of the stage called `name`."""
    return importlib.import_module(f"avatar_core.stages.{name}")


def execute(work: StageWork, place: Place, owner: Avatar, call: Call) -> dict[str, Any]:
    """Compute one stage unless the store has it; return the artifact reference as a JSON object.

    The order is artifact, manifest row, return: whatever a kill interrupts, the store never lacks what the manifest
    or Prefect says is done. Raises what the stage raises, and ArtifactError when an input is missing.
    """
    with working_on(run_id=place.run_id, avatar_id=owner.avatar_id, stage=work.stage, key=work.key):
        return _execute(work, place, owner, call)


def _execute(work: StageWork, place: Place, owner: Avatar, call: Call) -> dict[str, Any]:
    store = ArtifactStore(place.library)
    existing = reuse(store, work, place, owner)
    if existing is not None:
        return existing
    reporter().stage_started(work, owner)
    try:
        with gpu_slot(place.device):
            context, config = stage_context(store, work, place), stage_config(work)
            with Cost() as cost:
                result = call(stage_module(work.stage), load_inputs(store, work), config, context)
            ref, meta = publish_artifact(store, work, place, result, cost.seconds, cost.peak_mb)
    except Exception as error:
        tell_failure(work, owner, error)
        raise
    return tell_result(place, work, owner, ref, meta)


def reuse(store: ArtifactStore, work: StageWork, place: Place, owner: Avatar) -> dict[str, Any] | None:
    """Return and record the reference of a result that the store has already; None where it has none."""
    existing = store.find(work.stage, work.key)
    if existing is None:
        return None
    reporter().stage_finished(work, owner, 0.0, computed=False)
    publish_result(place, work, owner, existing, store.read_meta(existing), computed=False)
    return existing.to_json()


def stage_config(work: StageWork) -> Any:
    """Return the settings of a stage as its own Config."""
    return stage_module(work.stage).Config.model_validate(dict(work.config))


def stage_context(store: ArtifactStore, work: StageWork, place: Place) -> "StageContext":
    """Return what a stage is given besides its inputs, with the place of its checkpoints."""
    from avatar_core.stages.base import StageContext

    models = load_models(work.body, work.encoder, place.device)
    return StageContext(
        body=models.body,
        encoder=models.encoder,
        device=models.device,
        progress=functools.partial(reporter().stage_progress, work),
        checkpoint=store.checkpoints(work.stage, work.key),
        stop=stop_requested,
    )


def publish_artifact(
    store: ArtifactStore, work: StageWork, place: Place, result: Any, seconds: float, peak_mb: float
) -> tuple[ArtifactRef, dict[str, Any]]:
    """Put a result with what it cost into the store, and its checkpoints away; return its reference and meta."""
    meta = {
        "seconds": round(seconds, 3),
        "peak_mb": round(peak_mb, 1),
        "device": device_name(place.device),
        "made_at": datetime.now(UTC).isoformat(),
        "score": stage_score(result),
    }
    ref = store.publish(work.stage, work.key, result.save, meta)
    store.checkpoints(work.stage, work.key).clear()
    return ref, meta


def tell_result(
    place: Place, work: StageWork, owner: Avatar, ref: ArtifactRef, meta: dict[str, Any]
) -> dict[str, Any]:
    """Record in log, manifest and report that a result was computed; return its reference as a JSON object."""
    logger.info("%s of %s: key %s, %s", work.stage, owner.avatar_id, work.key, meta)
    publish_result(place, work, owner, ref, meta, computed=True)
    reporter().stage_finished(work, owner, meta["seconds"], computed=True)
    return ref.to_json()


def tell_failure(work: StageWork, owner: Avatar, error: Exception) -> None:
    """Tell log and report that a stage failed."""
    logger.error("%s of %s failed (key %s)", work.stage, owner.avatar_id, work.key, exc_info=error)
    reporter().stage_failed(work, owner, error)


def load_inputs(store: ArtifactStore, work: StageWork) -> Inputs:
    """Return what a stage reads of earlier ones; raises ArtifactError when the store lacks one."""
    results = {}
    for stage in UPSTREAM[work.stage]:
        ref = store.find(stage, work.upstream[stage])
        if ref is None:
            raise ArtifactError(
                f"{work.stage} needs the result of {stage} ({work.upstream[stage]}), which is not in the library. "
                "Run the catalog again to compute it again."
            )
        results[stage] = result_class(stage_module(stage)).load(store.fetch(ref))
    return Inputs(results, _costs(store, work))


def _costs(store: ArtifactStore, work: StageWork) -> dict[str, dict[str, Any]]:
    found = {stage: store.find(stage, key, verify="sizes") for stage, key in work.keys.items()}
    metas = {stage: store.read_meta(ref) for stage, ref in found.items() if ref is not None}
    return {
        stage: {"seconds": meta["seconds"], "peak_mb": meta.get("peak_mb"), "device": meta.get("device") or ""}
        for stage, meta in metas.items()
        if "seconds" in meta
    }


def result_class(module: ModuleType) -> Any:
    """Return the dataclass that the stage of `module` returns."""
    return getattr(module, _RESULTS[module.__name__.rsplit(".", 1)[-1]])


_RESULTS = {
    "coarse_shape": "CoarseShape",
    "implicit_init": "ImplicitAvatar",
    "texturing": "TexturedAvatar",
    "candidate_poses": "CandidatePoses",
    "motion": "Motion",
}


def stage_score(result: Any) -> float | None:
    """Return the score that a result carries (cosine with its prompt), or None where it has none."""
    for name in ("score", "score_after"):
        value = getattr(result, name, None)
        if value is not None:
            return float(value)
    return None
