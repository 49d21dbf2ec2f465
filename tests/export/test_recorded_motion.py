"""Recorded motion on avatars that did not have it: bones point as recorded, feet stand, nothing tears."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from motion_files import RIGS, bvh_text, write_amass, write_bvh

from avatar_core.bodies import load_body
from avatar_core.bodies.skeleton import JOINT_INDEX, JOINT_NAMES
from avatar_core.errors import ArtifactError
from avatar_core.export.clip_facts import clip_facts
from avatar_core.export.joint_motion import joint_motion
from avatar_core.export.recorded_motion import FPS, avatar_motion, fit_motion, read_motion, rig_of
from avatar_core.priors.captured_motion import REST_JOINTS, on_ground
from avatar_core.priors.foot_contacts import find_contacts
from avatar_core.priors.kinematics import forward_kinematics
from avatar_core.priors.motion_data import MotionDataError
from avatar_core.rigging.retarget import LEG_JOINTS

REST = torch.from_numpy(REST_JOINTS).double()


@pytest.fixture(scope="module")
def body():
    return load_body()


@pytest.fixture(scope="module")
def rigs(ada, bob, body, tiny_library):
    betas = {
        name: json.loads((tiny_library / f"avatars/{name}/report.json").read_bytes())["body"] for name in ("ada", "bob")
    }
    return {avatar.name: (avatar, rig_of(avatar, body, betas[avatar.name])) for avatar in (ada, bob)}


@pytest.fixture
def walk(ada, tmp_path):
    """Return a function: name of a capture software's skeleton -> a BVH file of it, walking, at 60 frames a second."""

    def write(rig: str):
        motion = avatar_motion(ada, "ada", "walking")
        path = tmp_path / f"{rig}.bvh"
        path.write_text(bvh_text(RIGS[rig], motion.rotations, motion.pelvis, motion.fps))
        return path

    return write


def sole_heights(avatar, clip) -> np.ndarray:
    """Height of the lowest vertex of the left and the right foot: (T, 2)."""
    posed = np.concatenate(list(clip.posed(avatar.mesh.vertices, avatar.skin)))
    lead = avatar.skin.joints[:, 0]
    return np.stack([posed[:, np.isin(lead, joints), 1].min(1) for joints in LEG_JOINTS.values()], axis=1)


