import json
import math
import shutil

import numpy as np
import pytest
import torch

from avatar_core.bodies.rotations import axis_angle_to_matrix, geodesic_angle, matrix_to_6d
from avatar_core.bodies.skeleton import JOINT_INDEX
from avatar_core.errors import WeightsError
from avatar_core.priors.pose_vae import PoseCodebook, PoseVAE
from avatar_core.priors.train_pose_vae import (
    PoseTraining,
    Surface,
    main,
    measure,
    measure_samples,
    train,
    wrong_way,
)
from avatar_core.priors.weights import weights_folder


@pytest.fixture(scope="module")
def vae() -> PoseVAE:
    return PoseVAE.load()


def test_the_shipped_prior_reconstructs_a_plain_pose(vae):
    pose = torch.zeros(1, 21, 3)
    pose[0, 15, 2], pose[0, 16, 2] = -1.2, 1.2  # arms down
    pose[0, 3, 0] = 0.5  # left knee bent
    rotations = axis_angle_to_matrix(pose)
    decoded = vae.decode(vae.encode(matrix_to_6d(rotations)))
    assert decoded.shape == (1, 21, 3, 3)
    assert geodesic_angle(decoded, rotations).mean() < 0.15


def test_decoded_rotations_are_rotations_and_have_gradients(vae):
    latent = torch.randn(4, 32, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    rotations = vae.decode(latent)
    assert torch.allclose(rotations @ rotations.mT, torch.eye(3).expand_as(rotations), atol=1e-5)
    assert torch.allclose(torch.linalg.det(rotations), torch.ones(4, 21), atol=1e-5)
    rotations[:, 5].sum().backward()
    assert latent.grad.abs().sum() > 0


def test_the_shipped_codebook_holds_many_different_poses(vae):
    book = PoseCodebook.load()
    rotations = book.rotations(vae)
    assert len(book) >= 1024
    assert rotations.shape == (len(book), 22, 3, 3)
    gap = (rotations[:-1] - rotations[1:]).abs().mean((1, 2, 3))
    assert gap.min() > 1e-3
    assert len(set(book.labels)) >= 80
    assert book.heights.min() > -0.1
    lying = (rotations[:, 0, 1, 1] < 0.4).sum()
    assert 5 < lying < len(book) / 4


def test_some_entries_can_be_asked_for(vae):
    book = PoseCodebook.load()
    index = torch.tensor([7, 3])
    assert torch.allclose(book.rotations(vae, index), book.rotations(vae)[index], atol=1e-5)


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(WeightsError, match="give a folder of pose_vae weights"):
        PoseVAE.load(tmp_path)


def test_weights_of_another_size_are_refused(tmp_path):
    shutil.copytree(weights_folder("pose_vae"), tmp_path / "copy")
    config = {"kind": "pose_vae", "latent": 16, "hidden": 512}
    (tmp_path / "copy" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(WeightsError, match="no weights of this pose VAE"):
        PoseVAE.load(tmp_path / "copy")


def test_random_samples_of_the_shipped_prior_are_within_the_joint_limits(vae):
    assert measure_samples(vae, 7, 1000)["within_joint_limits"] >= 0.95


def test_knees_and_elbows_that_bend_the_wrong_way_are_noticed():
    bends = [("left_knee", 0, 0.6), ("left_elbow", 1, -0.6), ("right_elbow", 1, 0.6)]
    poses = torch.zeros(6, 21, 3)
    for number, (joint, axis, angle) in enumerate(bends):
        poses[2 * number, JOINT_INDEX[joint] - 1, axis] = angle
        poses[2 * number + 1, JOINT_INDEX[joint] - 1, axis] = -angle
    found = wrong_way(axis_angle_to_matrix(poses))
    expected = [0.0, math.sin(0.6) ** 2] * 3
    torch.testing.assert_close(found, torch.tensor(expected))


def test_twisted_forearms_move_the_surface_but_no_joint():
    surface = Surface(200, torch.Generator().manual_seed(0))
    poses = torch.zeros(2, 21, 3)
    poses[1, JOINT_INDEX["left_wrist"] - 1, 0] = 1.0
    points = surface.posed(axis_angle_to_matrix(poses))
    assert points.shape == (2, 200, 3)
    assert (points[1] - points[0]).norm(dim=-1).max() > 0.01


def test_a_damaged_codebook_is_refused(tmp_path):
    shutil.copytree(weights_folder("pose_vae"), tmp_path / "copy")
    (tmp_path / "copy" / "codebook.safetensors").write_bytes(b"short")
    with pytest.raises(WeightsError, match="no pose codebook"):
        PoseCodebook.load(tmp_path / "copy")


def test_training_goes_on_exactly_where_it_stopped(motion_data, tmp_path, killed_after):
    settings = PoseTraining(steps=12, batch=32, held_out=0.0)
    whole = train(motion_data, settings)
    checkpoint = tmp_path / "pose.ckpt"
    with pytest.raises(killed_after(8)):
        train(motion_data, settings, checkpoint, every=4)
    resumed = train(motion_data, settings, checkpoint, every=4)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_a_checkpoint_of_another_training_is_refused(motion_data, tmp_path):
    train(motion_data, PoseTraining(steps=2, batch=8), tmp_path / "pose.ckpt", every=1)
    with pytest.raises(WeightsError, match="other settings"):
        train(motion_data, PoseTraining(steps=2, batch=16), tmp_path / "pose.ckpt")


def test_a_short_training_beats_an_untrained_model(motion_data):
    frames = np.arange(len(motion_data.poses))
    errors = [
        measure(train(motion_data, PoseTraining(steps=steps, batch=64)), motion_data, frames)["joint_error_mm"]
        for steps in (1, 120)
    ]
    assert errors[1] < 0.5 * errors[0]


def test_the_command_writes_weights_that_load(motion_folder, tmp_path):
    main(["--data", str(motion_folder), "--out", str(tmp_path / "out"), "--steps", "3", "--codebook", "20"])
    assert PoseVAE.load(tmp_path / "out").decode(torch.zeros(1, 32)).shape == (1, 21, 3, 3)
    book = PoseCodebook.load(tmp_path / "out")
    assert len(book) == 20
    assert set(book.labels) <= {"walk", "kick", "jump"}
    measures = json.loads((tmp_path / "out" / "measures.json").read_text(encoding="utf-8"))
    assert measures["training"]["joint_error_mm"] > 0
