from dataclasses import replace

import numpy as np
import pytest
import torch

from avatar_core.bodies.rotations import axis_angle_to_matrix
from avatar_core.priors.kinematics import forward_kinematics
from avatar_core.priors.motion_data import (
    MotionDataError,
    cut_windows,
    label_weights,
    load_motion_folder,
    mirror,
    split_by_source,
)


def test_a_folder_is_read_clip_by_clip(motion_data):
    assert [clip.id for clip in motion_data.clips] == ["walk-1", "walk-2", "kick-1", "jump-1"]
    assert motion_data.clips[1].start == 90
    assert motion_data.clips[0].captions == ("a person walk-1", "someone walk-1")
    assert motion_data.poses.shape == (204, 22, 3)
    assert motion_data.poses.dtype == np.float32


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MotionDataError, match=r"clips\.npz: no such file"):
        load_motion_folder(tmp_path)


def test_a_file_that_is_no_archive_is_named(motion_folder):
    (motion_folder / "clips.npz").write_bytes(b"nothing of the kind")
    with pytest.raises(MotionDataError, match=r"clips\.npz: not a readable"):
        load_motion_folder(motion_folder)


def test_pickled_arrays_are_refused(make_folder):
    folder = make_folder({"a": 70}, clip_id=np.array([{"evil": 1}], dtype=object))
    with pytest.raises(MotionDataError, match="is a pickle"):
        load_motion_folder(folder)


def test_a_missing_column_is_named(motion_folder):
    (motion_folder / "clips.csv").write_text("clip_id,label\na,b\n", encoding="utf-8")
    with pytest.raises(MotionDataError, match="source_file, captions"):
        load_motion_folder(motion_folder)


def test_other_skeletons_are_refused(make_folder):
    folder = make_folder({"a": 70}, poses=np.zeros((70, 24, 3), np.float16))
    with pytest.raises(MotionDataError, match="retarget to 22 joints"):
        load_motion_folder(folder)


def test_other_frame_rates_are_refused(make_folder):
    with pytest.raises(MotionDataError, match="resample the clips to 30"):
        load_motion_folder(make_folder({"a": 70}, fps=np.float32(120)))


def test_a_clip_with_numbers_that_are_not_finite_is_named(make_folder):
    poses = np.zeros((100, 22, 3), np.float16)
    poses[80, 3, 1] = np.nan
    with pytest.raises(MotionDataError, match="clip bad holds values that are not finite"):
        load_motion_folder(make_folder({"good": 60, "bad": 40}, poses=poses))


def test_a_csv_of_other_clips_is_refused(motion_folder):
    lines = (motion_folder / "clips.csv").read_text(encoding="utf-8").splitlines()
    (motion_folder / "clips.csv").write_text("\n".join(lines[:-1]), encoding="utf-8")
    with pytest.raises(MotionDataError, match="in the same order"):
        load_motion_folder(motion_folder)


def test_no_source_file_is_in_both_halves_of_a_split(make_folder):
    names = {f"{letter}-{number}": 30 for letter in "abcdefghij" for number in range(3)}
    data = load_motion_folder(make_folder(names))
    data = replace(data, clips=tuple(replace(clip, label="same") for clip in data.clips))
    training, held = split_by_source(data, 0.3, seed=1)
    assert {clip.source_file for clip in training}.isdisjoint({clip.source_file for clip in held})
    assert len({clip.source_file for clip in held}) == 3
    assert split_by_source(data, 0.3, seed=1) == (training, held)
    assert split_by_source(data, 0.3, seed=2) != (training, held)


def test_the_only_file_of_a_label_stays_in_training(motion_data):
    training, held = split_by_source(motion_data, 0.9, seed=0)
    assert {clip.label for clip in training} == {"walk", "kick", "jump"}
    assert held == ()


def test_weights_even_out_labels(motion_data):
    clips = motion_data.clips
    lengths = np.array([clip.length for clip in clips])
    per_label = lambda power: np.array(  # noqa: E731
        [(label_weights(clips, power) * lengths)[[c.label == name for c in clips]].sum() for name in ("walk", "jump")]
    )
    assert per_label(1.0)[0] / per_label(1.0)[1] == pytest.approx(154 / 10)
    assert per_label(0.5)[0] / per_label(0.5)[1] == pytest.approx((154 / 10) ** 0.5)
    assert per_label(0.0)[0] == pytest.approx(per_label(0.0)[1])


def test_mirroring_reflects_every_joint_position(rest_joints):
    rng = np.random.default_rng(0)
    poses = rng.normal(0, 0.6, (5, 22, 3)).astype(np.float32)
    trans = rng.normal(0, 1, (5, 3)).astype(np.float32)
    place = lambda p, t: forward_kinematics(axis_angle_to_matrix(torch.from_numpy(p)), torch.from_numpy(t), rest_joints)  # noqa: E731
    there = place(*mirror(poses, trans))
    swap = [0, 2, 1, 3, 5, 4, 6, 8, 7, 9, 11, 10, 12, 14, 13, 15, 17, 16, 19, 18, 21, 20]
    here = place(poses, trans)[:, swap] * torch.tensor([-1.0, 1.0, 1.0])
    assert torch.allclose(there, here, atol=1e-5)
    back, moved = mirror(*mirror(poses, trans))
    np.testing.assert_array_equal(back, poses)
    np.testing.assert_array_equal(moved, trans)


def test_windows_cover_long_clips_and_skip_the_shortest(motion_data):
    windows = cut_windows(motion_data, motion_data.clips, 60, 10)
    assert [window.clip.id for window in windows] == ["walk-1"] * 4 + ["walk-2", "kick-1"]
    np.testing.assert_array_equal(windows[1].frames, np.arange(10, 70))


def test_a_short_clip_goes_on_by_looping_and_keeps_travelling(motion_data):
    window = cut_windows(motion_data, motion_data.clips[2:3], 60, 10)[0]
    poses, trans = window.read(motion_data)
    assert poses.shape == (60, 22, 3)
    assert np.abs(np.diff(poses, axis=0)).max() < 0.15
    speed = np.diff(trans[:, 2]) * 30
    np.testing.assert_allclose(speed, 3.0, atol=0.05)


def test_a_short_clip_without_a_loop_holds_its_last_frame(make_folder):
    ramp = np.linspace(0, 2, 30)[:, None, None] * np.ones((1, 22, 3))
    data = load_motion_folder(make_folder({"a": 30}, poses=ramp.astype(np.float16)))
    poses, _ = cut_windows(data, data.clips, 60, 10)[0].read(data)
    np.testing.assert_array_equal(poses[29:], np.broadcast_to(data.poses[29], (31, 22, 3)))
