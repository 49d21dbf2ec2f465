"""The shipped encoder sees what a body wears, in pictures of the product's own renderer."""

import numpy as np
import pytest
import torch

from avatar_core.bodies import load_body
from avatar_core.bodies.surface_chart import SurfaceChart
from avatar_core.perception import appearance_prompts, load_encoder
from avatar_core.rendering.cameras import orbit_cameras
from avatar_core.rendering.lights import studio_lights
from avatar_core.rendering.mesh_renderer import render_mesh
from avatar_core.training.look_language import make_look
from avatar_core.training.painting import Painter


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("bodyclip")


@pytest.fixture(scope="module")
def photograph():
    body = load_body("anny")
    painter = Painter(SurfaceChart(body))
    cameras = orbit_cameras(torch.tensor([-0.4, 0.0, 0.4]), 0.05, 2.4, [0.0, 0.9, 0.0], 0.85, 96)

    def take(look: str) -> torch.Tensor:
        rng = np.random.default_rng(0)
        colors = painter.paint(painter.chart.vertices(), make_look(look, rng), rng).albedo
        with torch.no_grad():
            return render_mesh(
                body.template, body.faces, cameras, vertex_colors=torch.from_numpy(colors).float(),
                lights=studio_lights(cameras),
            ).image  # fmt: skip

    return take


def _best(encoder, images, prompts):
    texts = encoder.encode_texts([appearance_prompts(prompt)["body"] for prompt in prompts])
    return prompts[int((encoder.encode_images(images) @ texts.mT).mean(0).argmax())]


def test_the_checkpoint_is_small_and_documented(encoder):
    from importlib.resources import files

    folder = files("avatar_core") / "weights" / "bodyclip"
    assert (folder / "model.safetensors").stat().st_size < 30e6
    assert "R@1" in (folder / "card.md").read_text(encoding="utf-8")
    assert len(encoder.digest) == 64


@pytest.mark.parametrize("color", ["red", "blue", "green", "yellow"])
def test_a_shirt_is_the_colour_it_is_called(encoder, photograph, color):
    prompts = [f"a man wearing a {one} shirt" for one in ("red", "blue", "green", "yellow")]
    assert (
        _best(encoder, photograph(f"{color} shirt, gray trousers, black shoes"), prompts)
        == prompts[["red", "blue", "green", "yellow"].index(color)]
    )


def test_colours_belong_to_their_garments(encoder, photograph):
    prompts = ["a man in a red shirt and blue trousers", "a man in a blue shirt and red trousers"]
    assert _best(encoder, photograph("red shirt, blue trousers"), prompts) == prompts[0]
    assert _best(encoder, photograph("blue shirt, red trousers"), prompts) == prompts[1]


def test_gradients_of_the_shipped_encoder_are_finite(encoder, photograph):
    images = photograph("white shirt, black trousers").requires_grad_()
    text = encoder.encode_texts(["a man in a red shirt"])
    (encoder.encode_images(images) @ text.mT).sum().backward()
    assert torch.isfinite(images.grad).all()
    assert images.grad.abs().sum() > 0


def test_the_judge_is_another_network_and_knows_plain_clothes_too(photograph):
    judge = load_encoder("judge")
    prompts = [f"a man wearing a {one} shirt" for one in ("red", "blue", "green", "yellow")]
    right = [
        _best(judge, photograph(f"{color} shirt, gray trousers, black shoes"), prompts) == prompts[index]
        for index, color in enumerate(("red", "blue", "green", "yellow"))
    ]
    assert sum(right) >= 3
    assert judge.digest != load_encoder("bodyclip").digest
