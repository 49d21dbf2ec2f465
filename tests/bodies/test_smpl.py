"""SMPL's function against a slow reference of it, and the body that the stages see."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from synthetic_smpl import synthetic_model, write_npz

from avatar_core.bodies import body_names, load_body, smpl_parts
from avatar_core.bodies.brought import add_models
from avatar_core.bodies.rotations import axis_angle_to_matrix
from avatar_core.bodies.skeleton import JOINT_INDEX
from avatar_core.bodies.smpl_format import read_model
from avatar_core.bodies.smpl_forward import SmplTensors, smpl_forward
from avatar_core.bodies.smpl_kinds import KINDS
from avatar_core.errors import BodyError, ConfigError

IDENTITY = torch.eye(3).repeat(1, 22, 1, 1)


@pytest.fixture(scope="module", autouse=True)
def models(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("models")
        patch.setenv("AVATARS_MODELS", str(root))
        add_models(write_npz(root.parent / "SMPL_NEUTRAL.npz"))
        add_models(write_npz(root.parent / "SMPLX_FEMALE.npz", "smplx"))
        yield root


@pytest.fixture(scope="module")
def body():
    return load_body("smpl")


@pytest.fixture(scope="module")
def shaped(body):
    return body.shape(body.neutral_shape)


def slow_smpl(model, betas, pose, translation):
    """SMPL as its paper writes it, one joint and one vertex array at a time, in float64.

    betas: (S,); pose: (J, 3) axis-angle; translation: (3,).
    """
    shaped = model.template.astype(np.float64)
    for component, beta in enumerate(betas):
        shaped = shaped + beta * model.shape_directions[:, :, component]
    joints = model.regressor.astype(np.float64) @ shaped
    turns = [Rotation.from_rotvec(turn).as_matrix() for turn in pose]
    bent = np.concatenate([(turn - np.eye(3)).ravel() for turn in turns[1:]])
    posed = shaped + np.einsum("vkp,p->vk", model.pose_directions.astype(np.float64), bent)
    world = []
    for joint, parent in enumerate(model.kind.parents):
        local = np.eye(4)
        local[:3, :3] = turns[joint]
        local[:3, 3] = joints[joint] - (joints[parent] if parent >= 0 else 0)
        world.append(local if parent < 0 else world[parent] @ local)
    placed = np.array([bone[:3, 3] for bone in world])
    vertices = np.zeros_like(posed)
    for joint, bone in enumerate(world):
        moved = (posed - joints[joint]) @ bone[:3, :3].T + bone[:3, 3]
        vertices += model.weights[:, joint : joint + 1] * moved
    return vertices + translation, placed + translation


@pytest.mark.parametrize("kind", KINDS)
def test_the_forward_agrees_with_a_slow_reference(kind, tmp_path):
    model = read_model(write_npz(tmp_path / "a.npz", kind).read_bytes(), kind)
    generator = np.random.default_rng(1)
    betas, count = generator.normal(size=(3, 10)), len(model.kind.joints)
    poses, places = generator.normal(size=(3, count, 3)) * 0.5, generator.normal(size=(3, 3))
    rotations = torch.from_numpy(Rotation.from_rotvec(poses.reshape(-1, 3)).as_matrix()).float()
    found = smpl_forward(
        SmplTensors.of(model),
        torch.from_numpy(betas).float(),
        rotations.unflatten(0, (3, count)),
        torch.from_numpy(places).float(),
    )
    for index in range(3):
        vertices, joints = slow_smpl(model, betas[index], poses[index], places[index])
        np.testing.assert_allclose(found.vertices[index], vertices, atol=1e-5)
        np.testing.assert_allclose(found.joints[index], joints, atol=1e-5)


def test_joints_that_are_not_given_stay_as_at_rest():
    model = SmplTensors.of(read_model_of("smpl"))
    turns = torch.eye(3).repeat(1, 24, 1, 1)
    turns[0, 5] = axis_angle_to_matrix(torch.tensor([0.4, 0.0, 0.1]))
    betas, place = torch.randn(1, 10, generator=torch.Generator().manual_seed(0)), torch.zeros(1, 3)
    whole, part = (smpl_forward(model, betas, turns[:, :count], place).vertices for count in (24, 22))
    torch.testing.assert_close(whole, part, atol=1e-6, rtol=0)


def read_model_of(kind):
    import io

    file = io.BytesIO()
    arrays = synthetic_model(kind)
    np.savez(file, **arrays | {"J_regressor": arrays["J_regressor"].toarray()})
    return read_model(file.getvalue(), kind)


def test_corrections_by_pose_are_there(body, shaped):
    bent = torch.zeros(1, 22, 3)
    bent[0, JOINT_INDEX["left_elbow"]] = torch.tensor([0.0, -1.2, 0.0])
    rotations = axis_angle_to_matrix(bent)
    found = body.pose(shaped, rotations)
    rigid = torch.einsum("vj,jab->vab", body.skinning_weights, found.transforms[0])
    plain = (rigid[:, :3, :3] @ shaped.vertices[..., None]).squeeze(-1) + rigid[:, :3, 3]
    away = (plain - found.vertices[0]).norm(dim=1)
    assert 1e-4 < float(away.max()) < 0.05


def test_added_bodies_have_names_and_missing_ones_say_how_to_get_them():
    assert body_names() == ("anny", "smpl", "smplx-female")
    with pytest.raises(ConfigError, match="avatars models add PATH"):
        load_body("smplh")
    with pytest.raises(ConfigError, match="there are: anny, smpl, smplx-female"):
        load_body("giraffe")


def test_the_bind_pose_is_the_embedded_bodys(body, shaped):
    embedded = load_body()
    theirs = embedded.shape(embedded.neutral_shape)
    assert (shaped.joints - theirs.joints).norm(dim=1).max() < 0.005
    assert (shaped.vertices - theirs.vertices).norm(dim=1).median() < 0.002


def test_bind_pose_rotations_give_back_the_bind_body(body, shaped):
    posed = body.pose(shaped, body.bind_pose(shaped)[None])
    torch.testing.assert_close(posed.vertices[0], shaped.vertices, atol=1e-5, rtol=0)
    torch.testing.assert_close(posed.joints[0], shaped.joints, atol=1e-5, rtol=0)
    torch.testing.assert_close(posed.transforms[0], torch.eye(4).expand(22, 4, 4), atol=1e-5, rtol=0)


def test_zero_pose_is_the_models_own_rest_standing_where_it_is_told(body, shaped):
    posed = body.pose(shaped, IDENTITY, torch.tensor([[1.0, 2.0, 3.0]]))
    torch.testing.assert_close(posed.joints[0, 0], torch.tensor([1.0, 2.0, 3.0]))
    template = torch.from_numpy(synthetic_model()["v_template"]).float()
    resting = posed.vertices[0] - posed.vertices[0].mean(0)
    torch.testing.assert_close(resting, template - template.mean(0), atol=1e-4, rtol=0)


def test_transforms_take_bind_joints_to_posed_joints(body, shaped):
    poses = torch.randn(5, 22, 3, generator=torch.Generator().manual_seed(1)) * 0.4
    posed = body.pose(shaped, axis_angle_to_matrix(poses), torch.randn(5, 3))
    moved = (posed.transforms[..., :3, :3] @ shaped.joints[..., None]).squeeze(-1) + posed.transforms[..., :3, 3]
    torch.testing.assert_close(moved, posed.joints, atol=1e-5, rtol=0)


def test_the_neutral_body_stands_on_the_ground(shaped):
    assert 1.5 < shaped.height < 2.0
    assert float(shaped.vertices[:, 1].min()) == pytest.approx(0, abs=1e-6)
    assert float(shaped.joints[0, 0]) == pytest.approx(0, abs=1e-6)


def test_components_move_the_body_and_gradients_reach_shape_and_pose(body):
    betas = torch.full((10,), 0.3, requires_grad=True)
    pose = torch.full((1, 22, 3), 0.1, requires_grad=True)
    body.pose(body.shape(betas), axis_angle_to_matrix(pose)).vertices.square().sum().backward()
    assert (betas.grad.abs() > 0).all()
    assert (pose.grad.abs().sum(-1) > 0).all()


@pytest.mark.parametrize("betas", [torch.zeros(6), torch.full((10,), float("nan"))])
def test_a_wrong_shape_vector_is_named(body, betas):
    with pytest.raises(BodyError, match="shape vector"):
        body.shape(betas)


@pytest.mark.parametrize(("name", "bones"), [("smpl", 24), ("smplx-female", 55)])
def test_the_rig_has_the_models_own_joints(name, bones):
    body = load_body(name)
    shaped = body.shape(body.neutral_shape)
    rig = body.rig(shaped)
    assert len(rig.names) == rig.weights.shape[1] == bones
    torch.testing.assert_close(rig.heads[:22], shaped.joints)
    poses = axis_angle_to_matrix(torch.randn(4, 22, 3, generator=torch.Generator().manual_seed(2)) * 0.4)
    places = torch.randn(4, 3)
    transforms = rig.pose(poses, places)
    joints = (transforms[:, :22, :3, :3] @ rig.heads[:22, :, None]).squeeze(-1) + transforms[:, :22, :3, 3]
    torch.testing.assert_close(joints, body.pose(shaped, poses, places).joints, atol=1e-5, rtol=0)


def test_weights_over_22_joints_are_a_partition_of_unity(body):
    assert torch.allclose(body.skinning_weights.sum(1), torch.ones(len(body.template)), atol=1e-5)


def test_parts_are_those_of_the_embedded_body_that_it_was_made_from(body):
    embedded = load_body()
    names = [name for name in embedded.region_names if name not in ("face", "mouth", "eyes", "scalp", "ears")]
    meant = torch.isin(embedded.regions, torch.tensor([embedded.region_names.index(name) for name in names]))
    assert (body.regions == embedded.regions)[meant].float().mean() > 0.99
    for name in ("scalp", "ears"):
        own = embedded.regions == embedded.region_names.index(name)
        assert (body.regions == embedded.regions)[own].float().mean() > 0.9
    head = embedded.regions == embedded.region_names.index("face")
    assert (body.charted - embedded.template)[head].norm(dim=1).max() < 0.004


def test_eyes_are_where_the_eyes_are(body, shaped):
    eyes = shaped.vertices[body.regions == body.region_names.index("eyes")]
    embedded = load_body()
    theirs = embedded.template[embedded.regions == embedded.region_names.index("eyes")]
    for side in (-1, 1):
        middle, wanted = (points[points[:, 0] * side > 0].mean(0) for points in (eyes, theirs))
        assert (middle - wanted)[:2].norm() < 0.006


@pytest.mark.parametrize(("known", "trusted"), [((0.040, 1.71), True), ((0.040, 1.10), False)])
def test_known_vertices_tell_where_the_eyes_are_unless_they_are_no_eyes(body, shaped, monkeypatch, known, trusted):
    places = (torch.tensor([side * known[0], known[1], 0.12]) for side in (1, -1))
    left, right = (
        int((shaped.vertices - place).norm(dim=1).argmin()) for place in places
    )
    monkeypatch.setitem(smpl_parts.EYE_VERTICES, len(shaped.vertices), (left, right))
    kind, vertices = KINDS["smpl"], shaped.vertices.numpy()
    parts = smpl_parts.SmplParts.of(kind, vertices, shaped.joints.numpy(), body.rig(shaped).weights.numpy())
    if trusted:
        assert parts.charted[left, 1] == pytest.approx(smpl_parts.EYES[1], abs=0.002)
        assert parts.charted[left, 0] == pytest.approx(smpl_parts.EYE_ASIDE, abs=0.002)
    else:
        np.testing.assert_allclose(parts.charted, body.charted, atol=1e-6)


@pytest.mark.parametrize(("name", "sex"), [("smpl", None), ("smplx-female", "woman")])
def test_the_models_gender_is_the_bodys_sex(name, sex):
    body = load_body(name)
    assert body.sex(body.shape(body.neutral_shape)) == sex


def test_samples_are_decided_by_the_seed_and_hold_the_extremes(body):
    first = body.plausible_shapes(200, 4)
    assert torch.equal(first, body.plausible_shapes(200, 4))
    assert not torch.equal(first, body.plausible_shapes(200, 5))
    assert first.abs().max() <= 3.5
    assert (first == torch.tensor([0.0] * 10)).all(1).any()
    assert ((first[:, 0] == 3) & (first[:, 1] == -3)).any()
    with pytest.raises(ValueError, match="ask for more"):
        body.plausible_shapes(20, 0)
