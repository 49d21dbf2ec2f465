from dataclasses import replace

import pytest
import torch

from avatar_core.bodies import load_body
from avatar_core.bodies.rotations import axis_angle_to_matrix, geodesic_angle
from avatar_core.errors import ArtifactError, DivergenceError, Interrupted
from avatar_core.perception.encoder import load_encoder
from avatar_core.priors.kinematics import forward_kinematics, heading_angle
from avatar_core.priors.motion_editing import OVERLAP
from avatar_core.priors.motion_objective import movement, pose_loss, pose_vectors
from avatar_core.priors.motion_vae import MotionVAE
from avatar_core.stages import candidate_poses, motion
from avatar_core.stages.base import StageContext
from avatar_core.stages.candidate_poses import CandidatePoses
from avatar_core.stages.motion import Config, Motion
from avatar_core.stages.motion_generators.base import Problem
from avatar_core.stages.motion_generators.interpolation import Interpolation
from avatar_core.storage.store import ArtifactStore

PROMPT = "a person is running"
QUICK = Config(steps=4, starts=1, clip_frames=1, checkpoint_every=2)


@pytest.fixture(scope="module")
def context() -> StageContext:
    return StageContext(load_body(), load_encoder("bodyclip"))


@pytest.fixture(scope="module")
def candidates(context) -> CandidatePoses:
    return candidate_poses.run(PROMPT, config=candidate_poses.Config(), seed=0, context=context)


@pytest.fixture(scope="module")
def result(candidates, context) -> Motion:
    return motion.run(candidates, PROMPT, config=QUICK, seed=0, context=context)


def test_a_motion_starts_at_the_origin_facing_forward_on_the_ground(result):
    assert result.poses.shape == (60, 22, 3)
    assert result.translation.shape == (60, 3)
    assert result.fps == 30
    rotations = axis_angle_to_matrix(result.poses)
    assert abs(heading_angle(rotations[0, 0]).item()) < 1e-3
    assert result.translation[0, ::2].abs().max() < 1e-5
    joints = forward_kinematics(rotations, result.translation, MotionVAE.load().rest_joints)
    assert abs(joints[..., 1].min().item()) < 1e-3
    assert 0.3 < result.translation[:, 1].max() < 2.2


def test_how_far_seeds_differ_is_told(candidates, context, result):
    assert result.diversity > 0
    alike = motion.run(candidates, PROMPT, config=QUICK.model_copy(update={"variety": 0.0}), seed=0, context=context)
    assert alike.diversity == 0
    random = QUICK.model_copy(update={"search": False})
    assert motion.run(candidates, PROMPT, config=random, seed=0, context=context).diversity > 0.02


def test_optimising_lowers_the_loss_and_nears_the_candidates(candidates, context):
    config = QUICK.model_copy(update={"steps": 25, "clip_weight": 0.0, "learning_rate": 0.03})
    history = motion.run(candidates, PROMPT, config=config, seed=0, context=context).history
    assert [entry["step"] for entry in history] == list(range(1, 26))
    assert history[-1]["loss"] < history[0]["loss"]
    assert history[-1]["pose"] < 0.9 * history[0]["pose"]


def test_the_prior_term_keeps_the_latent_near_its_start(candidates, context):
    away = []
    for weight in (0.0, 10.0):
        config = QUICK.model_copy(update={"steps": 12, "clip_weight": 0.0, "prior_weight": weight})
        away.append(motion.run(candidates, PROMPT, config=config, seed=0, context=context).history[-1]["prior"])
    assert away[1] < 0.5 * away[0]


def test_the_prompt_moves_the_latent(candidates, context):
    config = QUICK.model_copy(update={"pose_weight": 0.0, "movement_weight": 0.0, "clip_weight": 1.0, "steps": 2})
    moved = motion.run(candidates, PROMPT, config=config, seed=0, context=context)
    assert moved.history[-1]["prior"] > 1e-6


def test_the_same_seed_gives_the_same_motion_and_another_seed_another(candidates, context, result):
    again = motion.run(candidates, PROMPT, config=QUICK, seed=0, context=context)
    other = motion.run(candidates, PROMPT, config=QUICK, seed=1, context=context)
    assert torch.equal(again.poses, result.poses)
    assert torch.equal(again.translation, result.translation)
    assert not torch.equal(other.poses, result.poses)


