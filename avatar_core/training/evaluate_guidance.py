"""The test that counts: sixty held-out prompts through the real texturing stage, and how well the results fit.

Two measures: R-precision@1, by a judge encoder that did not guide (does an avatar's picture find its own prompt among
all?), and the colours of the named regions, read from the rendered pixels. Every finished prompt is kept, so that an
interrupted run goes on. Run `python -m avatar_core.training.evaluate_guidance --help`; look at the sheet it writes.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image
from torch import Tensor

from avatar_core.bodies import BodyModel, load_body
from avatar_core.fields.field_renderer import render_field
from avatar_core.fields.shell import shell_of
from avatar_core.perception.encoder import Encoder, load_encoder
from avatar_core.perception.prompts import appearance_prompts, sex_word
from avatar_core.perception.retrieval import fits
from avatar_core.rendering.lights import Lights
from avatar_core.rendering.rasterizer import MeshRays
from avatar_core.stages import coarse_shape, implicit_init, texturing
from avatar_core.stages.base import StageContext
from avatar_core.stages.texturing_views import PROMPT_KINDS, Subject, Views, scoring_views
from avatar_core.training.palette import BASES, nearest_base

logger = logging.getLogger(__name__)
SIZE = 192  # pixels a side of the judged views


@dataclass(frozen=True)
class GuidancePrompt:
    """An appearance and what must be seen of it."""

    text: str
    colors: dict[str, str]  # region of the body -> base colour


def read_prompts() -> tuple[GuidancePrompt, ...]:
    """Read the package's held-out prompts."""
    text = (files("avatar_core.training") / "guidance_prompts.yaml").read_text(encoding="utf-8")
    return tuple(GuidancePrompt(prompt, dict(colors)) for prompt, colors in yaml.safe_load(text).items())


@dataclass(frozen=True, eq=False)
class Dressed:
    """Six views of one finished avatar."""

    lit: Tensor  # (6, 3, SIZE, SIZE) as `scoring_views`
    flat: Tensor  # (6, 3, SIZE, SIZE) albedo alone


def _shape(prompt: str, seed: int, context: StageContext) -> coarse_shape.CoarseShape:
    words = f"a {sex_word(prompt) or 'person'}"
    return coarse_shape.run(words, config=coarse_shape.Config(), seed=seed, context=context)


def dress(prompt: str, config: texturing.Config, seed: int, context: StageContext) -> Dressed:
    """Run the stages up to texturing on the body that the prompt's sex asks for, and render the result."""
    body = context.body
    avatar = implicit_init.run(_shape(prompt, seed, context), config=implicit_init.Config(), seed=seed, context=context)
    textured = texturing.run(avatar, prompt, config=config, seed=seed, context=context)
    field = textured.field(body)
    shell = shell_of(field)
    views = scoring_views(Subject.of(body, body.shape(textured.betas)), SIZE)
    even = Lights(views.lights.direction, torch.ones_like(views.lights.ambient), torch.zeros_like(views.lights.diffuse))
    with torch.no_grad():
        lit, flat = (
            render_field(
                field, shell, views.cameras, lights, views.background, torch.tensor(config.initial_sharpness),
                intervals=2 * config.intervals, clay=False,
            ).image
            for lights in (views.lights, even)
        )  # fmt: skip
    return Dressed(lit, flat)


def region_colors(body: BodyModel, betas: Tensor, flat: Tensor, views: Views, region: str) -> Tensor:
    """Return the colours (N, 3) of the pixels of whole-body views (6, 3, H, W) that show a region of the body."""
    wanted = [index for index, name in enumerate(body.region_names) if name == region or name.endswith("_" + region)]
    shaped = body.shape(betas)
    face = MeshRays(shaped.vertices, body.faces).rasterize(views.cameras).face
    on = torch.isin(body.regions[body.faces[:, 0]][face.clamp_min(0)], torch.tensor(wanted)) & (face >= 0)
    on &= (views.prompt != PROMPT_KINDS.index("face"))[:, None, None]
    return flat.permute(0, 2, 3, 1)[on]


METALS: dict[str, tuple[str, ...]] = {"silver": ("silver", "gray"), "gold": ("gold", "yellow")}
"""Base colours that also pass for a metal, which is a colour and a shine."""


def color_right(pixels: Tensor, color: str) -> bool:
    """Tell whether the commonest base colour among pixels (N, 3) is `color`, or passes for it."""
    if not len(pixels):
        return False
    found = np.bincount(nearest_base(pixels.numpy()), minlength=len(BASES)).argmax()
    return BASES[int(found)] in METALS.get(color, (color,))


