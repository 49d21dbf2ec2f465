import pytest
import torch

from avatar_core.bodies import load_body
from avatar_core.errors import ArtifactError
from avatar_core.perception.encoder import load_encoder
from avatar_core.priors.pose_vae import PoseCodebook
from avatar_core.stages import candidate_poses
from avatar_core.stages.base import StageContext
from avatar_core.stages.candidate_poses import CandidatePoses, Config, distinct


@pytest.fixture(scope="module")
def context() -> StageContext:
    return StageContext(load_body(), load_encoder("bodyclip"))


def find(prompt: str, context: StageContext, **settings) -> CandidatePoses:
    return candidate_poses.run(prompt, config=Config(**settings), seed=0, context=context)


def test_poses_are_distinct_and_ranked(context):
    found = find("a person is running", context)
    assert found.poses.shape == (5, 22, 3)
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)
    for first in range(5):
        for second in range(first):
            assert (found.poses[first] - found.poses[second]).abs().mean() > 0.07


def test_prompts_find_poses_of_their_own_kind(context):
    """Labels only check the result here; the search never sees them."""
    labels = PoseCodebook.load().labels
    kinds = {
        "a person is running": ("running", "jogging", "leap", "walking", "jump"),
        "a person is sitting": ("sitting", "squat", "climb", "dangling", "hanging"),
    }
    for prompt, words in kinds.items():
        chosen = [labels[entry] for entry in find(prompt, context).entries]
        other = next(kind for name, kind in kinds.items() if name != prompt)
        fitting = sum(any(word in label for word in words) for label in chosen)
        misplaced = sum(any(word in label for word in other) for label in chosen)
        assert fitting > misplaced, (prompt, chosen)


def test_the_same_prompt_gives_the_same_poses_and_another_prompt_others(context):
    first, again, other = (find(f"a person is {what}", context) for what in ("running", "running", "sitting"))
    assert torch.equal(first.poses, again.poses)
    assert first.entries != other.entries


def test_fewer_poses_than_asked_for_when_all_are_alike(context):
    assert len(find("a person is running", context, least_difference=10.0).poses) == 1


def test_near_duplicates_are_left_out():
    poses = torch.zeros(4, 22, 3)
    poses[1] += 0.05
    poses[2] += 0.5
    poses[3] += 0.52
    assert distinct(poses, 0.07, 5) == [0, 2]
    assert distinct(poses, 0.01, 2) == [0, 1]


def test_poses_survive_the_disk(context, tmp_path):
    found = find("a person is running", context)
    found.save(tmp_path)
    loaded = CandidatePoses.load(tmp_path)
    assert torch.equal(loaded.poses, found.poses)
    assert torch.equal(loaded.scores, found.scores)
    assert loaded.entries == found.entries


def test_damaged_poses_are_refused(tmp_path):
    (tmp_path / "poses.safetensors").write_bytes(b"torn")
    with pytest.raises(ArtifactError, match="run candidate_poses again"):
        CandidatePoses.load(tmp_path)
