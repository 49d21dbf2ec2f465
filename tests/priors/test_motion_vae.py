import json

import pytest
import torch

from avatar_core.bodies.rotations import geodesic_angle
from avatar_core.errors import WeightsError
from avatar_core.priors.kinematics import forward_kinematics, heading_angle
from avatar_core.priors.motion_data import MotionDataError, load_motion_folder
from avatar_core.priors.motion_features import (
    CONTACTS,
    cosine_basis,
    features_to_motion,
    lever_weights,
    motion_features,
)
from avatar_core.priors.motion_vae import MotionCodebook, MotionVAE, MotionVaeConfig
from avatar_core.priors.train_motion_vae import MotionTraining, Windows, main, train

SMALL = MotionVaeConfig(latent=24, width=32, layers=1, cosines=6)


@pytest.fixture(scope="module")
def vae() -> MotionVAE:
    return MotionVAE.load()


@pytest.fixture(scope="module")
def book() -> MotionCodebook:
    return MotionCodebook.load()


def test_features_describe_a_motion_without_loss(motion_data):
    windows = Windows(motion_data, motion_data.clips, 60, 10, 1.0)
    rotations, translation, standing = windows.read(torch.arange(len(windows)), False)
    features = motion_features(rotations, translation, standing)
    back, moved = features_to_motion(features)
    assert torch.allclose(back, rotations, atol=1e-4)
    assert torch.allclose(moved, translation, atol=1e-4)
    assert torch.equal(features[..., CONTACTS], standing.float())


def test_mirrored_windows_stand_on_the_other_foot(make_folder):
    data = load_motion_folder(make_folder({"a": 70}))
    windows = Windows(data, data.clips, 60, 10, 1.0)
    windows.standing[0][:, 0] = True
    windows.standing = [windows.standing[0], windows.standing[0].flip(-1)]
    index = torch.tensor([0])
    assert windows.read(index, False)[2][0, :, 0].all()
    assert windows.read(index, True)[2][0, :, 1].all()


def test_the_cosine_basis_is_orthonormal_and_slow():
    basis = cosine_basis(24, 60)
    assert torch.allclose(basis @ basis.mT, torch.eye(24), atol=1e-5)
    slow = torch.sin(torch.linspace(0, 4, 60))
    assert (basis.mT @ (basis @ slow) - slow).abs().max() < 0.02


def test_hips_weigh_more_than_wrists(rest_joints):
    weights = lever_weights(rest_joints)
    assert weights.shape == (137,)
    assert weights[6] > 3 * weights[20 * 6]


def test_drawn_windows_start_at_the_origin_and_face_forward(motion_data):
    windows = Windows(motion_data, motion_data.clips, 60, 10, 0.5)
    rotations, translation, standing = windows.draw(16, 0.0, torch.Generator().manual_seed(0))
    assert rotations.shape == (16, 60, 22, 3, 3)
    assert standing.shape == (16, 60, 2)
    assert translation[:, 0, ::2].abs().max() < 1e-5
    assert heading_angle(rotations[:, 0, 0]).abs().max() < 1e-4


def test_the_shipped_prior_reconstructs_its_own_motions(vae, book):
    rotations, translation = vae.decode(book.latents[:8])
    again, moved = vae.decode(vae.encode(rotations, translation))
    joints = forward_kinematics(rotations, translation, vae.rest_joints)
    error = (forward_kinematics(again, moved, vae.rest_joints) - joints).norm(dim=-1)
    assert error.mean() < 0.04
    assert geodesic_angle(again, rotations).mean() < 0.15


def test_where_a_motion_starts_and_faces_does_not_matter(vae, book):
    rotations, translation = vae.decode(book.latents[:2])
    turn = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
    turned = rotations.clone()
    turned[:, :, 0] = turn @ rotations[:, :, 0]
    moved = (turn @ translation[..., None])[..., 0] + torch.tensor([3.0, 0.0, -2.0])
    assert torch.allclose(vae.encode(turned, moved), vae.encode(rotations, translation), atol=2e-3)


def test_decoding_has_gradients(vae, book):
    latent = book.latents[:1].clone().requires_grad_(True)
    _, translation = vae.decode(latent)
    assert translation.shape == (1, 60, 3)
    translation[0, -1, 2].backward()
    assert latent.grad.abs().sum() > 0


def test_codebook_motions_stand_and_move_like_people(vae, book):
    assert len(book) >= 512
    assert len(set(book.labels)) >= 80
    rotations, translation = vae.decode(book.latents[::8])
    joints = forward_kinematics(rotations, translation, vae.rest_joints)
    walking = torch.tensor([label.startswith("walking") for label in book.labels[::8]])
    lowest = joints[walking][..., 1].amin((1, 2))
    assert lowest.abs().max() < 0.25
    step = (joints[:, 1:] - joints[:, :-1]).norm(dim=-1)
    assert step.quantile(0.99) < 0.4  # 12 m/s
    travelled = (translation[walking][:, -1] - translation[walking][:, 0]).norm(dim=-1)
    assert travelled.median() > 0.5


def test_the_prior_knows_when_feet_stand(vae, book):
    walking = [number for number, label in enumerate(book.labels) if label == "walking"][:12]
    rotations, translation = vae.decode(book.latents[walking])
    standing = vae.contacts(book.latents[walking])
    speed = (forward_kinematics(rotations, translation, vae.rest_joints)[:, :, [7, 8]]).diff(dim=1).norm(dim=-1) * 30
    assert 0.2 < standing.float().mean() < 0.9  # of the captured walks 0.29: a foot that still rolls does not stand
    assert speed[standing[:, 1:]].mean() < 0.35 * speed[~standing[:, 1:]].mean()


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(WeightsError, match="give a folder of motion_vae weights"):
        MotionVAE.load(tmp_path)
    with pytest.raises(WeightsError, match="no motion codebook"):
        MotionCodebook.load(tmp_path)


def test_training_goes_on_exactly_where_it_stopped(motion_data, tmp_path, killed_after):
    settings = MotionTraining(steps=3, batch=4, held_out=0.0, component_windows=500)
    whole = train(motion_data, settings, sizes=SMALL)
    checkpoint = tmp_path / "motion.ckpt"
    with pytest.raises(killed_after(2)):
        train(motion_data, settings, checkpoint, every=1, sizes=SMALL)
    resumed = train(motion_data, settings, checkpoint, every=1, sizes=SMALL)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_clips_that_are_all_too_short_are_refused(make_folder):
    data = load_motion_folder(make_folder({"a": 12, "b": 15}))
    with pytest.raises(MotionDataError, match="give longer clips"):
        train(data, MotionTraining(steps=1))


def test_the_command_writes_weights_that_load(make_folder, tmp_path):
    folder = make_folder({f"swing-{number}": 150 for number in range(4)})
    small = ["--latent", "24", "--width", "32", "--layers", "1", "--cosines", "8"]
    size = ["--steps", "1", "--batch", "4", "--codebook", "9"]
    main(["--data", str(folder), "--out", str(tmp_path / "out"), *size, *small])
    vae, book = MotionVAE.load(tmp_path / "out"), MotionCodebook.load(tmp_path / "out")
    rotations, translation = vae.decode(book.latents)
    assert rotations.shape == (len(book), 60, 22, 3, 3)
    assert torch.isfinite(translation).all()
    measures = json.loads((tmp_path / "out" / "measures.json").read_text(encoding="utf-8"))
    # The principal components that training starts from already fit four swinging clips.
    assert measures["training"]["joint_error_mm"] < 60
