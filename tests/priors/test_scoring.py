import pytest
import torch
from torch.nn.functional import normalize

from avatar_core.priors.scoring import away_from_neutral, centred_scores, direction_scores, soft_top

GENERATOR = torch.Generator().manual_seed(0)


def test_direction_scores_ignore_what_every_picture_shares():
    shared = normalize(torch.tensor([9.0, 0.0, 0.0, 0.0]), dim=0)
    features = normalize(torch.tensor([[9.0, 1.0, 0.0, 0.0], [9.5, 0.0, 1.0, 0.0], [9.0, 0.0, 0.0, -2.0]]), dim=-1)
    target, neutral_target = torch.tensor([0.0, 0.6, 0.8, 0.0]), torch.tensor([0.0, 0.0, 0.8, 0.6])
    assert direction_scores(features, shared, target, neutral_target).argmax() == 0
    assert (features @ target).argmax() == 1


def test_centring_takes_a_shared_part_out():
    features = normalize(torch.randn(50, 8, generator=GENERATOR) * 0.1 + torch.tensor([3.0] + [0.0] * 7), dim=-1)
    target = normalize(torch.randn(8, generator=GENERATOR), dim=0)
    scores = centred_scores(features, target)
    assert abs(scores.mean()) < 0.1
    assert scores.std() > 5 * (features @ target).std()


def test_frames_of_motions_are_centred_together():
    features = normalize(torch.randn(10, 5, 8, generator=GENERATOR), dim=-1)
    target = normalize(torch.randn(8, generator=GENERATOR), dim=0)
    flat = centred_scores(features.flatten(0, 1), target)
    assert torch.allclose(centred_scores(features, target).flatten(), flat)


def test_a_text_is_told_from_what_prompts_of_its_own_form_share():
    neutrals = torch.tensor([[0.9, 0.0, 0.0], [0.0, 0.9, 0.0]])
    target = normalize(torch.tensor([0.0, 1.0, 0.3]), dim=0)
    direction = away_from_neutral(target, neutrals)
    assert torch.allclose(direction, normalize(target - neutrals[1], dim=0))
    assert direction[2] > 0.9


def test_soft_top_of_no_temperature_is_the_best_alone():
    index, weights = soft_top(torch.tensor([0.1, 0.9, 0.5]), 2, 0.0)
    assert index.tolist() == [1, 2]
    assert weights.tolist() == [1.0, 0.0]


def test_soft_top_weighs_by_score():
    index, weights = soft_top(torch.tensor([0.1, 0.9, 0.5]), 5, 0.4)
    assert index.tolist() == [1, 2, 0]
    assert weights.sum() == pytest.approx(1.0)
    assert weights[1] / weights[0] == pytest.approx(torch.tensor(-1.0).exp().item())
