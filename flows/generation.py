"""Carrying out one shard: every stage that is missing, in micro-batches, each equal computation once in the library."""

import logging
import os
import platform
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from avatar_core.errors import AvatarError, Interrupted
from avatar_core.storage import ArtifactRef, ArtifactStore
from avatar_core.storage.leases import Lease, LeaseStore
from flows.delivery import deliver
from flows.limits import Limits, asked_to_stop
from flows.outcome import Outcome
from flows.plan import Plan
from flows.quality import Attempts, measured, with_next_seed
from flows.recipe import Cook
from flows.resume import finished_works, recorded_results
from flows.run_plan import RunPlan
from tasks.failures import Failure
from tasks.interruption import stop_requested
from tasks.publishing import manifest_writer, publish_failure, publish_shared
from tasks.work import STAGES, Avatar, Place, StageWork

logger = logging.getLogger(__name__)

WAIT_SECONDS = 2.0
"""Pause before looking again for results that other workers are computing, when nothing else is left to do."""


@dataclass(frozen=True)
class Tools:
    """What a shard is carried out with."""

    compute: Callable[[str, list[tuple[StageWork, Avatar]], Place], list[dict]]
    """Computes one stage of several avatars: {"ref": …} or {"failure": …} of each, in order."""
    leases: LeaseStore
    wait: Callable[[float], object] = time.sleep
    after_batch: Callable[[Outcome], object] = lambda outcome: None
    """Is told after each micro-batch what became of the shard so far."""


