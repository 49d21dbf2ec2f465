"""The moves of the outfit search, judged by an encoder that compares pixels."""

import pytest
import torch

from avatar_core.bodies import load_body
from avatar_core.seeds import torch_generator
from avatar_core.stages.outfit import Outfit, Worn, colors_of
from avatar_core.stages.outfit_search import SHADES, SearchConfig, _Search, options
from avatar_core.stages.texturing_views import Subject

DRESSED = Outfit(()).put("skin", Worn("skin", "fair")).put("hair", Worn("short hair", "brown"))
TWO_PIECES = DRESSED.put("top", Worn("long-sleeved shirt", "red")).put("bottom", Worn("trousers", "blue"))
ONE_PIECE = DRESSED.put("full", Worn("robe", "red"))


class PixelEncoder:
    """Two images agree as their pixels do."""

    image_size = 24

    def encode_images(self, images):
        return torch.nn.functional.normalize((images - 0.5).flatten(1), dim=1)


@pytest.fixture(scope="module")
def search_for():
    """Makes a search whose prompt is what some outfit looks like."""
    body = load_body("anny")
    shaped = body.shape(body.neutral_shape)
    subject = Subject.of(body, shaped)

    def make(goal: Outfit, prompt: str = "a person") -> _Search:
        generator = torch_generator(0, "search")
        targets = torch.zeros(3, 3 * 24 * 24)
        search = _Search(
            body, shaped, subject, prompt, targets, PixelEncoder(), SearchConfig(), generator, lambda *_: None
        )
        search.targets = search.encoder.encode_images(search.views.paint(goal.layers()))
        return search

    return make


def score(search: _Search, outfit: Outfit) -> float:
    return float(search._scores([outfit], search.every_view)[0])


def test_one_piece_gives_way_to_two_that_fit_better(search_for):
    search = search_for(TWO_PIECES)
    found, reached = search._try_two_pieces(ONE_PIECE, score(search, ONE_PIECE))
    assert found.summary() == TWO_PIECES.summary()
    assert reached == pytest.approx(1.0, abs=1e-4)


def test_one_piece_stays_where_it_fits_best(search_for):
    search = search_for(ONE_PIECE)
    assert search._try_two_pieces(ONE_PIECE, score(search, ONE_PIECE))[0] == ONE_PIECE


def test_swapped_colours_are_put_right(search_for):
    search = search_for(TWO_PIECES)
    wrong = TWO_PIECES.put("top", Worn("long-sleeved shirt", "blue")).put("bottom", Worn("trousers", "red"))
    assert search._try_swap(wrong, score(search, wrong))[0].summary() == TWO_PIECES.summary()


def test_what_a_prompt_leaves_open_is_plausible(search_for):
    search = search_for(TWO_PIECES)
    search.margin = 1.0
    plain, rare, dyed = (search._cost(Worn("short hair", name), "hair") for name in ("brown", "ginger", "green dye"))
    assert plain < rare < dyed
    assert search._cost(Worn("robe", "red"), "full") > search._cost(Worn("bodysuit", "red"), "full")
    assert search._cost(Worn("trousers", "navy"), "bottom") > search._cost(Worn("trousers", "blue"), "bottom")
    assert set(SHADES) <= set(colors_of("top"))
    assert search._cost(Worn("shoes", "green"), "feet") > search._cost(Worn("shoes", "black"), "feet")


def test_what_a_prompt_names_needs_no_gain(search_for):
    search = search_for(TWO_PIECES, "a man in a red robe and a belt, with long hair")
    search.margin, search.sex = 1.0, "man"
    assert search._cost(Worn("robe", "red"), "full") < search._cost(Worn("bodysuit", "red"), "full")
    assert search._cost(Worn("belt", "black"), "belt") < 0 < search._cost(Worn("cape", "black"), "cape")
    assert search._cost(Worn("long hair", "brown"), "hair") < search._cost(Worn("short hair", "brown"), "hair")


def test_what_a_prompt_says_is_not_worn_is_never_tried(search_for):
    dressed = TWO_PIECES.put("feet", Worn("boots", "black"))
    search = search_for(dressed, "a man without boots and without a long-sleeved shirt or skin")
    assert "boots" not in search.options["feet"]
    assert search.options["skin"]
    found = search.run()[0]
    assert all(one.wearable not in ("boots", "long-sleeved shirt") for one in found.worn)


