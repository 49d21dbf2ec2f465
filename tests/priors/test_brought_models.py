"""What VPoser's and AvatarCLIP's networks compute, held against their definitions written out."""

import math

import pytest
import torch
from brought_priors import flow_checkpoint, motion_checkpoint, shape_vae, vposer_state, write_vposer
from torch.nn import functional as F

from avatar_core.bodies.rotations import axis_angle_to_matrix
from avatar_core.errors import WeightsError
from avatar_core.priors import choices
from avatar_core.priors.avatarclip_codebooks import read_shape_vae
from avatar_core.priors.avatarclip_flow import AvatarClipFlow, read_flow
from avatar_core.priors.avatarclip_motion import AvatarClipMotion, read_motion
from avatar_core.priors.brought import add_priors
from avatar_core.priors.kinematics import forward_kinematics
from avatar_core.priors.pose_vae import PoseCodebook
from avatar_core.priors.vposer import VPoser, read_vposer


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def rotation(first, second):
    """The rotation whose first column is along `first`, and whose second lies in the plane of both."""
    first = first / first.norm()
    second = second - (first @ second) * first
    second = second / second.norm()
    return torch.stack([first, second, torch.linalg.cross(first, second)], dim=1)


def test_vposer_decodes_rows_of_two_columns():
    state = vposer_state()
    model, latent = VPoser.of(read_vposer(state, "file"), "digest"), normal(2, 32)
    hidden = latent
    for place in (0, 3):
        hidden = F.leaky_relu(hidden @ state[f"decoder_net.{place}.weight"].mT + state[f"decoder_net.{place}.bias"])
    numbers = hidden @ state["decoder_net.5.weight"].mT + state["decoder_net.5.bias"]
    joint = numbers[1, 6 * 4 : 6 * 5]
    expected = rotation(joint[[0, 2, 4]], joint[[1, 3, 5]])
    assert torch.allclose(model.decode(latent)[1, 4], expected, atol=1e-5)


def test_vposer_encodes_axis_angles_with_the_statistics_of_its_training():
    state = vposer_state()
    model, turns = VPoser.of(read_vposer(state, "file"), "digest"), 0.3 * normal(3, 21, 3)

    def scaled(values, place):
        mean, variance = state[f"encoder_net.{place}.running_mean"], state[f"encoder_net.{place}.running_var"]
        unit = (values - mean) / (variance + 1e-5).sqrt()
        return unit * state[f"encoder_net.{place}.weight"] + state[f"encoder_net.{place}.bias"]

    def through(values, name):
        return values @ state[f"encoder_net.{name}.weight"].mT + state[f"encoder_net.{name}.bias"]

    hidden = scaled(F.leaky_relu(through(scaled(turns.flatten(1), 1), "2")), 4)
    expected = through(through(through(hidden, "6"), "7"), "8.mu")
    assert torch.allclose(model.encode_rotations(axis_angle_to_matrix(turns)), expected, atol=1e-4)


def test_the_motion_decoder_gives_the_bodys_joints_upright_on_the_ground():
    state = motion_checkpoint()["state_dict"]
    model, latent = AvatarClipMotion.of(read_motion(state, "file"), "digest"), normal(2, 256)
    rotations, translation = model.decode(latent)
    assert rotations.shape == (2, 60, 22, 3, 3)
    assert torch.equal(rotations[:, :, 0], torch.eye(3).expand(2, 60, 3, 3))
    assert torch.allclose(translation[..., [0, 2]], torch.zeros(2, 60, 2))
    joints = forward_kinematics(rotations, translation, model.rest_joints)
    assert joints[..., 1].amin(-1).abs().max() < 1e-5
    assert model.contacts(latent).shape == (2, 60, 2)
    assert (rotations[0] - rotations[1]).abs().max() > 0.05


def test_the_motion_decoders_numbers_are_two_rows_of_each_of_smplx_joints():
    state = motion_checkpoint()["state_dict"]
    turned = rotation(torch.tensor([0.6, 0.8, 0.1]), torch.tensor([-0.5, 1.0, 0.3]))
    state["decoder.final.weight"].zero_()
    state["decoder.final.bias"].view(55, 6)[17] = turned[:2].flatten()
    rotations, _ = AvatarClipMotion.of(read_motion(state, "file"), "digest").decode(normal(1, 256))
    assert torch.allclose(rotations[0, 33, 17], turned, atol=1e-6)