def test_a_killed_motion_goes_on_exactly(candidates, context, result, tmp_path):
    checkpoint = ArtifactStore(str(tmp_path)).checkpoints("motion", "0" * 32)

    class Killed(Exception):
        pass

    def die_in_step_three(done: int, total: int, note: str) -> None:
        if total == QUICK.steps and done == 3:
            raise Killed

    interrupted = replace(context, checkpoint=checkpoint, progress=die_in_step_three)
    with pytest.raises(Killed):
        motion.run(candidates, PROMPT, config=QUICK, seed=0, context=interrupted)
    done = []
    resumed = replace(context, checkpoint=checkpoint, progress=lambda step, total, note: done.append(step))
    again = motion.run(candidates, PROMPT, config=QUICK, seed=0, context=resumed)
    assert done == [3, 4]
    assert torch.equal(again.poses, result.poses)
    assert torch.equal(again.translation, result.translation)
    assert again.history == result.history
    assert again.diversity == result.diversity


def test_a_motion_that_is_asked_to_stop_keeps_its_last_step_and_goes_on_exactly(candidates, context, result, tmp_path):
    checkpoint = ArtifactStore(str(tmp_path)).checkpoints("motion", "0" * 32)
    asked = iter([True])  # after the first step, which is no multiple of `checkpoint_every`
    stopping = replace(context, checkpoint=checkpoint, stop=lambda: next(asked))
    with pytest.raises(Interrupted, match="step 1 of 4"):
        motion.run(candidates, PROMPT, config=QUICK, seed=0, context=stopping)
    done = []
    resumed = replace(context, checkpoint=checkpoint, progress=lambda step, total, note: done.append(step))
    again = motion.run(candidates, PROMPT, config=QUICK, seed=0, context=resumed)
    assert done == [2, 3, 4]
    assert torch.equal(again.poses, result.poses)


def test_the_three_generators_make_three_motions(candidates, context, result):
    made = {"full": result}
    for method in ("interpolation", "baseline"):
        config = QUICK.model_copy(update={"method": method})
        made[method] = motion.run(candidates, PROMPT, config=config, seed=0, context=context)
    assert {one.poses.shape for one in made.values()} == {(60, 22, 3)}
    assert not torch.equal(made["full"].poses, made["baseline"].poses)
    assert set(made["baseline"].history[0]) == {"step", "loss", "pose", "prior"}
    assert set(made["full"].history[0]) == {"step", "loss", "pose", "prior", "movement", "clip"}
    assert (made["interpolation"].starts, made["interpolation"].history) == ((-1,), [])


def test_interpolation_meets_every_candidate_and_comes_back(candidates, context):
    draft = Interpolation(Problem(candidates.poses, PROMPT, context), QUICK, 0).result()
    vectors = pose_vectors(draft.rotations)
    wanted = pose_vectors(axis_angle_to_matrix(candidates.poses))
    assert pose_loss(vectors[None], wanted).item() < 0.01
    steps = (vectors[1:] - vectors[:-1]).norm(dim=-1)
    assert (vectors[0] - vectors[-1]).norm() < 2 * steps.max()


def test_without_search_the_seed_draws_the_start(candidates, context):
    config = QUICK.model_copy(update={"method": "baseline", "search": False, "steps": 0})
    first, again, other = (motion.run(candidates, PROMPT, config=config, seed=s, context=context) for s in (0, 0, 1))
    assert first.starts == (-1,)
    assert torch.equal(first.poses, again.poses)
    assert not torch.equal(first.poses, other.poses)


def test_seeds_start_from_different_motions_that_fit(context):
    walking = candidate_poses.run("walking", config=candidate_poses.Config(), seed=0, context=context)

    def start(seed: int, variety: float) -> tuple[int, float]:
        config = Config(steps=0, starts=1, variety=variety)
        made = motion.run(walking, "walking", config=config, seed=seed, context=context)
        return made.starts[0], made.score

    plain = {start(seed, 0.0) for seed in range(4)}
    varied = {start(seed, 0.15) for seed in range(4)}
    assert len(plain) == 1 < len(varied)
    best = next(iter(plain))[1]
    assert all(score > best - 0.1 for _, score in varied)


