"""Do motions show what they are asked for, and move like people? Three generators, twelve prompts, sheets, measures.

Every motion is worn by the neutral body, and measured as the export measures an avatar's: skate, penetration, joint
limits, jerk, score of frames; and how far motions of other seeds differ. Run
`python -m avatar_core.training.evaluate_motions --help`; look at the sheets that it writes.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from avatar_core.bodies import load_body
from avatar_core.bodies.rotations import axis_angle_to_matrix
from avatar_core.perception.encoder import load_encoder
from avatar_core.priors.features import neutral_body
from avatar_core.priors.foot_contacts import foot_skate
from avatar_core.priors.joint_angles import violation_share
from avatar_core.priors.kinematics import forward_kinematics, stand
from avatar_core.priors.motion_data import MotionData, load_motion_folder
from avatar_core.priors.motion_diversity import diversity
from avatar_core.priors.motion_vae import MotionVAE
from avatar_core.priors.views import GreyViews
from avatar_core.rigging.retarget import clip_joints, ground_facts, jerk, retarget
from avatar_core.rigging.self_contact import self_penetration
from avatar_core.rigging.skinning import deform, strongest
from avatar_core.stages import candidate_poses, motion
from avatar_core.stages.base import StageContext
from avatar_core.training.evaluate_prompts import TILE, write_sheet

logger = logging.getLogger(__name__)
PROMPTS: tuple[str, ...] = (
    "arguing", "bending over", "crying", "eating", "being excited", "kicking a football", "praying",
    "raising both arms", "running", "shooting a basketball", "squatting", "walking",
)  # fmt: skip
ABLATION: tuple[str, ...] = ("kicking a football", "praying", "raising both arms", "running")
"""Prompts of the sheet that has all methods side by side."""
METHODS: tuple[str, ...] = get_args(motion.Config.model_fields["method"].annotation)
FRAMES = 5
"""Key frames of a motion that the sheet shows."""


@dataclass(frozen=True)
class Measures:
    """What one motion measures on the neutral body."""

    score_before: float  # mean cosine of the key frames with the prompt, of where it started
    score: float  # of the result
    skate_mm: float  # slide of a standing foot from one frame to the next
    penetration_mm: float  # deepest vertex under the ground
    self_penetration_mm: float  # deepest overlap of two parts of the body
    limit_violations: float  # part of all joint angles beyond their limits
    jerk: float  # mean third derivative of joint positions, m/s^3
    authored: bool  # follows written key poses
    seconds: float  # of candidate_poses and motion together


def make(prompt: str, config: motion.Config, seed: int, context: StageContext) -> tuple[motion.Motion, float]:
    """Run candidate_poses and motion; return the motion and the seconds it took."""
    began = time.perf_counter()
    found = candidate_poses.run(prompt, config=candidate_poses.Config(), seed=seed, context=context)
    made = motion.run(found, prompt, config=config, seed=seed, context=context)
    return made, time.perf_counter() - began


def wear(made: motion.Motion, context: StageContext) -> tuple[np.ndarray, dict[str, float]]:
    """Return the neutral body's vertices (T, V, 3) in a motion, and what it measures there."""
    body, shaped = context.body, neutral_body(context.body)
    rig, vertices, joints = body.rig(shaped), shaped.vertices.cpu().numpy(), shaped.joints.cpu().numpy()
    skin = strongest(rig.weights.cpu().numpy())
    clip = retarget(body, rig, made.poses, made.translation, vertices, skin, fps=made.fps, standing=made.standing)
    posed = deform(vertices, skin, clip.transforms)
    ground = ground_facts(posed, skin, clip.fps)
    depth = self_penetration(vertices, joints, skin.renamed(rig.joint_of_bone), clip.transforms)
    return posed, {
        "skate_mm": ground.foot_skate,
        "penetration_mm": 1000 * max(0.0, -ground.lowest),
        "self_penetration_mm": 1000 * float(depth.max()),
        "limit_violations": violation_share(made.poses.numpy()),
        "jerk": jerk(clip_joints(clip, rig), clip.fps),
    }


