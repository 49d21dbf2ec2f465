import re

import pytest

from avatar_core.priors.bvh_joints import find_joints
from avatar_core.priors.motion_data import MotionDataError

TREES = {
    "CMU": """
        Hips(LHipJoint(LeftUpLeg(LeftLeg(LeftFoot(LeftToeBase))))RHipJoint(RightUpLeg(RightLeg(
        RightFoot(RightToeBase))))LowerBack(Spine(Spine1(Neck(Neck1(Head))LeftShoulder(LeftArm(
        LeftForeArm(LeftHand(LeftFingerBase(LeftHandIndex1)LThumb))))RightShoulder(RightArm(
        RightForeArm(RightHand(RThumb)))))))
    """,
    "3ds Max biped with clavicles on the neck": """
        Bip01(Bip01_Pelvis(Bip01_Spine(Bip01_L_Thigh(Bip01_L_Calf(Bip01_L_Foot(Bip01_L_Toe0)))
        Bip01_R_Thigh(Bip01_R_Calf(Bip01_R_Foot(Bip01_R_Toe0)))Bip01_Spine1(Bip01_Neck(
        Bip01_Head Bip01_L_Clavicle(Bip01_L_UpperArm(Bip01_L_Forearm(Bip01_L_Hand(Bip01_L_Finger0))))
        Bip01_R_Clavicle(Bip01_R_UpperArm(Bip01_R_Forearm(Bip01_R_Hand))))))))
    """,
    "DAZ": """
        hip(pelvis(lThigh(lShin(lFoot))rThigh(rShin(rFoot)))abdomen(chest(neck(head(leftEye)
        )lCollar(lShldr(lForeArm(lHand(lThumb1))))rCollar(rShldr(rForeArm(rHand))))))
    """,
    "Unreal": """
        root(pelvis(spine_01(spine_02(spine_03(neck_01(head)clavicle_l(upperarm_l(lowerarm_l(
        hand_l)upperarm_twist_01_l))clavicle_r(upperarm_r(lowerarm_r(hand_r))))))thigh_l(
        calf_l(foot_l(ball_l)))thigh_r(calf_r(foot_r(ball_r)))))
    """,
    "Bandai Namco": """
        joint_Root(Hips(Spine(Chest(Neck(Head)Shoulder_L(UpperArm_L(LowerArm_L(Hand_L)))
        Shoulder_R(UpperArm_R(LowerArm_R(Hand_R)))))UpperLeg_L(LowerLeg_L(Foot_L(Toes_L)))
        UpperLeg_R(LowerLeg_R(Foot_R(Toes_R)))))
    """,
    "VRM": """
        Root(J_Bip_C_Hips(J_Bip_C_Spine(J_Bip_C_Chest(J_Bip_C_Neck(J_Bip_C_Head)J_Bip_L_Shoulder(
        J_Bip_L_UpperArm(J_Bip_L_LowerArm(J_Bip_L_Hand)))J_Bip_R_Shoulder(J_Bip_R_UpperArm(
        J_Bip_R_LowerArm(J_Bip_R_Hand)))))J_Bip_L_UpperLeg(J_Bip_L_LowerLeg(J_Bip_L_Foot(
        J_Bip_L_ToeBase)))J_Bip_R_UpperLeg(J_Bip_R_LowerLeg(J_Bip_R_Foot(J_Bip_R_ToeBase)))))
    """,
}  # fmt: skip


def parse_tree(tree: str) -> tuple[list[str], list[int]]:
    """Read "root(child(grandchild)child)" into names and parents."""
    names: list[str] = []
    parents: list[int] = []
    open_joints = [-1]
    for word in re.findall(r"[^\s()]+|[()]", tree):
        if word == "(":
            open_joints.append(len(names) - 1)
        elif word == ")":
            open_joints.pop()
        else:
            names.append(word)
            parents.append(open_joints[-1])
    return names, parents


@pytest.mark.parametrize(
    ("tree", "sides", "trunk", "limbs"),
    [
        (
            "CMU", "Left Right", "Hips LowerBack Spine Spine1 Neck Neck1 Head",
            "{}UpLeg {}Leg {}Foot {}ToeBase {}Shoulder {}Arm {}ForeArm {}Hand",
        ),
        (
            "3ds Max biped with clavicles on the neck", "L R",
            "Bip01_Pelvis Bip01_Spine Bip01_Spine1 Bip01_Neck Bip01_Head",
            "Bip01_{}_Thigh Bip01_{}_Calf Bip01_{}_Foot Bip01_{}_Toe0 Bip01_{}_Clavicle Bip01_{}_UpperArm "
            "Bip01_{}_Forearm Bip01_{}_Hand",
        ),
        ("DAZ", "l r", "hip abdomen chest neck head", "{}Thigh {}Shin {}Foot {}Collar {}Shldr {}ForeArm {}Hand"),
        (
            "Unreal", "l r", "pelvis spine_01 spine_02 spine_03 neck_01 head",
            "thigh_{} calf_{} foot_{} ball_{} clavicle_{} upperarm_{} lowerarm_{} hand_{}",
        ),
        (
            "Bandai Namco", "L R", "Hips Spine Chest Neck Head",
            "UpperLeg_{} LowerLeg_{} Foot_{} Toes_{} Shoulder_{} UpperArm_{} LowerArm_{} Hand_{}",
        ),
        (
            "VRM", "L R", "J_Bip_C_Hips J_Bip_C_Spine J_Bip_C_Chest J_Bip_C_Neck J_Bip_C_Head",
            "J_Bip_{}_UpperLeg J_Bip_{}_LowerLeg J_Bip_{}_Foot J_Bip_{}_ToeBase J_Bip_{}_Shoulder J_Bip_{}_UpperArm "
            "J_Bip_{}_LowerArm J_Bip_{}_Hand",
        ),
    ],
)  # fmt: skip
def test_joints_are_found_by_the_names_of_many_programs(tree, sides, trunk, limbs):
    names, parents = parse_tree(TREES[tree])
    found = find_joints("a.bvh", names, parents)
    assert [names[j] for j in (found.pelvis, *found.spine, *found.neck, found.head)] == trunk.split()
    parts = ("thigh", "shin", "ankle", "toe", "collar", "upper_arm", "forearm", "hand")
    pairs = [found.sided[part] for part in parts if part in found.sided]
    for side, marker in enumerate(sides.split()):
        assert [names[pair[side]] for pair in pairs] == limbs.replace("{}", marker).split()


def test_a_limb_that_hangs_elsewhere_is_an_error():
    names, parents = parse_tree(TREES["CMU"].replace("LeftLeg(LeftFoot(LeftToeBase))", "LeftLeg LeftFoot(LeftToeBase)"))
    with pytest.raises(MotionDataError, match="LeftFoot does not hang on LeftLeg"):
        find_joints("a.bvh", names, parents)