def test_special_kinds_are_worn_where_they_are_named_in_the_place_of_the_plain_ones():
    nothing: frozenset[str] = frozenset()
    plain = options(nothing, nothing)
    assert "hat" in plain["head"]
    assert "pointed hat" not in plain["head"]
    named = options(frozenset({"pointed hat", "afro"}), nothing)
    assert "pointed hat" in named["head"]
    assert "hat" not in named["head"]
    assert "short hair" not in named["hair"]
    assert options(frozenset({"trousers"}), nothing)["full"] == []
    assert "robe" in options(frozenset({"robe", "trousers"}), nothing)["full"]
    assert "robe" in options(frozenset({"boots"}), nothing)["full"]
    both = options(frozenset({"hat", "pointed hat"}), nothing)
    assert {"hat", "pointed hat"} <= set(both["head"])
    denied = options(frozenset({"pointed hat"}), frozenset({"hat"}))
    assert not {"hat", "pointed hat", "top hat"} & set(denied["head"])


def test_a_slot_of_which_nothing_is_allowed_stays_empty(search_for):
    search = search_for(TWO_PIECES.put("feet", Worn("boots", "black")), "no boots, no shoes")
    assert search.run()[0].get("feet") is None


def test_a_colour_that_the_prompt_gives_to_hair_or_skin_is_no_longer_unusual(search_for):
    search = search_for(TWO_PIECES, "a woman with long green hair in a blue dress")
    search.margin = 1.0
    green, blue = (search._cost(Worn("short hair", f"{name} dye"), "hair") for name in ("green", "blue"))
    assert green < 2 < blue
    assert search._cost(Worn("skin", "green paint"), "skin") > 2


def test_a_colour_that_the_prompt_gives_to_a_garment_needs_no_gain(search_for):
    search = search_for(TWO_PIECES, "a man in a dark green coat and brown trousers")
    search.margin = 1.0
    brown, black = (search._cost(Worn("trousers", name), "bottom") for name in ("brown", "black"))
    assert brown < black - 2
    assert search._cost(Worn("coat", "dark green"), "jacket") < search._cost(Worn("coat", "green"), "jacket")
    assert search._cost(Worn("shorts", "brown"), "bottom") > brown


def test_colours_that_the_prompt_tells_are_not_swapped(search_for):
    search = search_for(TWO_PIECES, "a blue long-sleeved shirt and red trousers")
    search.margin = 1.0
    told = TWO_PIECES.put("top", Worn("long-sleeved shirt", "blue")).put("bottom", Worn("trousers", "red"))
    assert search._try_swap(told, score(search, told))[0] == told


def test_hair_that_the_prompt_speaks_of_is_not_hidden_lightly(search_for):
    costs = []
    for prompt in ("a woman with green hair", "a woman", "a woman with green hair and a green helmet"):
        search = search_for(TWO_PIECES, prompt)
        search.margin = 1.0
        costs.append(search._cost(Worn("helmet", "green"), "head"))
    assert costs[0] > costs[1] + 2
    assert costs[2] < 0


def test_hair_shoes_and_shirts_are_usual_and_hair_goes_with_the_body(search_for):
    search = search_for(TWO_PIECES)
    search.margin = 1.0
    for slot in ("top", "feet", "hair"):
        assert search._cost(None, slot) == 1.0
    assert search._cost(None, "head") == 0.0
    costs = {}
    for sex in ("man", "woman", None):
        search.sex = sex
        costs[sex] = [search._cost(Worn(name, "brown"), "hair") for name in ("short hair", "long hair")]
    assert costs["man"][0] < costs["man"][1]
    assert costs["woman"][1] < costs["woman"][0]
    assert costs[None][0] == costs[None][1]


def test_a_colour_in_words_is_no_matter_of_likeness(search_for):
    """The pictures' targets wear blue: what the prompt gives a colour to has that one all the same."""
    dressed = TWO_PIECES.put("top", Worn("t-shirt", "blue")).put("bottom", Worn("trousers", "blue"))
    found = search_for(dressed, "a man in a black t-shirt and dark green trousers").run()[0]
    assert found.get("full") is None
    assert found.get("top") in (None, Worn("t-shirt", "black")) or found.get("top").wearable != "t-shirt"
    assert found.get("bottom") == Worn("trousers", "dark green")
