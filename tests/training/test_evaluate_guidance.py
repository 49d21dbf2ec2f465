"""The measures of the guidance test; the test itself takes an hour and is run by hand."""

import torch

from avatar_core.bodies import load_body
from avatar_core.stages.texturing_views import Subject, scoring_views
from avatar_core.training.evaluate_guidance import color_right, r_precision, read_prompts, region_colors
from avatar_core.training.palette import BASES


def test_there_are_sixty_prompts_of_known_regions_and_colours(body):
    prompts = read_prompts()
    assert len(prompts) == len({prompt.text for prompt in prompts}) == 60
    regions = {name.removeprefix("left_").removeprefix("right_") for name in body.region_names}
    for prompt in prompts:
        assert set(prompt.colors) <= regions
        assert set(prompt.colors.values()) <= set(BASES)


def test_the_commonest_colour_of_a_region_counts():
    pixels = torch.tensor([[0.9, 0.1, 0.1]] * 6 + [[0.1, 0.2, 0.9]] * 4)
    assert color_right(pixels, "red")
    assert not color_right(pixels, "blue")
    assert not color_right(pixels[:0], "red")
    assert color_right(torch.full((3, 3), 0.5), "silver")


def test_colours_are_read_where_the_region_is():
    body = load_body("anny")
    views = scoring_views(Subject.of(body, body.shape(body.neutral_shape)), 64)
    ramp = torch.linspace(0, 1, 64).view(1, 1, 64, 1).expand(len(views.prompt), 3, 64, 64)  # dark above, light below
    heights = {
        region: float(region_colors(body, body.neutral_shape, ramp, views, region).mean())
        for region in ("scalp", "chest", "thigh", "foot")
    }
    assert heights["scalp"] < heights["chest"] < heights["thigh"] < heights["foot"]


def test_an_avatar_is_found_by_its_own_prompt():
    class Judge:
        """Takes the mean colour of an image, and the colour that a text names, for its feature."""

        def encode_images(self, images):
            return torch.nn.functional.normalize(images.mean((2, 3)), dim=1)

        def encode_texts(self, texts):
            return torch.tensor([[float(name in text) for name in ("red", "green", "blue")] for text in texts])

    pictures = [torch.zeros(2, 3, 8, 8) for _ in range(3)]
    for channel, picture in enumerate(pictures):
        picture[:, channel] = 1
    share, taken = r_precision(pictures[:2] + pictures[:1], ["body", "back"], ["red", "green", "blue"], Judge())
    assert taken == ["red", "green", "red"]
    assert share == 2 / 3