def captured_skate(data: MotionData, word: str = "walking", frames: int = 60) -> float:
    """Mean skate in millimetres a frame of captured clips whose label begins with `word`, on the data's skeleton."""
    rest = torch.from_numpy(data.rest_joints)
    found = []
    for clip in data.clips:
        if clip.label.startswith(word) and clip.length >= frames and not clip.authored:
            rotations = axis_angle_to_matrix(torch.from_numpy(data.poses[clip.start : clip.start + frames]))
            moved = stand(rotations, torch.from_numpy(data.trans[clip.start : clip.start + frames]), rest)
            found.append(foot_skate(forward_kinematics(rotations, moved, rest), rest, 30))
    return float(np.mean(found))


def evaluate(
    context: StageContext, out: Path, prompts: tuple[str, ...], methods: tuple[str, ...], seeds: int
) -> dict[str, dict[str, dict[str, float]]]:
    """Make, measure and show motions; write a sheet for each method, one of all methods and motions.json to `out`.

    Returns the measures by method and prompt, those of the first seed; `diversity_m` is over all seeds.
    """
    out.mkdir(parents=True, exist_ok=True)
    views, rest = GreyViews(context.body, TILE), MotionVAE.load().rest_joints
    report: dict[str, dict[str, dict[str, float]]] = {}
    shown: dict[tuple[str, str], list[Tensor]] = {}
    for method in methods:
        for prompt in prompts:
            made = [make(prompt, motion.Config(method=method), seed, context) for seed in range(seeds)]
            first, seconds = made[0]
            posed, measured = wear(first, context)
            facts = Measures(
                score_before=first.score_before, score=first.score, authored=first.authored, seconds=seconds, **measured
            )
            report.setdefault(method, {})[prompt] = asdict(facts) | {
                "diversity_m": diversity(axis_angle_to_matrix(torch.stack([one.poses for one, _ in made])), rest)
            }
            logger.info("%-14s %-24s %s", method, prompt, facts)
            moments = [int(index) for index in np.linspace(0.05, 0.95, FRAMES) * (len(posed) - 1)]
            with torch.no_grad():
                shown[prompt, method] = [views.framed(torch.from_numpy(posed[index]), [0.5])[0] for index in moments]
        _write_rows(out / f"{method}.png", {prompt: shown[prompt, method] for prompt in prompts}, 2)
    compared = [prompt for prompt in prompts if prompt in ABLATION] or list(prompts)
    rows = {f"{prompt}: {method}": shown[prompt, method] for prompt in compared for method in methods}
    _write_rows(out / "ablation.png", rows, len(methods))
    (out / "motions.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return report


def _write_rows(path: Path, rows: dict[str, list[Tensor]], across: int) -> None:
    """Write titled rows of FRAMES pictures each, `across` of them side by side."""
    titles = [title if index == 0 else "" for title, pictures in rows.items() for index in range(len(pictures))]
    write_sheet(path, [picture for pictures in rows.values() for picture in pictures], titles, across * FRAMES)


def main() -> None:
    """Evaluate from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="bodyclip", help="embedded name, folder or hub name")
    parser.add_argument("--out", type=Path, required=True, help="folder of the sheets and motions.json")
    parser.add_argument("--prompts", nargs="+", default=PROMPTS)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--seeds", type=int, default=2, help="motions of each prompt, to compare with each other")
    parser.add_argument("--data", type=Path, help="motion folder, whose captured walks' skate is told too")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    context = StageContext(load_body("anny"), load_encoder(arguments.encoder))
    report = evaluate(context, arguments.out, tuple(arguments.prompts), tuple(arguments.methods), arguments.seeds)
    for method, found in report.items():
        names = [name for name in next(iter(found.values())) if name != "authored"]
        means = " ".join(f"{name} {np.mean([facts[name] for facts in found.values()]):.3f}" for name in names)
        logger.info("%-14s means: %s", method, means)
    if arguments.data is not None:
        logger.info("captured walks skate %.1f mm a frame", captured_skate(load_motion_folder(arguments.data)))


if __name__ == "__main__":
    main()
