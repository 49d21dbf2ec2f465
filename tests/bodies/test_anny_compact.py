"""The compact body agrees with Anny itself, and its poses mean what SMPL's mean."""

import math

import pytest
import torch

from avatar_core.bodies import load_body
from avatar_core.bodies.anatomy import bone_joint_map
from avatar_core.bodies.build_anny_compact import to_y_up
from avatar_core.bodies.rotations import axis_angle_to_matrix
from avatar_core.bodies.skeleton import JOINT_INDEX
from avatar_core.errors import BodyError, ConfigError

MILLIMETRE = 1e-3


@pytest.fixture(scope="module")
def body():
    return load_body()


@pytest.fixture(scope="module")
def anny_model():
    anny = pytest.importorskip("anny", reason="anny, the reference body, is not installed")
    return anny.Anny()


def random_shapes(body, count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    shapes = torch.rand(count, len(body.shape_labels), generator=generator)
    shapes[0], shapes[1], shapes[2] = 0.0, 1.0, body.neutral_shape
    return shapes


def reference(model, body, betas):
    output = model(phenotype_kwargs={n: float(v) for n, v in zip(body.shape_labels, betas)})
    return output, to_y_up(output["rest_vertices"][0]).float()


@pytest.mark.slow
def test_rest_shapes_agree_with_anny_within_a_millimetre(body, anny_model):
    for betas in random_shapes(body, 8):
        shaped = body.shape(betas)
        _, expected = reference(anny_model, body, betas)
        offset = (expected - shaped.vertices).mean(0)
        assert (expected - shaped.vertices - offset).norm(dim=1).max() < MILLIMETRE


@pytest.mark.slow
def test_posed_bodies_agree_with_annys_own_skinning_within_a_millimetre(body, anny_model):
    to_anny = torch.tensor([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]], dtype=torch.float64)  # Y up to Z up
    joints = bone_joint_map(anny_model.bone_labels, anny_model.bone_parents)
    generator = torch.Generator().manual_seed(5)
    for betas in random_shapes(body, 5):
        shaped = body.shape(betas)
        output, expected_rest = reference(anny_model, body, betas)
        ground = (expected_rest - shaped.vertices).mean(0)
        rotations = axis_angle_to_matrix(torch.randn(1, 22, 3, generator=generator) * 0.4)
        posed = body.pose(shaped, rotations)
        transforms = posed.transforms[0, joints].double()
        linear = to_anny @ transforms[:, :3, :3] @ to_anny.T
        # Our origin is on the ground below the pelvis: x -> A (x - g) + t, turned into Anny's axes.
        shift = (transforms[:, :3, 3] - transforms[:, :3, :3] @ ground.double()) @ to_anny.T
        world = torch.eye(4, dtype=torch.float64).repeat(len(joints), 1, 1)
        world[:, :3, :3], world[:, :3, 3] = linear, shift
        pose = (world @ output["rest_bone_poses"][0])[None]
        theirs = anny_model(
            pose_parameters=pose,
            phenotype_kwargs={n: float(v) for n, v in zip(body.shape_labels, betas)},
            pose_parameterization="world",
        )
        difference = to_y_up(theirs["vertices"][0]).float() - posed.vertices[0]
        assert difference.norm(dim=1).max() < MILLIMETRE


def test_bind_pose_rotations_give_back_the_bind_vertices(body):
    shaped = body.shape(body.neutral_shape)
    posed = body.pose(shaped, body.bind_pose(shaped)[None])
    assert torch.allclose(posed.vertices[0], shaped.vertices, atol=1e-5)


def test_zero_pose_is_a_t_pose_facing_forward(body):
    shaped = body.shape(body.neutral_shape)
    posed = body.pose(shaped, torch.eye(3).repeat(1, 22, 1, 1))
    joints = posed.joints[0]
    shoulder, wrist = joints[JOINT_INDEX["left_shoulder"]], joints[JOINT_INDEX["left_wrist"]]
    assert abs(float(shoulder[1] - wrist[1])) < 0.03
    assert wrist[0] > 0.5
    toes = joints[JOINT_INDEX["left_foot"]] - joints[JOINT_INDEX["left_ankle"]]
    assert toes[2] > 0.1
    feet = posed.vertices[0][body.regions == body.region_names.index("left_foot")]
    assert float(feet[:, 1].min()) == pytest.approx(0.0, abs=0.02)


def test_neutral_body_stands_on_the_ground_at_human_height(body):
    shaped = body.shape(body.neutral_shape)
    assert 1.55 < shaped.height < 1.9
    assert float(shaped.vertices[:, 1].min()) == pytest.approx(0.0, abs=1e-6)


def volume(body, shaped) -> float:
    return float(torch.linalg.det(shaped.vertices[body.faces]).sum() / 6)


def chest_over_belly(body, shaped) -> float:
    depths = []
    for region in ("chest", "belly"):
        depth = shaped.vertices[body.regions == body.region_names.index(region), 2]
        depths.append(float(depth.max() - depth.min()))
    return depths[0] / depths[1]


@pytest.mark.parametrize(
    ("label", "measure", "factor"),
    [
        ("height", lambda body, shaped: shaped.height, 1.1),
        ("weight", volume, 1.2),
        ("muscle", chest_over_belly, 1.1),
    ],
)
def test_phenotypes_move_the_body_the_way_their_names_say(body, label, measure, factor):
    low, high = body.neutral_shape.clone(), body.neutral_shape.clone()
    index = body.shape_labels.index(label)
    low[index], high[index] = 0.0, 1.0
    assert measure(body, body.shape(high)) > factor * measure(body, body.shape(low))


def test_raising_an_elbow_moves_the_forearm_only(body):
    shaped = body.shape(body.neutral_shape)
    pose = torch.zeros(2, 22, 3)
    pose[1, JOINT_INDEX["left_elbow"]] = torch.tensor([0.0, -math.pi / 2, 0.0])
    posed = body.pose(shaped, axis_angle_to_matrix(pose))
    moved = (posed.vertices[1] - posed.vertices[0]).norm(dim=1) > MILLIMETRE
    names = {body.region_names[i] for i in body.regions[moved].unique()}
    assert names <= {"left_forearm", "left_hand", "left_upper_arm"}
    hand = body.regions == body.region_names.index("left_hand")
    assert float((posed.vertices[1] - posed.vertices[0])[hand, 2].min()) > 0.1


def test_gradients_reach_the_shape_and_the_pose(body):
    betas = body.neutral_shape.clone().requires_grad_()
    pose = torch.full((1, 22, 3), 0.1, requires_grad=True)
    body.pose(body.shape(betas), axis_angle_to_matrix(pose)).vertices.square().sum().backward()
    assert (betas.grad.abs() > 0).all()
    assert (pose.grad.abs().sum(-1) > 0).all()


def test_skinning_weights_are_a_partition_of_unity(body):
    assert torch.allclose(body.skinning_weights.sum(1), torch.ones(len(body.template)), atol=1e-5)
    assert float(body.skinning_weights.min()) >= 0


@pytest.mark.parametrize("betas", [torch.zeros(3), torch.full((6,), float("nan"))])
def test_a_wrong_shape_vector_is_named(body, betas):
    with pytest.raises(BodyError, match="shape vector"):
        body.shape(betas)


def test_an_unknown_body_lists_those_there_are():
    with pytest.raises(ConfigError, match="anny"):
        load_body("giraffe")
