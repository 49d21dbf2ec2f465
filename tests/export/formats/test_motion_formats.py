"""The motion of an avatar in BVH and AMASS files is the motion of its GLB."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from avatar_core.bodies.skeleton import JOINT_INDEX, NUM_JOINTS
from avatar_core.errors import ArtifactError
from avatar_core.export.finished import FinishedAvatar
from avatar_core.export.formats import amass, bvh
from avatar_core.export.joint_motion import joint_motion
from avatar_core.export.skeleton import Skeleton
from avatar_core.priors.amass import read_amass
from avatar_core.priors.bvh import read_bvh
from avatar_core.priors.kinematics import forward_kinematics
from avatar_core.priors.retarget_source import retarget


def placed_joints(avatar: FinishedAvatar) -> np.ndarray:
    """Where the clip's transforms put the 22 joints: (T, 22, 3)."""
    transforms = next(iter(avatar.clips.values())).transforms[:, :NUM_JOINTS].astype(float)
    heads = avatar.skeleton.heads[:NUM_JOINTS]
    return np.einsum("tjab,jb->tja", transforms[..., :3, :3], heads) + transforms[..., :3, 3]


def test_the_joints_motion_puts_the_joints_where_the_bones_are(ada):
    motion = joint_motion(ada.clips["walking"], ada.skeleton)
    placed = forward_kinematics(*map(torch.from_numpy, (motion.rotations, motion.pelvis, motion.rest_joints)))
    # bones between two joints take a share of a twist, which bends the straight line between these a little
    assert np.abs(placed.numpy() - placed_joints(ada)).max() < 0.01
    assert np.abs(placed.numpy() - placed_joints(ada)).mean() < 0.002


def test_the_t_pose_of_an_avatar_is_level_and_symmetric(ada):
    rest = joint_motion(ada.clips["walking"], ada.skeleton).rest_joints
    arm = rest[[JOINT_INDEX[f"left_{part}"] for part in ("shoulder", "elbow", "wrist")]]
    assert np.ptp(arm[:, 1]) < 0.03
    assert (np.diff(arm[:, 0]) > 0.2).all()
    left, right = ([JOINT_INDEX[f"{side}_{part}"] for part in ("hip", "ankle", "wrist")] for side in ("left", "right"))
    np.testing.assert_allclose(rest[left], rest[right] * [-1, 1, 1], atol=5e-3)


def test_bvh_read_again_is_the_same_motion(ada, tmp_path):
    bvh.write(ada, tmp_path)
    source = read_bvh(tmp_path / bvh.FILE)
    motion = joint_motion(ada.clips["walking"], ada.skeleton)
    assert source.names[:2] == ("Hips", "LeftUpLeg")
    assert source.fps == pytest.approx(30, abs=1e-3)
    np.testing.assert_allclose(source.root, 100 * motion.pelvis, atol=1e-4)
    ours = retarget("motion.bvh", source)
    turned = Rotation.from_matrix((ours.rotations.numpy().swapaxes(-1, -2) @ motion.rotations).reshape(-1, 3, 3))
    angles = np.rad2deg(turned.magnitude()).reshape(len(motion.pelvis), NUM_JOINTS)
    bent = [JOINT_INDEX[f"{side}_{part}"] for side in ("left", "right") for part in ("knee", "elbow", "hip")]
    assert np.median(angles[:, bent]) < 12  # what two bodies' T-poses differ by


def test_amass_read_again_is_the_same_motion(bob, tmp_path):
    amass.write(bob, tmp_path)
    read = read_amass(tmp_path / amass.FILE)
    motion = joint_motion(bob.clips["waving"], bob.skeleton)
    np.testing.assert_allclose(read.rotations, motion.rotations, atol=1e-6)
    np.testing.assert_allclose(read.pelvis, motion.pelvis, atol=1e-6)
    with np.load(tmp_path / amass.FILE) as arrays:
        assert arrays["poses"].shape == (len(motion.pelvis), 156)
        assert arrays["trans"][:, 2].mean() == pytest.approx(motion.pelvis[:, 1].mean())  # Z is up there


def test_an_avatar_without_a_clip_has_no_motion_to_write(ada, tmp_path):
    still = FinishedAvatar(ada.name, ada.mesh, ada.skin, ada.skeleton, {}, ada.extras)
    for module in (bvh, amass):
        with pytest.raises(ArtifactError, match="ada has no motion"):
            module.write(still, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_skeleton_poses_as_the_rig_that_it_came_from(small_rig):
    rig, rotations, transforms = small_rig
    skeleton = Skeleton.of(rig)
    local = Rotation.from_matrix(rig.relative(transforms[..., :3, :3].double()).numpy().reshape(-1, 3, 3))
    turns = local.as_quat().reshape(len(rotations), -1, 4)
    root = (transforms[:, 0, :3, :3] @ rig.heads[0] + transforms[:, 0, :3, 3]).numpy()
    np.testing.assert_allclose(skeleton.transforms(turns, root), transforms, atol=1e-5)