def limbs(joints: np.ndarray) -> np.ndarray:
    """Unit directions (T, 8, 3) of thighs, shins, upper arms and forearms."""
    pairs = [
        (JOINT_INDEX[f"{side}_{start}"], JOINT_INDEX[f"{side}_{end}"])
        for side in ("left", "right")
        for start, end in (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist"))
    ]
    bones = np.stack([joints[:, end] - joints[:, start] for start, end in pairs], axis=1)
    return bones / np.linalg.norm(bones, axis=-1, keepdims=True)


@pytest.mark.parametrize("name", ["ada", "bob"])
def test_a_walk_over_a_tilted_floor_stands_on_level_ground(ada, rigs, body, name, tmp_path):
    motion = avatar_motion(ada, "ada", "walking")
    rise = 0.03 * (motion.pelvis[:, 2] - motion.pelvis[0, 2]).abs()
    tilted = motion.pelvis + rise[:, None] * torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    path = tmp_path / "tilted.bvh"
    path.write_text(bvh_text(RIGS["cmu-inches"], motion.rotations, tilted, motion.fps))
    avatar, rig = rigs[name]
    clip = fit_motion(path, read_motion(path), avatar, body, rig)
    stands = find_contacts(forward_kinematics(motion.rotations, motion.pelvis, REST), REST, FPS).standing.numpy()
    heights = sole_heights(avatar, clip)[: len(stands)][stands[: len(clip)]]
    assert len(heights) > len(clip) / 2
    assert heights.min() > -1e-3
    assert heights.max() < 0.03


@pytest.mark.parametrize("skeleton", ["cmu-inches", "mixamo-centimetres", "biped-z-up"])
@pytest.mark.parametrize("name", ["ada", "bob"])
def test_a_recorded_walk_stands_on_the_ground_and_tears_nothing(rigs, body, walk, name, skeleton):
    avatar, rig = rigs[name]
    path = walk(skeleton)
    motion = read_motion(path)
    clip = fit_motion(path, motion, avatar, body, rig)
    facts = clip_facts(avatar, clip)
    assert clip.fps == FPS
    assert facts.worst_stretch < 4
    assert facts.lowest_m > -1e-3
    assert facts.foot_skate_mm < 5
    joints = forward_kinematics(motion.rotations, on_ground(path, motion), REST)
    standing = find_contacts(joints, REST, FPS).standing.numpy()
    assert standing.any(0).all()
    heights = sole_heights(avatar, clip)
    assert heights[standing].max() < 0.03


@pytest.mark.parametrize("skeleton", ["cmu-inches", "mixamo-centimetres"])
def test_limbs_point_as_in_the_recording(rigs, body, walk, skeleton):
    avatar, rig = rigs["bob"]
    path = walk(skeleton)
    motion = read_motion(path)
    clip = fit_motion(path, motion, avatar, body, rig)
    assert clip.direction_error < 15
    recorded = forward_kinematics(motion.rotations, motion.pelvis, REST).numpy()
    placed = joint_motion(clip, avatar.skeleton)
    shown = forward_kinematics(*map(torch.from_numpy, (placed.rotations, placed.pelvis, placed.rest_joints))).numpy()
    angles = np.degrees(np.arccos(np.clip((limbs(recorded) * limbs(shown)).sum(-1), -1, 1)))
    assert np.median(angles) < 6  # planting feet turns legs a little


def test_longer_legs_take_longer_steps(rigs, body, walk):
    path = walk("cmu-inches")
    motion = read_motion(path)
    clips = {name: fit_motion(path, motion, avatar, body, rig) for name, (avatar, rig) in rigs.items()}
    way = {name: np.linalg.norm(clip.root[-1, [0, 2]] - clip.root[0, [0, 2]]) for name, clip in clips.items()}
    assert way["ada"] / way["bob"] == pytest.approx(clips["ada"].scale / clips["bob"].scale, rel=0.1)
    for clip in clips.values():
        np.testing.assert_allclose(clip.root[0, [0, 2]], 0, atol=0.02)


def test_an_avatar_s_own_clip_comes_back_as_it_was(rigs, body, ada):
    avatar, rig = rigs["ada"]
    again = fit_motion("ada", avatar_motion(ada, "ada"), avatar, body, rig)
    own = ada.clips["walking"]
    assert len(again) == len(own)
    turned = 2 * np.degrees(np.arccos(np.clip(np.abs((again.rotations * own.rotations).sum(-1)), 0, 1)))
    assert np.median(turned[:, : len(JOINT_NAMES)]) < 1
    assert np.abs(again.root - own.root).max() < 0.08  # on a way of 1.2 m: which feet stand is found anew


def test_amass_files_and_other_avatars_are_motion_too(rigs, body, tmp_path, tiny_library):
    avatar, rig = rigs["ada"]
    for path, clip in ((write_amass(tmp_path / "a.npz"), None), (tiny_library / "avatars/bob/avatar.glb", "waving")):
        made = fit_motion(path, read_motion(path, clip), avatar, body, rig, seconds=1)
        facts = clip_facts(avatar, made)
        assert facts.frames == 31
        assert facts.lowest_m > -1e-3
        assert np.ptp(made.rotations, axis=0).max() > 0.05


def test_a_part_of_a_motion_can_be_taken(rigs, body, tmp_path):
    avatar, rig = rigs["bob"]
    path = write_bvh(tmp_path / "take.bvh", fps=60, seconds=2)
    motion = read_motion(path)
    assert len(fit_motion(path, motion, avatar, body, rig)) == 61
    assert len(fit_motion(path, motion, avatar, body, rig, start=0.5, seconds=1)) == 31
    with pytest.raises(MotionDataError, match="begin sooner"):
        fit_motion(path, motion, avatar, body, rig, start=5)
    endless = replace(motion, rotations=motion.rotations.repeat(40, 1, 1, 1), pelvis=motion.pelvis.repeat(40, 1))
    with pytest.raises(MotionDataError, match="--start and --seconds"):
        fit_motion(path, endless, avatar, body, rig)


def test_what_is_no_motion_is_named_with_a_remedy(tmp_path, tiny_library):
    (tmp_path / "a.txt").write_text("hello")
    (tmp_path / "b.bvh").write_text("HIERARCHY")
    (tmp_path / "c.glb").write_bytes(b"glTF")
    for file, error, words in (
        ("a.txt", MotionDataError, ".bvh, .npz, .glb"),
        ("b.bvh", MotionDataError, "b.bvh"),
        ("c.glb", ArtifactError, "c.glb"),
        ("none.bvh", MotionDataError, "no such file"),
    ):
        with pytest.raises(error, match=words):
            read_motion(tmp_path / file)
    with pytest.raises(MotionDataError, match="'waving', 'idle'"):
        read_motion(tiny_library / "avatars/bob/avatar.glb", "jumping")


def test_a_body_that_is_not_the_avatar_s_is_noticed(ada, body, tiny_library):
    betas = json.loads((tiny_library / "avatars/bob/report.json").read_bytes())["body"]
    with pytest.raises(ArtifactError, match="another version"):
        rig_of(ada, body, betas)
    with pytest.raises(ArtifactError, match="lacks the body"):
        rig_of(ada, body, {})
