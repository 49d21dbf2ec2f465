"""The flow of one catalog: every stage that is missing, avatar by avatar, each equal computation once."""

import logging
from dataclasses import dataclass, field

from prefect import flow

from avatar_core.errors import AvatarError
from avatar_core.storage import ArtifactRef, ArtifactStore, open_location
from flows.delivery import deliver
from flows.plan import Plan
from flows.resume import finished_works, recorded_results
from tasks.failures import Failure
from tasks.publishing import manifest_writer, publish_failure, publish_shared
from tasks.stages import TASKS
from tasks.work import STAGES, Avatar, Place, StageWork

logger = logging.getLogger(__name__)


@dataclass
class Outcome:
    """What became of a plan."""

    done: list[str] = field(default_factory=list)
    """Ids of the avatars that are complete."""
    failed: dict[str, list[Failure]] = field(default_factory=dict)
    """Why avatars are not, by id."""
    computed: int = 0
    """How many stage results were computed."""


class Generation:
    """The state of one flow run: what is finished, and what failed."""

    def __init__(self, plan: Plan, place: Place) -> None:
        self.plan = plan
        self.place = place
        self.store = ArtifactStore(place.library)
        self.finished: dict[str, ArtifactRef] = {}
        """References by key."""
        self.failed: dict[str, tuple[Failure, str]] = {}
        """By key: the failure, and the avatar for which the result was tried."""
        self.recorded: set[tuple[str, str, str]] = set()
        """(avatar, stage, key) of what the manifest says is finished."""
        self.outcome = Outcome()

    def run(self) -> Outcome:
        """Carry out the plan; failures of avatars are noted, not raised."""
        self.finished = finished_works(self.plan, self.store)
        self.recorded = recorded_results(self.plan, self.place.library)
        writer = manifest_writer(self.place.library, self.place.run_id)
        with writer:
            for avatar in self.plan.avatars:
                self._avatar(avatar)
                writer.flush()
        return self.outcome

    def _avatar(self, avatar: Avatar) -> None:
        failures = [failure for stage in STAGES if (failure := self._stage(avatar, stage)) is not None]
        if not failures:
            failures = self._deliver(avatar)
        if failures:
            self.outcome.failed[avatar.avatar_id] = failures
        else:
            self.outcome.done.append(avatar.avatar_id)

    def _deliver(self, avatar: Avatar) -> list[Failure]:
        key = avatar.keys["export"]
        try:
            deliver(self.store, self.finished[key], avatar.avatar_id)
        except (AvatarError, OSError) as error:
            logger.error("%s cannot be delivered", avatar.avatar_id, exc_info=error)
            failure = Failure.of("export", error)
            publish_failure(self.place, self.plan.works[key], avatar, failure)
            return [failure]
        return []

    def _stage(self, avatar: Avatar, stage: str) -> Failure | None:
        """Make sure of one stage of one avatar; return why that was impossible."""
        work = self.plan.works[avatar.keys[stage]]
        if work.key in self.finished:
            if (avatar.avatar_id, stage, work.key) not in self.recorded:
                publish_shared(self.place, work, avatar, self.finished[work.key])
            return None
        failure = self._known_failure(work) or self._compute(avatar, work)
        if failure is not None:
            self.failed.setdefault(work.key, (failure, avatar.avatar_id))
            publish_failure(self.place, work, avatar, failure)
        return failure

    def _known_failure(self, work: StageWork) -> Failure | None:
        """Return the failure that a stage has from an earlier attempt at its key, or from an input that is missing."""
        if work.key in self.failed:
            failure, tried_for = self.failed[work.key]
            return failure if failure.skipped else failure.shared(tried_for)
        for key in work.upstream.values():
            if key in self.failed:
                return self.failed[key][0].downstream(work.stage)
        return None

    def _compute(self, avatar: Avatar, work: StageWork) -> Failure | None:
        # the store has no such result, so whatever Prefect's cache says about it is out of date
        task = TASKS[work.stage].with_options(refresh_cache=True)
        state = task(work, self.place, avatar, return_state=True)
        if state.is_completed():
            self.finished[work.key] = ArtifactRef.from_json(state.result())
            self.recorded.add((avatar.avatar_id, work.stage, work.key))
            self.outcome.computed += 1
            return None
        error = state.result(raise_on_failure=False)
        if not isinstance(error, BaseException):
            error = RuntimeError(state.message or f"{work.stage} ended in state {state.name}")
        return Failure.of(work.stage, error)


@flow(name="generate-catalog", flow_run_name="{run_id}", validate_parameters=False, persist_result=False)
def generate_catalog(plan_uri: str, library: str, device: str, run_id: str) -> Outcome:
    """Carry out the plan at `plan_uri` (relative to `library`) on `device`; return what became of it.

    The plan lies in the library rather than in the parameters, which Prefect's database keeps.
    """
    plan = Plan.decode(open_location(library).read(plan_uri))
    return Generation(plan, Place(library=library, device=device, run_id=run_id)).run()


def plan_uri(run_id: str) -> str:
    """Return where a run's plan lies, relative to the library."""
    return f"runs/{run_id}/plan.json"
