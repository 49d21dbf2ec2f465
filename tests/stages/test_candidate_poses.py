import pytest
import torch
from pydantic import ValidationError

from avatar_core.bodies import load_body
from avatar_core.bodies.rotations import axis_angle_to_matrix, geodesic_angle
from avatar_core.errors import ArtifactError
from avatar_core.perception.encoder import load_encoder
from avatar_core.priors.pose_vae import PoseCodebook
from avatar_core.stages import candidate_poses
from avatar_core.stages.base import StageContext
from avatar_core.stages.candidate_poses import CandidatePoses, Config


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
            angles = geodesic_angle(*axis_angle_to_matrix(found.poses[[first, second]]))
            assert angles.mean() > 0.15


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
    assert len(find("a person is running", context, least_angle=3.0).poses) == 1


@pytest.mark.parametrize("method", ["pose_optimizer", "latent_optimizer", "realnvp"])
def test_every_method_gives_poses_like_the_search(method, context):
    settings = {"realnvp": {"draws": 24}}.get(method, {"draws": 8, "starts": 3, "steps": 2})
    found = find("a person is running", context, method=method, count=3, least_share=0, **{method: settings})
    assert found.poses.shape == (3, 22, 3)
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)
    assert len(found.entries) == 3


def test_settings_of_other_methods_are_no_part_of_what_is_written():
    plain, other = Config(), Config(realnvp={"draws": 7})
    assert plain.model_dump() == other.model_dump()
    assert set(plain.model_dump()) == {"method", "count", "least_angle", "least_share", "codebook"}
    chosen = Config(method="realnvp", realnvp={"draws": 7})
    assert Config.model_validate(chosen.model_dump(mode="json")) == chosen


@pytest.mark.parametrize(
    "settings",
    [
        {"method": "magic"},
        {"metod": "codebook"},
        {"codebook": {"tops": 3}},
        {"realnvp": {"temperature": 0}},
        {"method": "pose_optimizer", "count": 5, "pose_optimizer": {"starts": 3}},
    ],
)
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(ValidationError):
        Config.model_validate(settings)


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