def r_precision(
    pictures: list[Tensor], kinds: list[str], prompts: list[str], judge: Encoder
) -> tuple[float, list[str]]:
    """Return the share of avatars whose own prompt comes first among all, and what each was taken for.

    Args:
        pictures: of each avatar, views (B, 3, H, W).
        kinds: the kind of prompt ("body", "face", "back") that each view is compared with.
        prompts: of the avatars, in their order.
        judge: compares.
    """
    scores = torch.zeros(len(pictures), len(prompts))
    texts = {k: judge.encode_texts([appearance_prompts(p)[k] for p in prompts]) for k in PROMPT_KINDS}
    for row, views in enumerate(pictures):
        scores[row] = fits(judge.encode_images(views), kinds, texts)
    best = scores.argmax(1).tolist()
    return sum(index == row for row, index in enumerate(best)) / len(best), [prompts[index] for index in best]


def main() -> None:
    """Run the test from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", default="bodyclip", help="guides: embedded name, folder or hub name")
    parser.add_argument("--judge", default="judge", help="judges: another encoder than the one that guides")
    parser.add_argument("--out", type=Path, required=True, help="folder of the pictures, the sheet and guidance.json")
    parser.add_argument("--every", type=int, default=1, help="take every so-many-th prompt only")
    parser.add_argument("--first", type=int, default=0, help="number of the first prompt to take, to share out work")
    parser.add_argument("--steps", type=int, help="gradient steps; default: the draft preset's")
    parser.add_argument("--no-search", action="store_true", help="gradient alone, without the search before it")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    config = texturing.Config(outfit_search=not arguments.no_search)
    if arguments.steps is not None:
        config = config.model_copy(update={"steps": arguments.steps})
    arguments.out.mkdir(parents=True, exist_ok=True)
    context = StageContext(load_body("anny"), load_encoder(arguments.encoder))
    prompts = read_prompts()[arguments.first :: arguments.every]
    pictures, right, asked = [], 0, 0
    for number, prompt in enumerate(prompts):
        dressed = _kept(arguments.out / f"{prompt.text.replace(' ', '-')}.npz", prompt, config, arguments.seed, context)
        pictures.append(dressed.lit)
        verdicts = _judge_colors(context, prompt, dressed, arguments.seed)
        right, asked = right + sum(verdicts.values()), asked + len(verdicts)
        wrong = [f"{region} is not {prompt.colors[region]}" for region, good in verdicts.items() if not good]
        logger.info("%d of %d, %s: %s", number + 1, len(prompts), prompt.text, "; ".join(wrong) or "colours right")
    judge = load_encoder(arguments.judge)
    kinds = [PROMPT_KINDS[index] for index in _views(context, prompts[0], arguments.seed)[1].prompt.tolist()]
    precision, taken = r_precision(pictures, kinds, [prompt.text for prompt in prompts], judge)
    scores = {"R-precision@1": precision, "region colours": right / max(asked, 1)}
    report = {"scores": scores, "taken for": {prompt.text: name for prompt, name in zip(prompts, taken)}}
    (arguments.out / "guidance.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    _write_sheet(arguments.out / "sheet.png", pictures)
    for name, value in scores.items():
        logger.info("%-24s %5.1f %%", name, 100 * value)


def _kept(path: Path, prompt: GuidancePrompt, config: texturing.Config, seed: int, context: StageContext) -> Dressed:
    """Return the finished views at `path`, made first where they are not there."""
    if not path.exists():
        began = time.monotonic()
        made = dress(prompt.text, config, seed, context)
        partial = path.with_suffix(".partial.npz")
        np.savez_compressed(partial, **{k: (v * 255).byte().numpy() for k, v in vars(made).items()})
        partial.replace(path)
        logger.info("%s took %.0f s", prompt.text, time.monotonic() - began)
    with np.load(path, allow_pickle=False) as arrays:
        return Dressed(*(torch.from_numpy(arrays[name]).float() / 255 for name in ("lit", "flat")))


def _views(context: StageContext, prompt: GuidancePrompt, seed: int) -> tuple[Tensor, Views]:
    """Return the body's shape vector and the views that `dress` renders."""
    betas = _shape(prompt.text, seed, context).betas
    return betas, scoring_views(Subject.of(context.body, context.body.shape(betas)), SIZE)


def _judge_colors(context: StageContext, prompt: GuidancePrompt, dressed: Dressed, seed: int) -> dict[str, bool]:
    betas, views = _views(context, prompt, seed)
    return {
        region: color_right(region_colors(context.body, betas, dressed.flat, views, region), color)
        for region, color in prompt.colors.items()
    }


def _write_sheet(path: Path, pictures: list[Tensor], columns: int = 10) -> None:
    tiles = [(lit[1].permute(1, 2, 0) * 255).byte().numpy() for lit in pictures]
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    rows = [np.concatenate(tiles[start : start + columns], 1) for start in range(0, len(tiles), columns)]
    Image.fromarray(np.concatenate(rows, 0)).save(path)


if __name__ == "__main__":
    main()
