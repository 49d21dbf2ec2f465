"""What looks say is what gets painted, where it belongs."""

import numpy as np
import pytest

from avatar_core.errors import ConfigError
from avatar_core.training.garments import PATTERNS
from avatar_core.training.look_language import load_archetypes, make_look, parse_layer, parse_outfit
from avatar_core.training.palette import BASES, METALS, all_colors, parse_color, sample_rgb


def _share(painter, look, region, near, seed=0):
    """The share of a region's vertices that are within 0.25 of a colour."""
    points = painter.chart.vertices()
    albedo = painter.paint(points, make_look(look, np.random.default_rng(seed)), np.random.default_rng(seed)).albedo
    inside = np.isin(points.region, painter.chart.region_ids(region))
    return float((np.abs(albedo[inside] - near).max(1) < 0.25).mean())


RED, BLUE = (0.85, 0.08, 0.08), (0.10, 0.20, 0.85)


def test_shirt_and_trousers_are_on_trunk_and_legs(painter):
    look = "red shirt, blue trousers"
    assert _share(painter, look, "chest", RED) > 0.85
    assert _share(painter, look, "forearm", RED) > 0.6
    assert _share(painter, look, "shin", BLUE) > 0.7
    assert _share(painter, look, "thigh", BLUE) > 0.95
    assert _share(painter, look, "face", RED) < 0.1
    assert _share(painter, look, "hand", RED) < 0.2


def test_gloves_boots_and_helmet_are_at_the_ends(painter):
    look = "red gloves, blue boots, red helmet"
    assert _share(painter, look, "hand", RED) > 0.9
    assert _share(painter, look, "foot", BLUE) > 0.9
    assert _share(painter, look, "scalp", RED) > 0.9
    assert _share(painter, look, "chest", RED) < 0.05


def test_a_cape_is_on_the_back_only(painter):
    points = painter.chart.vertices()
    look = make_look("white shirt, red cape", np.random.default_rng(0))
    albedo = painter.paint(points, look, np.random.default_rng(0)).albedo
    chest = np.isin(points.region, painter.chart.region_ids("chest"))
    red = np.abs(albedo - RED).max(1) < 0.25
    assert red[chest & (points.normal_z < -0.5)].mean() > 0.8
    assert red[chest & (points.normal_z > 0)].mean() == 0


@pytest.mark.parametrize("pattern", PATTERNS[1:])
def test_patterns_show_both_colours(painter, pattern):
    word = "vertically striped" if pattern == "vertical stripes" else pattern
    look = f"red shirt {word} blue, blue trousers"
    assert _share(painter, look, "chest", RED) > 0.1
    assert _share(painter, look, "chest", BLUE) > 0.05


def test_painting_is_the_same_for_the_same_seed(painter):
    look = make_look("red shirt dotted blue, black jeans", np.random.default_rng(0))
    points = painter.chart.vertices()
    first, second = (painter.paint(points, look, np.random.default_rng(5)).albedo for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_every_archetype_parses_and_is_named_once():
    archetypes = load_archetypes()
    assert len(archetypes) >= 60
    names = [name for archetype in archetypes for name in archetype.names]
    assert len(names) == len(set(names))


def test_outfits_draw_among_alternatives_and_optional_parts():
    drawn = {
        tuple((layer.garment, layer.color.name) for layer in parse_outfit("red|dark blue hat, black belt?", rng))
        for rng in map(np.random.default_rng, range(40))
    }
    assert drawn == {
        (("hat", color), *belt) for color in ("red", "dark blue") for belt in ((), (("belt", "black"),))
    }  # fmt: skip


@pytest.mark.parametrize("text", ["red", "shirt", "red shirt wobbly blue", "reddish shirt"])
def test_what_is_not_in_the_grammar_is_an_error(text):
    with pytest.raises(ConfigError):
        parse_layer(text)


def test_color_samples_stay_nearest_to_their_own_base():
    rng = np.random.default_rng(0)
    matte = [name for name in BASES if name not in METALS]
    plain = {name: sample_rgb(parse_color(name), np.random.default_rng(1)) for name in matte}
    for color in all_colors():
        if color.shade or BASES[color.base] in METALS:
            continue
        rgb = sample_rgb(color, rng)
        assert min(plain, key=lambda name: np.abs(plain[name] - rgb).sum()) == BASES[color.base]
