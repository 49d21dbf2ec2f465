"""Ranks of prompts by how well an avatar's views fit them."""

import torch

from avatar_core.perception.encoder import load_encoder
from avatar_core.perception.held_out import held_out_judge
from avatar_core.perception.retrieval import fits, rank


def test_each_view_is_compared_with_prompts_of_its_own_kind():
    views = torch.eye(3)[:2]
    texts = {"body": torch.eye(3)[[0, 1]], "back": torch.eye(3)[[1, 0]]}
    torch.testing.assert_close(fits(views, ["body", "back"], texts), torch.tensor([1.0, 0.0]))


def test_ties_are_no_luck():
    assert rank(torch.tensor([0.5, 0.4, 0.1]), 0) == 1
    assert rank(torch.tensor([0.5, 0.4, 0.1]), 2) == 3
    assert rank(torch.tensor([0.2, 0.2, 0.2]), 0) == 3


def test_nobody_judges_itself():
    judge = held_out_judge(load_encoder("bodyclip"))
    assert judge is not None
    assert judge.name == "judge"
    assert held_out_judge(load_encoder("bodyclip")) is judge
    assert held_out_judge(judge) is None
