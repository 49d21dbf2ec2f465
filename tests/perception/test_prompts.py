import pytest

from avatar_core.perception.prompts import appearance_prompts, motion_prompt, sex_word, shape_prompt, split_actions


def test_shape_prompts_get_an_article_once():
    assert shape_prompt("tall and fat man") == "a 3d rendering of a tall and fat man in unreal engine"
    assert shape_prompt("an old woman.") == "a 3d rendering of an old woman in unreal engine"


def test_clothes_alone_are_given_a_wearer_of_the_known_sex():
    prompts = appearance_prompts("red shirt and blue trousers", "woman")
    assert prompts["body"] == "a 3d rendering of a woman wearing a red shirt and blue trousers in unreal engine"
    assert "the face of a woman" in prompts["face"]
    assert "the back of a woman" in prompts["back"]


def test_a_described_person_is_left_alone():
    assert "of a firefighter in" in appearance_prompts("a firefighter", "woman")["body"]
    assert "of a man in a red shirt in" in appearance_prompts("a man in a red shirt", "man")["body"]


def test_sex_is_read_from_whole_words():
    assert sex_word("an old woman") == "woman"
    assert sex_word("a kingly gentleman") == "man"
    assert sex_word("a human") is None
    assert sex_word("Superman in a cape") == "man"
    assert sex_word("a policewoman and a german") == "woman"


def test_motions_become_sentences():
    assert motion_prompt("is running") == "a rendered 3d man is running"
    assert motion_prompt("running") == "a rendered 3d man is running"
    assert motion_prompt("a person is kicking") == "a 3d rendering of a person is kicking in unreal engine"
    assert motion_prompt("walks slowly") == "a rendered 3d man walks slowly"
    assert motion_prompt("discussing") == "a rendered 3d man is discussing"


@pytest.mark.parametrize(
    ("prompt", "actions"),
    [
        ("walking", ("walking",)),
        ("walks, then waves", ("walks", "waves")),
        ("running and then jumping then bowing.", ("running", "jumping", "bowing")),
        ("a man is running, then is jumping", ("a man is running", "a man is jumping")),
        ("a tall woman sits, followed by standing up", ("a tall woman sits", "a tall woman standing up")),
        ("strengthening exercises", ("strengthening exercises",)),
        ("then", ("then",)),
    ],
)
def test_a_prompt_is_split_into_the_actions_that_follow_each_other(prompt, actions):
    assert split_actions(prompt) == actions
