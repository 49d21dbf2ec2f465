import csv

import numpy as np
import pytest

from avatar_core.bodies.skeleton import JOINT_INDEX
from avatar_core.priors import authored
from avatar_core.priors.action_scripts import ActionScriptError, load_actions, parse_actions
from avatar_core.priors.authored import draw_clips
from avatar_core.priors.authored_files import write_folder
from avatar_core.priors.authored_motion import contact_heights, draw_clip, joint_places
from avatar_core.priors.authored_sheet import write_sheet
from avatar_core.priors.captured_motion import REST_JOINTS
from avatar_core.priors.joint_angles import joint_angles, violation_share, violations, within_limits
from avatar_core.priors.motion_data import load_motion_folder
from avatar_core.seeds import numpy_generator

ACTIONS = {action.name: action for action in load_actions()}
REQUIRED = (
    "waving", "clapping", "praying", "praying on the knees", "eating", "drinking", "crying", "arguing",
    "being excited", "saluting", "pointing", "throwing", "sitting on a chair", "kneeling", "raising both arms",
    "crossing the arms", "bowing", "bending over", "shooting a basketball", "squatting", "cheering", "celebrating",
)  # fmt: skip


def drawn(name: str, seed: int = 0, spread: float = 1.0):
    return draw_clip(ACTIONS[name], numpy_generator(seed, "test", name), spread)


def joints(clip) -> np.ndarray:
    """Joint positions (T, 22, 3) in metres on the data's skeleton."""
    return joint_places(clip.poses, clip.trans, REST_JOINTS)


def at(places: np.ndarray, joint: str) -> np.ndarray:
    return places[:, JOINT_INDEX[joint]]


def test_many_actions_are_written_with_several_captions_each():
    assert len(ACTIONS) >= 64
    assert set(REQUIRED) <= set(ACTIONS)
    assert all(len(set(action.captions)) >= 2 for action in ACTIONS.values())


@pytest.mark.parametrize("name", ACTIONS)
def test_an_action_keeps_to_the_joints_limits_and_to_the_ground(name):
    for seed, spread in ((0, 0.0), (1, 1.0)):
        clip = drawn(name, seed, spread)
        assert len(clip.poses) >= 60
        assert np.isfinite(clip.poses).all()
        assert violations(clip.poses) == []
        lowest = contact_heights(clip.poses, clip.trans, REST_JOINTS).min(1)
        assert lowest.min() > -1e-4
        if all(key.lift == 0 for key in ACTIONS[name].keys):
            assert np.abs(lowest).max() < 1e-4


def test_clips_start_at_the_middle_and_move_smoothly():
    for name in ("waving", "squatting", "sneaking", "doing push-ups"):
        clip = drawn(name)
        np.testing.assert_allclose(clip.trans[0, [0, 2]], 0, atol=1e-6)
        assert np.linalg.norm(np.diff(joints(clip), axis=0), axis=-1).max() < 0.3


def test_elbows_and_knees_bend_one_way_only():
    for name in ("throwing", "doing push-ups", "fainting"):
        angles = joint_angles(drawn(name).poses)
        for side in ("left", "right"):
            assert angles[f"{side}_elbow"]["flexion"].min() > -1
            assert angles[f"{side}_knee"]["flexion"].min() > -1


def test_limits_are_noticed():
    poses = np.zeros((2, 22, 3))
    poses[1, JOINT_INDEX["left_knee"], 0] = -0.5
    (found,) = violations(poses)
    assert (found.joint, found.angle, found.frame) == ("left_knee", "flexion", 1)
    assert found.value == pytest.approx(-28.6, abs=0.1)


