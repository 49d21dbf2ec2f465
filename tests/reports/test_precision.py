"""R-precision of a library by stored features, asked an encoder that knows three colours."""

from collections.abc import Sequence

import pytest
import torch

from avatar_core.export.view_features import EncoderFeatures, ViewFeatures
from avatar_core.reports.precision import Candidates, precision

COLORS = ("red", "green", "blue")


class ColorJudge:
    """Knows which colours a text names, and whether it is about the face."""

    name, digest, dim, device = "colours", "c" * 64, 4, torch.device("cpu")

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode_texts(self, texts: list[str]) -> torch.Tensor:
        self.asked += texts
        rows = [[float(name in text) for name in COLORS] + [0.1 * ("face" in text)] for text in texts]
        return torch.nn.functional.normalize(torch.tensor(rows) + 1e-3, dim=1)


def seen(color: str, *, digest: str = "c" * 64, sex: str | None = None, kinds: Sequence[str] = ("body", "back")):
    view = torch.tensor([float(name == color) for name in COLORS] + [0.0])
    return ViewFeatures(tuple(kinds), sex, {"judge": EncoderFeatures("judge", digest, view.repeat(len(kinds), 1))})


def candidates_of(*people: tuple[str, str, ViewFeatures]) -> Candidates:
    candidates = Candidates()
    for avatar_id, prompt, features in people:
        candidates.add(avatar_id, prompt, features)
    return candidates


def test_it_is_the_share_of_avatars_that_find_their_own_prompt():
    found = precision(
        candidates_of(
            ("ada", "a man in red", seen("red")),
            ("ben", "a man in green", seen("green")),
            ("eve", "a man in blue", seen("red")),
            ("joe", "a man in red", seen("red")),
        ),
        ColorJudge(),
    )
    assert (found.avatars, found.prompts) == (4, 3)
    assert found.at_1 == pytest.approx(3 / 4)
    assert found.at_5 == 1
    assert found.missed == ("eve",)
    assert found.chance == pytest.approx(1 / 3)
    assert 1 < found.mean_rank < 2


def test_prompts_that_look_alike_to_the_judge_are_no_hits():
    found = precision(
        candidates_of(("ada", "a striped hat", seen("red")), ("ben", "a dotted hat", seen("red"))), ColorJudge()
    )
    assert found.at_1 == 0


def test_the_wearer_s_sex_completes_prompts_that_name_clothes_alone():
    judge = ColorJudge()
    people = (("ada", "red shirt", seen("red", sex="woman")), ("ben", "a man in blue", seen("blue")))
    precision(candidates_of(*people), judge)
    assert "a 3d rendering of a woman wearing a red shirt in unreal engine" in judge.asked
    assert "a 3d rendering of a red shirt in unreal engine" in judge.asked


def test_who_cannot_be_ranked_is_counted_with_the_reason():
    judge = ColorJudge()
    candidates = candidates_of(
        ("ada", "a man in red", seen("red")),
        ("ben", "a man in green", seen("green", digest="d" * 64)),
        ("eve", "a man in blue", ViewFeatures(("body",), None, {})),
        ("joe", "a man in blue", seen("blue", kinds=("soles",))),
    )
    candidates.keep_those_of(judge)
    assert set(candidates.features) == {"ada"}
    assert sum(candidates.left_out.values()) == 3
    assert precision(candidates, judge) is None, "one prompt alone is no choice"