class Generation:
    """The state of one shard's run: what is finished, what failed, what others are computing."""

    def __init__(
        self, run: RunPlan, avatars: Iterable[Avatar], cooks: list[Cook], place: Place, limits: Limits, tools: Tools
    ) -> None:
        self.run_plan = run
        self.cooks = cooks
        self.plan = Plan.of(avatars, cooks)
        self.place = place
        self.limits = limits
        self.micro_batch = run.options.micro_batch or 1
        self.tools = tools
        self.store = ArtifactStore(place.library)
        self.finished: dict[str, ArtifactRef] = {}
        """References by key."""
        self.failed: dict[str, tuple[Failure, str]] = {}
        """By key: the failure, and the avatar for which the result was tried."""
        self.recorded: set[tuple[str, str, str]] = set()
        """(avatar, stage, key) of what the manifest says is finished."""
        self.attempts: dict[tuple[str, str, str], int] = {}
        """How often a stage of an avatar failed by now."""
        self.told: set[tuple[str, str, str]] = set()
        """Failures that are recorded, by avatar, stage and key: one that waited for others is looked at again."""
        self.gated: dict[str, Attempts] = {}
        self.outcome = Outcome()

    def prepare(self) -> list[StageWork]:
        """Find what the library has; return the computations that are left."""
        self.finished = finished_works(self.plan, self.store, self.run_plan.options)
        self.recorded, self.attempts = recorded_results(self.plan, self.place.library)
        return [work for key, work in self.plan.works.items() if key not in self.finished]

    def run(self) -> Outcome:
        """Carry out the shard; failures of avatars are noted, not raised."""
        queue = deque(self.plan.avatars)
        with manifest_writer(self.place.library, self.place.run_id) as writer:
            while queue and not self._stopped():
                batch = [queue.popleft() for _ in range(min(len(queue), self.micro_batch))]
                before = len(self.finished) + len(self.failed)
                waiting, again = self._batch(batch)
                writer.flush()
                self.tools.after_batch(self.outcome)
                queue.extendleft(again)
                queue.extend(waiting)
                if waiting and len(waiting) == len(queue) and before == len(self.finished) + len(self.failed):
                    self.tools.wait(WAIT_SECONDS)
        return self.outcome

    def _stopped(self) -> bool:
        if stop_requested():
            raise Interrupted(f"run {self.place.run_id} stopped between two batches")
        reason = self.limits.reason_to_stop(self.outcome) or asked_to_stop(self.place.library, self.place.run_id)
        if reason:
            logger.warning("Run %s stops: %s", self.place.run_id, reason)
            self.outcome.stopped = reason
        return bool(reason)

    def _batch(self, batch: list[Avatar]) -> tuple[list[Avatar], list[Avatar]]:
        """Take a few avatars as far as they go; return those that wait for other workers, and those to make anew."""
        failures: dict[str, list[Failure]] = {avatar.avatar_id: [] for avatar in batch}
        waiting: list[Avatar] = []
        alive = list(batch)
        for stage in STAGES:
            held = self._compute(stage, alive)
            waiting += [avatar for avatar in alive if avatar.keys[stage] in held]
            alive = [avatar for avatar in alive if avatar.keys[stage] not in held]
            for avatar in alive:
                failure = self._settle(avatar, stage)
                if failure is not None:
                    failures[avatar.avatar_id].append(failure)
        again = []
        for avatar in alive:
            variant = self._conclude(avatar, failures[avatar.avatar_id])
            if variant is not None:
                again.append(variant)
        return waiting, again

    def _compute(self, stage: str, avatars: list[Avatar]) -> set[str]:
        """Compute a stage's missing results; return the keys that another worker is computing."""
        jobs: dict[str, tuple[StageWork, Avatar]] = {}
        for avatar in avatars:
            work = self.plan.works[avatar.keys[stage]]
            if work.key not in self.finished and self._known_failure(work) is None:
                jobs.setdefault(work.key, (work, avatar))
        leases: dict[str, Lease] = {}
        held: set[str] = set()
        try:
            for key in jobs:
                lease = self.tools.leases.acquire(f"{stage}/{key}")
                ref = self.store.find(stage, key)  # another worker may have finished it since this one looked
                if lease is not None:
                    leases[key] = lease
                if ref is not None:
                    self.finished[key] = ref
                elif lease is None:
                    held.add(key)
            mine = [jobs[key] for key in leases if key not in self.finished]
            if mine:
                self._note(mine, self.tools.compute(stage, mine, self.place))
        finally:
            for lease in leases.values():
                lease.release()
        return held

    def _note(self, jobs: list[tuple[StageWork, Avatar]], results: list[dict]) -> None:
        for (work, owner), result in zip(jobs, results):
            if "failure" in result:
                self.failed[work.key] = (Failure(**result["failure"]), owner.avatar_id)
                continue
            ref = ArtifactRef.from_json(result["ref"])
            self.finished[work.key] = ref
            self.recorded.add((owner.avatar_id, work.stage, work.key))
            self.outcome.count(work.stage, float(self.store.read_meta(ref).get("seconds", 0.0)))

    def _settle(self, avatar: Avatar, stage: str) -> Failure | None:
        """Record what one avatar has of a stage; return why it has nothing."""
        work = self.plan.works[avatar.keys[stage]]
        if work.key in self.finished:
            if (avatar.avatar_id, stage, work.key) not in self.recorded:
                publish_shared(self.place, work, avatar, self.finished[work.key])
                self.recorded.add((avatar.avatar_id, stage, work.key))
            return None
        failure = self._known_failure(work, avatar)
        assert failure is not None, f"{stage} of {avatar.avatar_id} was neither computed nor did it fail"
        self.failed.setdefault(work.key, (failure, avatar.avatar_id))
        self._record_failure(work, avatar, failure)
        return failure

    def _record_failure(self, work: StageWork, avatar: Avatar, failure: Failure) -> None:
        identity = (avatar.avatar_id, work.stage, work.key)
        if identity in self.told:
            return
        self.told.add(identity)
        if failure.skipped:
            publish_failure(self.place, work, avatar, failure)
            return
        self.attempts[identity] = self.attempts.get(identity, 0) + 1
        publish_failure(self.place, work, avatar, failure, attempt=self.attempts[identity])

    def _known_failure(self, work: StageWork, avatar: Avatar | None = None) -> Failure | None:
        """Return the failure that a stage has from an attempt at its key, or from an input that is missing."""
        if work.key in self.failed:
            failure, tried_for = self.failed[work.key]
            if failure.skipped or avatar is None or avatar.avatar_id == tried_for:
                return failure
            return failure.shared(tried_for)
        for key in work.upstream.values():
            if key in self.failed:
                return self.failed[key][0].downstream(work.stage)
        return None

    def _conclude(self, avatar: Avatar, failures: list[Failure]) -> Avatar | None:
        """Deliver an avatar or count it as failed; return what is to be made instead where it falls below the bar."""
        chosen: Avatar | None = avatar
        gate = self.run_plan.options.gate
        try:
            if gate is not None:
                chosen, variant = self._judge(avatar, failures)
                if variant is not None:
                    return variant
            if chosen is not None and (gate is not None or not failures):
                deliver(self.store, self.finished[chosen.keys["export"]], chosen.avatar_id)
                self.outcome.done += 1
                return None
        except (AvatarError, OSError) as error:
            logger.error("%s cannot be delivered", avatar.avatar_id, exc_info=error)
            failure = Failure.of("export", error)
            self._record_failure(self.plan.works[avatar.keys["export"]], avatar, failure)
            failures = [failure]
        self.outcome.fail(avatar.avatar_id, failures)
        return None

    def _judge(self, avatar: Avatar, failures: list[Failure]) -> tuple[Avatar | None, Avatar | None]:
        """Hold an attempt against the gate; return the avatar to deliver, or another attempt to make."""
        gate = self.run_plan.options.gate
        assert gate is not None
        attempts = self.gated.setdefault(avatar.avatar_id, Attempts())
        attempts.tried += 1
        if not failures:
            keys = avatar.keys
            value = measured(self.store, gate, self.finished[keys["texturing"]], self.finished[keys["export"]])
            attempts.add(value, avatar)
            if value >= gate.minimum:
                return self._best(attempts), None
        if attempts.tried < gate.attempts:
            cook = self.cooks[avatar.recipe]
            variant = with_next_seed(avatar, cook)
            for work in cook.works(variant).values():
                self.plan.works.setdefault(work.key, work)
                ref = self.store.find(work.stage, work.key)
                if ref is not None:
                    self.finished.setdefault(work.key, ref)
            self.outcome.retried += 1
            return None, variant
        if not attempts.made:
            return None, None
        self.outcome.below_bar.append(avatar.avatar_id)
        return self._best(attempts), None

    def _best(self, attempts: Attempts) -> Avatar:
        """Return the best attempt, with the manifest's last word on it."""
        best = attempts.best[1]
        if attempts.tried > 1:
            for stage in STAGES:
                work = self.plan.works[best.keys[stage]]
                publish_shared(self.place, work, best, self.finished[work.key])
        return best


def worker_name() -> str:
    """Return a name for this process that tells people where it is."""
    return f"{platform.node()}:{os.getpid()}"