def test_the_share_of_angles_beyond_their_limits_is_measured():
    poses = drawn("waving").poses.copy()
    assert violation_share(poses) == 0
    poses[: len(poses) // 2, JOINT_INDEX["left_knee"]] = [-1.0, 0.0, 0.0]  # bent forward
    angles = sum(len(one) for one in joint_angles(poses).values())
    assert violation_share(poses) == pytest.approx(len(poses) // 2 / len(poses) / angles)
    assert within_limits(poses).tolist() == [index >= len(poses) // 2 for index in range(len(poses))]


def test_a_seed_gives_one_clip_and_another_seed_another():
    first, again, other = drawn("waving", 3), drawn("waving", 3), drawn("waving", 4)
    np.testing.assert_array_equal(first.poses, again.poses)
    shared = min(len(first.poses), len(other.poses))
    assert np.abs(first.poses[:shared] - other.poses[:shared]).max() > 0.02


def test_without_spread_every_seed_gives_the_middle():
    np.testing.assert_array_equal(drawn("eating", 1, 0.0).poses, drawn("eating", 2, 0.0).poses)


def test_only_actions_alike_on_both_sides_are_mirrored():
    raised = lambda clip: {side: at(joints(clip), f"{side}_wrist")[:, 1].mean() for side in ("left", "right")}  # noqa: E731
    salutes = [raised(drawn("saluting", seed)) for seed in range(8)]
    assert all(wrists["right"] > wrists["left"] for wrists in salutes)
    waves = [raised(drawn("waving", seed)) for seed in range(8)]
    assert len({wrists["right"] > wrists["left"] for wrists in waves}) == 2


def test_raising_both_arms_brings_both_wrists_above_the_head():
    places = joints(drawn("raising both arms"))
    for side in ("left", "right"):
        assert (at(places, f"{side}_wrist")[:, 1] > at(places, "head")[:, 1] + 0.15).all()


def test_thighs_are_level_in_sitting_on_a_chair():
    places = joints(drawn("sitting on a chair"))
    for side in ("left", "right"):
        thigh = at(places, f"{side}_knee") - at(places, f"{side}_hip")
        assert np.degrees(np.arcsin(np.abs(thigh[:, 1]) / np.linalg.norm(thigh, axis=-1))).max() < 20


@pytest.mark.parametrize("name", ["praying", "praying on the knees"])
def test_praying_hands_meet_before_the_chest(name):
    places = joints(drawn(name))
    left, right = at(places, "left_wrist"), at(places, "right_wrist")
    assert np.linalg.norm(left - right, axis=-1).max() < 0.15
    ahead = (left + right) / 2 - at(places, "spine3")
    assert (ahead[:, 2] > 0.1).all()
    assert (np.abs(ahead[:, 1]) < 0.3).all()


def test_hips_are_low_in_squatting_and_knees_carry_the_kneeling():
    assert at(joints(drawn("squatting")), "pelvis")[:, 1].min() < 0.62
    places = joints(drawn("praying on the knees"))
    assert at(places, "left_knee")[:, 1].max() < 0.12


def test_a_jump_leaves_the_ground():
    clip = drawn("being excited", spread=0.0)
    lowest = contact_heights(clip.poses, clip.trans, REST_JOINTS).min(1)
    assert lowest.max() == pytest.approx(0.24, abs=0.02)
    assert lowest.min() == pytest.approx(0.0, abs=1e-3)


def test_walks_travel_forward_on_the_foot_that_bears():
    clip = drawn("sneaking")
    assert clip.trans[-1, 2] > 0.6
    assert abs(clip.trans[-1, 0]) < 0.3


SCRIPT = """
nodding:
  captions: [nodding, saying yes]
  cycle: 1.0
  keys:
    - {time: 0, head: {nod: -5}}
    - {time: 0.5, head: {nod: [15, 25]}}
"""


def test_scripts_are_read():
    (action,) = parse_actions(SCRIPT, "mine.yaml")
    assert (action.name, action.cycle, action.mirror, action.anchor) == ("nodding", 1.0, True, "feet")
    assert action.keys[1].angles == {"head": {"nod": (15.0, 25.0)}}


@pytest.mark.parametrize(
    ("good", "bad", "message"),
    [
        ("head: {nod: -5}", "haed: {nod: -5}", r"mine.yaml: action 'nodding' key 1: joint 'haed' is unknown; use"),
        ("head: {nod: -5}", "head: {nodd: -5}", r"'nodding' key 1: head has no angle 'nodd'; use nod, tilt, turn"),
        ("nod: [15, 25]", "nod: [15, 250]", r"key 2: head nod of 15 to 250 degrees; keep to -60 to 65"),
        ("nod: [15, 25]", "nod: [25, 15]", r"key 2: head nod has the range \[25, 15\]; write the lower number first"),
        ("nod: -5", "nod: much", r"key 1: head nod is 'much'; write a number"),
        ("cycle: 1.0", "cycel: 1.0", r"action 'nodding': the entry has unknown fields \['cycel'\]"),
        ("cycle: 1.0", "cycle: 0.4", r"cycle 0.4 ends before the last key"),
        ("time: 0.5", "time: 0", r"key times \[0.0, 0.0\] do not rise from 0"),
        ("time: 0.5", "ease: fast, time: 0.5", r"key 2: ease is 'fast'; use one of smooth"),
        ("captions: [nodding, saying yes]", "captions: nodding", r"captions are not 2 to 6 phrases"),
        ("head: {nod: -5}", "left_hand: {from: moon}", r"key 1: left_hand lacks at, fingers, palm"),
        ("nodding:", "? [", "not valid YAML"),
    ],
)
def test_mistakes_in_a_script_are_named_with_their_action_and_key(good, bad, message):
    with pytest.raises(ActionScriptError, match=message):
        parse_actions(SCRIPT.replace(good, bad, 1), "mine.yaml")


def test_an_empty_file_is_refused():
    with pytest.raises(ActionScriptError, match="holds no actions"):
        parse_actions("", "mine.yaml")


def test_the_written_folder_is_read_back_and_marked(tmp_path):
    clips = draw_clips((ACTIONS["waving"], ACTIONS["bowing"]), 2, seed=5)
    write_folder(tmp_path / "out", clips)
    data = load_motion_folder(tmp_path / "out")
    assert [clip.source_file for clip in data.clips] == ["authored/waving"] * 2 + ["authored/bowing"] * 2
    assert data.clips[0].captions[1] == "a person is waving hello"
    np.testing.assert_allclose(data.poses[: data.clips[0].length], clips[0].poses, atol=2e-3)
    with (tmp_path / "out" / "clips.csv").open(encoding="utf-8") as file:
        assert {row["source"] for row in csv.DictReader(file)} == {"authored"}


def test_captured_clips_come_first(tmp_path, motion_folder):
    out = tmp_path / "both"
    authored.main(["--out", str(out), "--data", str(motion_folder), "--variants", "1", "--only", "waving"])
    captured, both = load_motion_folder(motion_folder), load_motion_folder(out)
    assert [clip.id for clip in both.clips] == [*(clip.id for clip in captured.clips), "authored_waving_0000"]
    np.testing.assert_array_equal(both.poses[: len(captured.poses)], captured.poses)
    np.testing.assert_array_equal(both.rest_joints, captured.rest_joints)


def test_the_sheet_shows_three_moments_of_an_action(tmp_path):
    write_sheet(tmp_path / "sheet.png", (ACTIONS["waving"],), tile=32, columns=3)
    assert (tmp_path / "sheet.png").stat().st_size > 500


def test_a_foot_that_is_tilted_stands_on_its_toes():
    clip = drawn("boxing guard", spread=0.0)
    under = contact_heights(clip.poses, clip.trans, REST_JOINTS)
    assert under[:, JOINT_INDEX["left_foot"]].max() < 0.05
    assert under[:, JOINT_INDEX["right_foot"]].max() < 0.05
    assert under[:, JOINT_INDEX["right_ankle"]].min() > 0.02
