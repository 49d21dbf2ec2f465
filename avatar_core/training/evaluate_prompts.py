"""Does the product understand shape and motion prompts? Runs the stages on forty of them and writes two sheets.

Shapes are judged by measuring the found bodies; motions by the labels of the clips that the found poses come from
(which the stage never sees) and by looking at the sheet. Run `python -m avatar_core.training.evaluate_prompts --help`.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from avatar_core.bodies import BodyModel, ShapedBody, load_body
from avatar_core.bodies.rotations import axis_angle_to_matrix
from avatar_core.perception.encoder import load_encoder
from avatar_core.priors.pose_vae import PoseCodebook
from avatar_core.priors.shape_words import mass_index
from avatar_core.priors.views import GreyViews, pose_body
from avatar_core.stages import candidate_poses, coarse_shape
from avatar_core.stages.base import StageContext

logger = logging.getLogger(__name__)
TILE = 144  # pixels a side of the sheets' pictures


@dataclass(frozen=True)
class Measures:
    """What a body measures."""

    height: float  # metres
    bulk: float  # body mass index, kg/m^2
    muscle: float  # phenotype, 0 to 1
    female: float  # phenotype, 0 to 1
    age: float  # phenotype, 0 child to 1 old

    @classmethod
    def of(cls, body: BodyModel, shaped: ShapedBody) -> Measures:
        """Measure a body."""
        facts = dict(zip(body.shape_labels, shaped.betas.tolist()))
        return cls(shaped.height, mass_index(body, shaped), facts["muscle"], facts["gender"], facts["age"])


Rule = Callable[[Measures, Measures], bool]
"""Whether a body, compared with the neutral one, is what a word says."""

TALL: Rule = lambda found, plain: found.height > plain.height + 0.10  # noqa: E731
SHORT: Rule = lambda found, plain: found.height < plain.height - 0.05  # noqa: E731
FAT: Rule = lambda found, plain: found.bulk > max(27.0, plain.bulk + 4)  # noqa: E731
THIN: Rule = lambda found, plain: found.bulk < min(20.0, plain.bulk - 1.5)  # noqa: E731
STRONG: Rule = lambda found, plain: found.muscle > 0.7  # noqa: E731
MALE: Rule = lambda found, plain: found.female < 0.35  # noqa: E731
FEMALE: Rule = lambda found, plain: found.female > 0.65  # noqa: E731
OLD: Rule = lambda found, plain: found.age > 0.8  # noqa: E731
CHILD: Rule = lambda found, plain: found.age < 0.42 and found.height < 1.5  # noqa: E731

SHAPES: dict[str, tuple[Rule, ...]] = {
    "a tall man": (TALL, MALE),
    "a short man": (SHORT, MALE),
    "a fat man": (FAT, MALE),
    "a skinny man": (THIN, MALE),
    "a muscular man": (STRONG, MALE),
    "a tall woman": (TALL, FEMALE),
    "a short woman": (SHORT, FEMALE),
    "an overweight woman": (FAT, FEMALE),
    "a slender woman": (THIN, FEMALE),
    "an old woman": (OLD, FEMALE),
    "an elderly man": (OLD, MALE),
    "a little girl": (CHILD, FEMALE),
    "a boy": (CHILD, MALE),
    "a tall and fat man": (TALL, FAT, MALE),
    "a short and skinny woman": (SHORT, THIN, FEMALE),
    "a sumo wrestler": (FAT,),
    "a basketball player": (TALL,),
    "a bodybuilder": (STRONG,),
    "a pregnant woman": (FEMALE, lambda found, plain: found.bulk > plain.bulk),
    "a ballerina": (FEMALE, lambda found, plain: found.bulk < plain.bulk),
}
MOTIONS: dict[str, tuple[str, ...]] = {  # prompt -> what a right clip's label holds one of
    "walking": ("walk",),
    "running": ("run", "jog"),
    "kicking a football": ("kicking a football", "kick"),
    "dancing salsa": ("salsa",),
    "dancing ballet": ("ballet", "pirouette", "dance"),
    "breakdancing": ("breakdanc",),
    "punching": ("punch", "boxing"),
    "doing a cartwheel": ("cartwheel",),
    "hanging from a bar": ("hanging", "holding on", "bar", "overhead"),
    "climbing": ("climb",),
    "sneaking": ("sneak",),
    "sitting": ("sit",),
    "jumping": ("jump", "leap", "hop"),
    "sword fighting": ("sword",),
    "doing a backflip": ("flip",),
    "crawling": ("crawl",),
    "squatting": ("squat", "curling", "duck"),
    "directing traffic": ("traffic", "signals"),
    "dribbling a basketball": ("basketball",),
    "practicing karate": ("karate", "kick"),
}


def judge_shapes(context: StageContext, prompts: dict[str, tuple[Rule, ...]]) -> tuple[dict[str, bool], list[Tensor]]:
    """Return for each prompt whether the found body is what it says, and a picture (3, TILE, TILE) of each body."""
    body = context.body
    views = GreyViews(body, TILE)
    plain = Measures.of(body, body.shape(body.neutral_shape))
    right, pictures = {}, []
    for prompt, rules in prompts.items():
        found = coarse_shape.run(prompt, config=coarse_shape.Config(), seed=0, context=context)
        shaped = body.shape(found.betas)
        measured = Measures.of(body, shaped)
        right[prompt] = all(rule(measured, plain) for rule in rules)
        logger.info("%-28s %s %s", prompt, "right" if right[prompt] else "WRONG", measured)
        posed = pose_body(body, shaped, body.bind_pose(shaped)[None])[0]
        pictures.append(views.standard(posed, [0.4])[0])
    return right, pictures


def judge_motions(context: StageContext, prompts: dict[str, tuple[str, ...]]) -> tuple[dict[str, int], list[Tensor]]:
    """Return how many of the five poses of each prompt come from clips of its kind, and a picture of each pose."""
    body, book = context.body, PoseCodebook.load()
    views, shaped = GreyViews(body, TILE), body.shape(body.neutral_shape)
    right, pictures = {}, []
    for prompt, words in prompts.items():
        found = candidate_poses.run(prompt, config=candidate_poses.Config(), seed=0, context=context)
        labels = [book.labels[entry] for entry in found.entries]
        right[prompt] = sum(any(word in label for word in words) for label in labels)
        logger.info("%-28s %d of 5: %s", prompt, right[prompt], "; ".join(labels))
        for vertices in pose_body(body, shaped, axis_angle_to_matrix(found.poses)):
            pictures.append(views.framed(vertices, [0.5])[0])
    return right, pictures


def write_sheet(path: Path, pictures: list[Tensor], titles: list[str], columns: int) -> None:
    """Write pictures (3, TILE, TILE) in rows of `columns`, each with its title above."""
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * TILE, rows * (TILE + 14)), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (picture, title) in enumerate(zip(pictures, titles)):
        row, column = divmod(index, columns)
        pixels = (picture.detach().permute(1, 2, 0).clamp(0, 1) * 255).byte().numpy()
        sheet.paste(Image.fromarray(pixels), (column * TILE, row * (TILE + 14) + 14))
        draw.text((column * TILE + 2, row * (TILE + 14) + 1), title, fill="black")
    sheet.save(path)


def evaluate(context: StageContext, out: Path) -> dict[str, float]:
    """Judge all prompts; write shapes.png, poses.png and prompts.json to `out` and return the shares that are right."""
    out.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        shapes, bodies = judge_shapes(context, SHAPES)
        motions, poses = judge_motions(context, MOTIONS)
    write_sheet(out / "shapes.png", bodies, [("" if right else "X ") + name for name, right in shapes.items()], 10)
    titles = [f"{prompt} {number + 1}" for prompt in motions for number in range(len(poses) // len(motions))]
    write_sheet(out / "poses.png", poses, titles, 10)
    scores = {
        "shape prompts": sum(shapes.values()) / len(shapes),
        "motion prompts, most of five poses": sum(right >= 3 for right in motions.values()) / len(motions),
        "poses of five": sum(motions.values()) / (5 * len(motions)),
    }
    report = {"scores": scores, "shapes": shapes, "motions": motions}
    (out / "prompts.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return scores


def main() -> None:
    """Evaluate from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", default="bodyclip", help="embedded name, folder or hub name")
    parser.add_argument("--out", type=Path, required=True, help="folder of the sheets and prompts.json")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    context = StageContext(load_body("anny"), load_encoder(arguments.encoder))
    for name, value in evaluate(context, arguments.out).items():
        logger.info("%-48s %5.1f %%", name, 100 * value)


if __name__ == "__main__":
    main()
