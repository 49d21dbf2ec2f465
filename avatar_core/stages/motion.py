"""Stage motion: a motion from the priors that passes through the candidate poses and fits the prompt."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from avatar_core.bodies.rotations import matrix_to_axis_angle
from avatar_core.documents import read_json
from avatar_core.errors import ArtifactError, Interrupted
from avatar_core.perception.prompts import split_actions
from avatar_core.priors.choices import (
    BroughtFacts,
    brought_facts,
    load_motion_codebook,
    load_motion_model,
    load_pose_codebook,
    read_facts,
)
from avatar_core.priors.foot_contacts import plant_feet
from avatar_core.priors.kinematics import face_forward, stand
from avatar_core.priors.motion_data import FPS
from avatar_core.priors.motion_editing import Sequence, close_loop, join
from avatar_core.stages.base import StageContext
from avatar_core.stages.candidate_poses import CandidatePoses
from avatar_core.stages.motion_generators import Config, Draft, Problem, make_generator

NAME = "motion"
VERSION = 6
logger = logging.getLogger(__name__)

__all__ = ["NAME", "VERSION", "Config", "Motion", "finish", "run"]


@dataclass(frozen=True, eq=False)
class Motion:
    """A motion at 30 frames a second, on the ground, starting at x = z = 0 and facing +Z."""

    poses: Tensor
    """(T, 22, 3) axis-angle relative to the parent joint and the T-pose, radians."""
    translation: Tensor
    """(T, 3) pelvis positions, metres, for a skeleton whose pelvis stands at 0.92 m."""
    standing: Tensor
    """(T, 2) bool, whether the left and the right foot stand and are held there; nowhere without `plant_feet`."""
    score_before: float
    """Mean score of the key frames for their action, -1 to 1, of what the motion started from."""
    score: float
    """The same of the result."""
    starts: tuple[int, ...]
    """Places of the entries of the motion codebook that the actions started from; -1 where there was none."""
    history: list[dict[str, float]]
    """Each step's number, loss and parts of the loss before weighting, as means over the starts."""
    authored: bool = False
    """Whether a candidate pose or a start comes from key poses that this project wrote, not from motion capture."""
    diversity: float = 0.0
    """Mean distance of joints in metres between the motions that several seeds start from; 0 where none is drawn."""
    loops: bool = False
    """Whether the frame after the last is the first one again, but for the pelvis's travel."""
    fps: int = FPS
    brought: BroughtFacts = ()
    """Name, digest and licence of each prior that its user brought."""

    def save(self, folder: Path) -> None:
        """Write the motion into an existing folder."""
        tensors = {"poses": self.poses, "translation": self.translation, "standing": self.standing}
        save_file({name: value.cpu().contiguous() for name, value in tensors.items()}, folder / "motion.safetensors")
        facts = {
            "score_before": self.score_before,
            "score": self.score,
            "starts": self.starts,
            "authored": self.authored,
            "diversity": self.diversity,
            "loops": self.loops,
            "history": self.history,
            "fps": self.fps,
        } | ({"brought": self.brought} if self.brought else {})
        (folder / "motion.json").write_text(json.dumps(facts, sort_keys=True), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Motion:
        """Read what `save` wrote; raises ArtifactError when it is missing or damaged."""
        try:
            tensors = load_file(folder / "motion.safetensors")
            facts = read_json((folder / "motion.json").read_text(encoding="utf-8"))
            facts |= {"starts": tuple(facts["starts"]), "brought": read_facts(facts)}
            poses, translation, standing = (tensors[name] for name in ("poses", "translation", "standing"))
            return cls(poses=poses, translation=translation, standing=standing, **facts)
        except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
            raise ArtifactError(f"{folder} holds no motion ({error}); run motion again") from error


def run(
    candidates: CandidatePoses, prompt: str, *, config: Config, seed: int, context: StageContext
) -> Motion:
    """Make a motion through the candidate poses of each action of the prompt, one action after the other.

    The actions' motions come from one of three generators (AvatarCLIP's, Hong et al. 2022; see `motion_generators`),
    are joined, and finished: standing feet planted, closed to a loop where that is asked for, on the ground, facing +Z.

    Interrupted runs continue from `context.checkpoint` as if they had not stopped: every step draws from a generator
    of its own. Raises DivergenceError when the loss is not finite.
    """
    context = replace(context, renderer=config.renderer)
    actions = split_actions(prompt)
    groups = candidates.of_actions(len(actions))
    drafts: list[Draft] = []
    resumed = context.checkpoint.load() if context.checkpoint is not None else None
    if resumed is not None:
        drafts = [Draft(**draft) for draft in resumed[0]["drafts"]]
        logger.info("motion continues at step %d", resumed[1])
    for number in range(len(drafts), len(actions)):
        problem = Problem(groups[number], actions[number], context, config.prior, candidates.prior)
        generator = make_generator(problem, config, seed)
        if resumed is not None and number == resumed[0]["action"]:
            generator.restore(resumed[0]["generator"])
        else:
            generator.begin()
        total = generator.steps * len(actions)
        while generator.step < generator.steps:
            loss = generator.advance()
            done = generator.steps * number + generator.step
            context.progress(done, total, f"loss {loss:.3f}")
            stopping = context.stop() and done < total
            if context.checkpoint is not None and done < total and (stopping or done % config.checkpoint_every == 0):
                kept = {"action": number, "drafts": [vars(draft) for draft in drafts], "generator": generator.state()}
                context.checkpoint.save(kept, done)
            if stopping:
                raise Interrupted(f"motion stopped at step {done} of {total}")
        drafts.append(generator.result())
    return replace(
        finish(drafts, load_motion_model(config.prior).rest_joints, config),
        authored=_authored(candidates, drafts, config),
        brought=(*candidates.brought, *brought_facts(NAME, config.model_dump())),
    )


def _authored(candidates: CandidatePoses, drafts: list[Draft], config: Config) -> bool:
    poses, motions = load_pose_codebook(candidates.prior), load_motion_codebook(config.prior)
    started = any(motions.authored[draft.start] for draft in drafts if draft.start >= 0)
    return started or any(poses.authored[entry] for entry in candidates.entries)


@torch.no_grad()
def finish(drafts: list[Draft], rest_joints: Tensor, config: Config) -> Motion:
    """Join the actions' motions and put them on the ground.

    rest_joints: (22, 3) of the priors' skeleton, metres.
    """
    whole = reduce(join, [_stand_firm(_sequence(draft), rest_joints, config) for draft in drafts])
    if len(drafts) > 1:
        whole = _stand_firm(whole, rest_joints, config)  # where one action goes over into the next
    if config.loop:
        whole = close_loop(whole)
    rotations, translation = face_forward(whole.rotations, whole.translation)
    return Motion(
        poses=matrix_to_axis_angle(rotations),
        translation=stand(rotations, translation, rest_joints),
        standing=whole.standing & config.plant_feet,
        score_before=sum(draft.score_before for draft in drafts) / len(drafts),
        score=sum(draft.score for draft in drafts) / len(drafts),
        starts=tuple(draft.start for draft in drafts),
        history=[entry for draft in drafts for entry in draft.history],
        diversity=sum(draft.diversity for draft in drafts) / len(drafts),
        loops=config.loop,
    )


def _sequence(draft: Draft) -> Sequence:
    return Sequence(draft.rotations.cpu(), draft.translation.cpu(), draft.standing.cpu())


def _stand_firm(motion: Sequence, rest_joints: Tensor, config: Config) -> Sequence:
    """Put a motion on the ground and, where asked for, hold the feet that stand."""
    rotations, translation = motion.rotations, stand(motion.rotations, motion.translation, rest_joints)
    if config.plant_feet:
        rotations, translation = plant_feet(rotations, translation, rest_joints, FPS, motion.standing)
    return Sequence(rotations, translation, motion.standing)