def test_the_motion_decoder_is_the_published_one():
    """Against torch's own decoder under the names of the file."""
    state = motion_checkpoint()["state_dict"]
    layer = torch.nn.TransformerDecoderLayer(256, 4, 1024, activation="gelu")
    reference = torch.nn.TransformerDecoder(layer, 4).eval()
    prefix = "decoder.seqTransDecoder."
    layers = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    reference.load_state_dict(layers)
    latent = normal(1, 256)
    written = reference(tgt=state["decoder.pos_encoder.pe"][:60], memory=latent[None])[:, 0]
    numbers = written @ state["decoder.final.weight"].mT + state["decoder.final.bias"]
    rows = numbers[20].view(55, 6)[5]
    expected = rotation(rows[:3], rows[3:]).mT
    rotations, _ = AvatarClipMotion.of(read_motion(state, "file"), "digest").decode(latent)
    assert torch.allclose(rotations[0, 20, 5], expected, atol=1e-5)


def test_the_flow_can_be_undone_by_the_published_inverse():
    state = flow_checkpoint()["state_dict"]
    flow = AvatarClipFlow.of(read_flow(state, "file"))
    noise, features = normal(3, 32), 8 * F.normalize(normal(3, 512, seed=1), dim=-1)

    def net(name, values):
        for place in (0, 2, 4):
            values = values @ state[f"{name}.{place}.weight"].mT + state[f"{name}.{place}.bias"]
            values = F.leaky_relu(values) if place < 4 else values
        return values

    values = flow.to_latents(noise, features)
    for block in reversed(range(8)):
        mask = state["mask"][block]
        read = torch.cat([mask * values, features], dim=-1)
        scale, shift = net(f"s.{block}", read).tanh() * (1 - mask), net(f"t.{block}", read) * (1 - mask)
        # AvatarCLIP's forward pass adds the shift after scaling.
        values = mask * values + (1 - mask) * (values - shift) * (-scale).exp()
    assert torch.allclose(values, noise, atol=1e-3)
    assert not torch.allclose(flow.to_latents(noise, -features), flow.to_latents(noise, features), atol=0.01)


def test_the_shape_decoders_two_layers_are_one_map():
    state = {name: 0.1 * normal(*value.shape) for name, value in shape_vae(torch.zeros(50, 3, 10)).items()}
    found, latent = read_shape_vae(state, "file"), normal(4, 16)
    inner = latent @ state["dec1.weight"].mT + state["dec1.bias"]
    expected = inner @ state["dec2.weight"].mT + state["dec2.bias"]
    assert torch.allclose(latent @ found["axes"].mT + found["offset"], expected, atol=1e-4)


def test_a_shape_vae_of_another_latent_is_refused():
    state = shape_vae(torch.zeros(50, 3, 10)) | {"dec1.weight": torch.zeros(64, 8)}
    with pytest.raises(WeightsError, match=r"dec1\.weight has the shape \[64, 8\], expected \[64, 16\]"):
        read_shape_vae(state, "file")


def test_vposer_sees_the_shipped_poses(tmp_path, monkeypatch):
    monkeypatch.setenv("AVATARS_MODELS", str(tmp_path / "models"))
    record = add_priors(write_vposer(tmp_path)).records[0]
    shipped, book = PoseCodebook.load(), choices.load_pose_codebook("vposer")
    assert (len(book), book.labels, book.authored) == (len(shipped), shipped.labels, shipped.authored)
    assert torch.equal(book.roots, shipped.roots)
    assert book.latents.shape == (len(shipped), 32)
    assert book.digest != shipped.digest
    rotations = book.rotations(choices.load_pose_model("vposer"), torch.tensor([3]))
    assert rotations.shape == (1, 22, 3, 3)
    assert choices.load_pose_model("vposer").digest == record.digest
    assert math.isclose(float(torch.linalg.det(rotations[0, 5])), 1, abs_tol=1e-4)
