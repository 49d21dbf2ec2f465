"""What holds for every method, and what is particular to each."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from avatar_core.bodies import load_body
from avatar_core.bodies.rotations import axis_angle_to_matrix, geodesic_angle
from avatar_core.errors import DivergenceError, WeightsError
from avatar_core.perception.encoder import load_encoder
from avatar_core.perception.prompts import motion_prompt
from avatar_core.priors.kinematics import heading_angle
from avatar_core.stages.base import StageContext
from avatar_core.stages.pose_generators.base import PoseGenerator, PosePrior, ScoredPoses
from avatar_core.stages.pose_generators.codebook import CodebookSearch
from avatar_core.stages.pose_generators.codebook import Config as CodebookConfig
from avatar_core.stages.pose_generators.latent_optimizer import Config as LatentConfig
from avatar_core.stages.pose_generators.latent_optimizer import LatentOptimizer
from avatar_core.stages.pose_generators.pose_optimizer import Config as PoseConfig
from avatar_core.stages.pose_generators.pose_optimizer import PoseOptimizer, joint_limits, limit_excess
from avatar_core.stages.pose_generators.realnvp import Config as FlowConfig
from avatar_core.stages.pose_generators.realnvp import FlowSampler

QUICK: dict[str, PoseGenerator] = {
    "codebook": CodebookSearch(CodebookConfig(top=12)),
    "pose_optimizer": PoseOptimizer(PoseConfig(draws=200, starts=4, steps=4)),
    "latent_optimizer": LatentOptimizer(LatentConfig(draws=200, starts=4, steps=4)),
    "realnvp": FlowSampler(FlowConfig(draws=12)),
}
methods = pytest.mark.parametrize("method", QUICK)


@pytest.fixture(scope="module")
def context() -> StageContext:
    return StageContext(load_body(), load_encoder("bodyclip"))


@pytest.fixture(scope="module")
def prompt() -> str:
    return motion_prompt("running")


@pytest.fixture(scope="module")
def prior(prompt, context) -> PosePrior:
    return PosePrior(prompt, context)


@pytest.fixture(scope="module")
def found(prompt, context) -> dict[str, ScoredPoses]:
    return {name: method.generate(prompt, seed=0, context=context) for name, method in QUICK.items()}


@methods
def test_poses_are_rotations_without_heading(method, found):
    rotations = found[method].rotations
    assert rotations.shape[1:] == (22, 3, 3)
    assert torch.allclose(rotations @ rotations.mT, torch.eye(3).expand_as(rotations), atol=1e-4)
    assert torch.allclose(torch.linalg.det(rotations), torch.ones(rotations.shape[:2]), atol=1e-4)
    assert heading_angle(rotations[:, 0]).abs().max() < 0.01


@methods
def test_several_distinct_poses_are_better_than_random_ones(method, found, prior):
    drawn = torch.randperm(len(prior.book), generator=torch.Generator().manual_seed(5))[:24]
    random = prior.score(prior.book.rotations(prior.vae, drawn))
    best = found[method].best(3, 0.05)
    assert len(best.scores) == 3
    assert best.scores.min() > random.mean() + random.std()


@methods
def test_scores_are_those_of_the_views(method, found, prior):
    assert torch.allclose(prior.score(found[method].rotations), found[method].scores, atol=1e-4)


@methods
def test_the_same_seed_gives_the_same_poses(method, found, prompt, context):
    again = QUICK[method].generate(prompt, seed=0, context=context)
    assert torch.equal(again.rotations, found[method].rotations)
    assert torch.equal(again.scores, found[method].scores)
    assert torch.equal(again.entries, found[method].entries)


@methods
def test_the_seed_decides_every_methods_draws_but_the_searchs(method, found, prompt, context):
    other = QUICK[method].generate(prompt, seed=1, context=context)
    assert torch.equal(other.rotations, found[method].rotations) == (method == "codebook")


@pytest.mark.parametrize(
    "make",
    [
        lambda steps: PoseOptimizer(PoseConfig(draws=4, starts=2, steps=steps)),
        lambda steps: LatentOptimizer(LatentConfig(draws=4, starts=2, steps=steps)),
    ],
)
def test_optimising_raises_the_score(make, prompt, context):
    before, after = (make(steps).generate(prompt, seed=0, context=context) for steps in (0, 15))
    assert torch.equal(before.entries, after.entries)
    assert after.scores.mean() > before.scores.mean() + 0.02  # penalties may cost a single start its gain
    assert after.scores.max() > before.scores.max()


@pytest.mark.parametrize(
    ("generator", "name"),
    [
        (PoseOptimizer(PoseConfig(draws=2, starts=1, steps=4, learning_rate=1e30)), "pose_optimizer"),
        (LatentOptimizer(LatentConfig(draws=2, starts=1, steps=4, learning_rate=1e30)), "latent_optimizer"),
    ],
)
def test_numbers_that_are_not_finite_are_reported_with_the_remedy(generator, name, prompt, context):
    with pytest.raises(DivergenceError, match=f"another seed, or lower candidate_poses.{name}.learning_rate"):
        generator.generate(prompt, seed=0, context=context)


@pytest.mark.parametrize("method", ["pose_optimizer", "latent_optimizer"])
def test_a_score_that_is_no_number_is_reported(method, prompt, context):
    class Broken:
        def encode_texts(self, texts):
            return context.encoder.encode_texts(texts) * torch.nan

        def __getattr__(self, name):
            return getattr(context.encoder, name)

    with pytest.raises(DivergenceError, match="at step 0"):
        QUICK[method].generate(prompt, seed=0, context=replace(context, encoder=Broken()))


def test_joint_limits_let_people_bend_their_knees_one_way_only(prior):
    limits = joint_limits(prior)
    assert limits.shape == (2, 21, 3)
    bent = torch.zeros(3, 22, 3)
    bent[1, 4, 0], bent[2, 4, 0] = 1.5, -1.5
    excess = limit_excess(axis_angle_to_matrix(bent), limits)
    assert excess[0] < 0.01
    assert excess[1] < 0.01
    assert excess[2] > 0.05
    inside = limit_excess(prior.book.rotations(prior.vae), limits)
    assert inside.mean() < 0.01


def test_the_latents_prior_keeps_poses_plain(prompt, context, prior):
    sizes = []
    for weight in (0.0, 10.0):
        config = LatentConfig(draws=4, starts=2, steps=12, prior_weight=weight)
        rotations = LatentOptimizer(config).generate(prompt, seed=0, context=context).rotations
        sizes.append(prior.vae.encode_rotations(rotations[:, 1:]).square().mean())
    assert sizes[1] < 0.8 * sizes[0]


def test_a_pelvis_of_a_drawn_pose_is_that_of_its_entry(found, prior):
    drawn = found["realnvp"]
    own = prior.book.rotations(prior.vae, drawn.entries)
    assert torch.allclose(drawn.rotations[:, 0], own[:, 0], atol=1e-5)
    everyone = prior.book.rotations(prior.vae)
    nearest = [geodesic_angle(pose[1:], everyone[:, 1:]).mean(-1).min() for pose in drawn.rotations]
    assert max(nearest) < 0.5


def test_a_flow_is_refused_with_another_encoder(prompt, context):
    class Other:
        digest = "f" * 64

        def __getattr__(self, name):
            return getattr(context.encoder, name)

    with pytest.raises(WeightsError, match=r"another candidate_poses\.method"):
        QUICK["realnvp"].generate(prompt, seed=0, context=replace(context, encoder=Other()))


def test_views_from_anywhere_are_averaged_where_the_encoder_allows_it(prior, monkeypatch):
    pose = prior.book.rotations(prior.vae, torch.tensor([3, 700]))
    plain = prior.score(pose)
    asked = []

    def remember(rotations, turns):
        asked.append(turns.tolist())
        return torch.full((len(rotations),), float(len(asked)))

    monkeypatch.setattr(prior, "judge", SimpleNamespace(scores=remember))
    monkeypatch.setattr(prior, "view", SimpleNamespace(free_azimuth=True))
    assert prior.score(pose).tolist() == [2.0, 2.0]
    assert asked == [[0.0, 0.0], pytest.approx([0.7, 0.7]), pytest.approx([-0.7, -0.7])]
    assert plain.shape == (2,)
