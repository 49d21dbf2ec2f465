"""Clips at other speeds: the same poses, sooner or later."""

import numpy as np
import pytest

from avatar_core.priors.motion_data import load_motion_folder
from avatar_core.priors.motion_speed import at_speeds


@pytest.fixture
def data(make_folder):
    return load_motion_folder(make_folder({"walk": 61, "wave": 30}))


def test_a_faster_clip_has_fewer_frames_and_the_same_poses(data):
    played, clips = at_speeds(data, data.clips, (1.0, 2.0))
    assert [clip.id for clip in clips] == ["walk", "wave", "walk at 2.00", "wave at 2.00"]
    assert [clip.length for clip in clips] == [61, 30, 31, 15]
    walk, fast = clips[0], clips[2]
    assert fast.start == 91
    for slow_frames, fast_frames in ((played.poses, played.poses), (played.trans, played.trans)):
        told = slow_frames[walk.start : walk.start + 61 : 2]
        assert np.allclose(fast_frames[fast.start : fast.start + 31], told, atol=1e-4)


def test_a_slower_clip_takes_in_between_steps(data):
    played, (walk, _, slow, _) = at_speeds(data, data.clips, (1.0, 0.5))
    assert slow.length == 121
    assert (slow.label, slow.source_file) == (walk.label, walk.source_file)
    pace = np.linalg.norm(np.diff(played.trans[walk.start : walk.start + 61], axis=0), axis=1).sum()
    slower = np.linalg.norm(np.diff(played.trans[slow.start : slow.start + 121], axis=0), axis=1).sum()
    assert slower == pytest.approx(pace, rel=1e-4)


def test_the_clips_at_hand_alone_are_played(data):
    played, clips = at_speeds(data, data.clips[1:], (1.0,))
    wave = data.clips[1]
    assert np.array_equal(played.poses, data.poses[wave.start : wave.start + wave.length])
    assert [(clip.id, clip.start) for clip in clips] == [("wave", 0)]


def test_speeds_are_over_zero(data):
    with pytest.raises(ValueError, match="over 0"):
        at_speeds(data, data.clips, (1.0, 0.0))