def test_several_actions_follow_each_other(context, tmp_path):
    prompt = "walking, then squatting"
    candidates = candidate_poses.run(prompt, config=candidate_poses.Config(count=3), seed=0, context=context)
    assert candidates.actions == (0, 0, 0, 1, 1, 1)
    checkpoint = ArtifactStore(str(tmp_path)).checkpoints("motion", "0" * 32)
    straight = motion.run(candidates, prompt, config=QUICK, seed=0, context=context)
    assert len(straight.poses) == len(straight.translation) == 120 - OVERLAP
    assert len(straight.starts) == 2
    pelvis = straight.translation[:, 1]
    assert pelvis[90:].min() < pelvis[:40].min() - 0.1

    class Killed(Exception):
        pass

    def die_in_the_second_action(done: int, total: int, note: str) -> None:
        if total == 2 * QUICK.steps and done == QUICK.steps + 3:
            raise Killed

    broken = replace(context, checkpoint=checkpoint, progress=die_in_the_second_action)
    with pytest.raises(Killed):
        motion.run(candidates, prompt, config=QUICK, seed=0, context=broken)
    resumed = motion.run(candidates, prompt, config=QUICK, seed=0, context=replace(context, checkpoint=checkpoint))
    assert torch.equal(resumed.poses, straight.poses)
    with pytest.raises(ArtifactError, match="not of this motion prompt"):
        motion.run(candidates, "walking", config=QUICK, seed=0, context=context)


def test_longer_motions_come_from_windows_that_agree_where_they_overlap(candidates, context, tmp_path):
    config = QUICK.model_copy(update={"frames": 150, "clip_weight": 0.0})
    long = motion.run(candidates, PROMPT, config=config, seed=0, context=context)
    assert long.poses.shape == (150, 22, 3)
    assert long.standing.shape == (150, 2)
    assert long.history[-1]["seam"] < long.history[0]["seam"]
    local = axis_angle_to_matrix(long.poses)
    steps = geodesic_angle(local[1:], local[:-1]).mean(1)
    usual = steps[:40].mean()
    for seam in (60 - OVERLAP, 108 - OVERLAP):
        assert steps[seam : seam + OVERLAP].max() < 4 * usual
    short = motion.run(candidates, PROMPT, config=QUICK.model_copy(update={"frames": 40}), seed=0, context=context)
    assert len(short.poses) == 40


def test_feet_stand_only_where_they_are_held(candidates, context):
    config = QUICK.model_copy(update={"steps": 0})
    held = motion.run(candidates, "walking", config=config, seed=0, context=context)
    config = config.model_copy(update={"plant_feet": False})
    free = motion.run(candidates, "walking", config=config, seed=0, context=context)
    assert held.standing.any()
    assert not free.standing.any()


def test_a_loop_ends_where_it_begins(candidates, context):
    looped = motion.run(candidates, PROMPT, config=QUICK.model_copy(update={"loop": True}), seed=0, context=context)
    assert looped.loops
    assert 24 <= len(looped.poses) <= 60
    local = axis_angle_to_matrix(looped.poses)[:, 1:]
    usual = geodesic_angle(local[1:], local[:-1]).mean(1)
    assert geodesic_angle(local[-1], local[0]).mean() < 1.5 * usual.max()


def test_no_steps_give_the_codebook_entry_as_it_is(candidates, context):
    found = motion.run(candidates, PROMPT, config=QUICK.model_copy(update={"steps": 0}), seed=0, context=context)
    assert found.score == pytest.approx(found.score_before)
    assert found.history == []


def test_candidates_that_are_not_finite_are_reported(candidates, context):
    broken = replace(candidates, poses=torch.full_like(candidates.poses, float("nan")))
    with pytest.raises(DivergenceError, match="another seed"):
        motion.run(broken, PROMPT, config=QUICK, seed=0, context=context)


def test_pose_loss_is_zero_for_a_motion_through_all_candidates():
    generator = torch.Generator().manual_seed(0)
    rotations = axis_angle_to_matrix(torch.randn(1, 60, 22, 3, generator=generator) * 0.3)
    vectors = pose_vectors(rotations)
    assert pose_loss(vectors, vectors[0, [3, 30, 50]]).item() == pytest.approx(0.0, abs=1e-9)
    assert pose_loss(vectors, vectors[0, [3, 30, 50]] + 0.1).item() == pytest.approx(1.8 * 0.01, rel=1e-4)


def test_a_still_motion_has_no_movement():
    vectors = torch.ones(2, 60, 132)
    vectors[1, ::2] += 0.5
    assert movement(vectors).tolist() == pytest.approx([0.0, 0.5])


def test_a_motion_survives_the_disk(result, tmp_path):
    result.save(tmp_path)
    loaded = Motion.load(tmp_path)
    assert torch.equal(loaded.poses, result.poses)
    assert torch.equal(loaded.translation, result.translation)
    assert torch.equal(loaded.standing, result.standing)
    assert (loaded.score, loaded.starts, loaded.history) == (result.score, result.starts, result.history)


def test_a_damaged_motion_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match="run motion again"):
        Motion.load(tmp_path)
