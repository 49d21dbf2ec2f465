"""Coloured training images on disk: draws looks onto the views of a geometry bank, in shards of uint8 images.

Run `python -m avatar_core.training.image_shards --help`.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from avatar_core.bodies import load_body
from avatar_core.bodies.surface_chart import SurfaceChart
from avatar_core.seeds import numpy_generator
from avatar_core.training.geometry_bank import VIEW_KINDS, GeometryShard, read_shard
from avatar_core.training.look_language import load_archetypes
from avatar_core.training.motion_clips import PoseLabel
from avatar_core.training.painting import Look, Painter
from avatar_core.training.relief import RAISED_HAIR
from avatar_core.training.scene import LookSampler, Scene, body_classes
from avatar_core.training.view_renderer import ViewRenderer, draw_background

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BankFacts:
    """What bank.json says of a geometry bank."""

    image_size: int
    supersample: int
    labels: tuple[PoseLabel, ...]
    families: tuple[str, ...]


def read_bank_facts(folder: Path) -> BankFacts:
    """Read bank.json of a geometry bank."""
    entry = json.loads((folder / "bank.json").read_text(encoding="utf-8"))
    labels = tuple(PoseLabel(one["name"], tuple(one["phrases"]), one["family"]) for one in entry["labels"])
    families = tuple(sorted({label.family for label in labels}))
    return BankFacts(entry["image_size"], entry["supersample"], labels, families)


@dataclass(frozen=True)
class DrawnImage:
    """A training image."""

    color: np.ndarray  # (size, size, 3) uint8, premultiplied by the cover
    cover: np.ndarray  # (size, size) uint8, how much of each pixel the body covers
    cells: np.ndarray  # (C, K) uint8, shares of the labels in each cell, as `view_renderer.DrawnView.cells`
    joints: np.ndarray  # (22, 3) float16, as `GeometryShard.joints`
    scene: Scene


class SceneSampler:
    """Draws scenes for the views of a geometry bank, and renders them.

    Args:
        facts: of the bank.
    """

    def __init__(self, facts: BankFacts) -> None:
        chart = SurfaceChart(load_body("anny"))
        self._facts, self._names = facts, chart.region_names
        self.archetypes = load_archetypes()
        self._looks = LookSampler(self.archetypes)
        self._renderer = ViewRenderer(Painter(chart), facts.image_size, facts.supersample)

    def draw(self, shard: GeometryShard, view: int, rng: np.random.Generator) -> DrawnImage:
        """Draw one view of a shard in a random look."""
        pose = int(shard.pose[view])
        label = int(shard.label[pose])
        turned = abs((float(shard.azimuth[view]) + np.pi) % (2 * np.pi) - np.pi)
        seen = shard.regions[view] > 30
        scene = Scene(
            betas=tuple(float(value) for value in shard.betas[pose]),
            bmi=float(shard.bmi[pose]),
            body={
                **body_classes(shard.betas[pose], float(shard.height[pose]), float(shard.bmi[pose])),
                "belly": int(shard.belly[pose]),
            },
            pose=label,
            family=self._facts.families.index(self._facts.labels[label].family),
            view="front" if turned < 1.0 else ("back" if turned > 2.1 else "side"),
            kind=VIEW_KINDS[shard.kind[view]],
            mode=str(rng.choice(["lit", "unlit", "textureless"], p=[0.62, 0.15, 0.23])),
            archetype=-1,
            look=Look(()),
            visible=tuple(sorted({self._names[i].split("_", 1)[-1] if self._names[i].startswith(("left_", "right_"))
                                  else self._names[i] for i in np.flatnonzero(seen)})),
        )  # fmt: skip
        look, archetype = self._looks.sample(scene.body, rng, RAISED_HAIR[int(shard.hair[pose])])
        scene = replace(scene, look=look, archetype=archetype)
        drawn = self._renderer.render(shard, view, look, scene.mode, rng)
        return DrawnImage(
            _bytes(drawn.color), _bytes(drawn.cover), _bytes(drawn.cells), shard.joints[view], scene
        )


def _bytes(shares: np.ndarray) -> np.ndarray:
    return (shares * 255).round().astype(np.uint8)


@dataclass(frozen=True)
class ImageShard:
    """N images read back, without their backgrounds."""

    colors: np.ndarray  # (N, size, size, 3) uint8, premultiplied
    covers: np.ndarray  # (N, size, size) uint8
    cells: np.ndarray  # (N, C, K) uint8
    joints: np.ndarray  # (N, 22, 3) float16, as `GeometryShard.joints`
    scenes: list[Scene]

    def images(self, seed: int) -> np.ndarray:
        """Return the images (N, size, size, 3) uint8, each over a random background."""
        size = self.covers.shape[1]
        rng = numpy_generator(seed, "evaluation backgrounds")
        behind = np.stack([draw_background(size, rng) for _ in self.scenes])
        clear = 1 - self.covers[..., None].astype(np.float32) / 255
        return (self.colors + behind * clear * 255).clip(0, 255).round().astype(np.uint8)


def read_image_shard(path: Path) -> ImageShard:
    """Read one shard, images-*.safetensors with its scenes beside it."""
    arrays = load_file(path)
    lines = path.with_suffix(".jsonl").read_text(encoding="utf-8").splitlines()
    scenes = [Scene.from_json(line) for line in lines]
    return ImageShard(arrays["colors"], arrays["covers"], arrays["cells"], arrays["joints"], scenes)


def write_image_shards(bank: Path, out: Path, *, shards: int, first: int, size: int, seed: int) -> None:
    """Draw image shards `first` to `first + shards` of `size` images each; existing ones are kept."""
    sampler = SceneSampler(read_bank_facts(bank))
    out.mkdir(parents=True, exist_ok=True)
    started = time.process_time()
    for number in range(first, first + shards):
        path = out / f"images-{number:05d}.safetensors"
        if path.exists():
            continue
        rng = numpy_generator(seed, "images", str(number))
        geometry = sorted(bank.glob("shard-*.safetensors"))
        drawn: list[DrawnImage] = []
        for part in np.array_split(np.arange(size), 4):
            shard = read_shard(geometry[int(rng.integers(len(geometry)))])
            for view in rng.choice(len(shard.kind), len(part), replace=len(part) > len(shard.kind)):
                drawn.append(sampler.draw(shard, int(view), rng))
        lines = "\n".join(one.scene.to_json() for one in drawn)
        path.with_suffix(".jsonl").write_text(lines, encoding="utf-8")
        partial = path.with_suffix(".partial")
        arrays = {
            "colors": np.stack([one.color for one in drawn]),
            "covers": np.stack([one.cover for one in drawn]),
            "cells": np.stack([one.cells for one in drawn]),
            "joints": np.stack([one.joints for one in drawn]),
        }
        save_file(arrays, partial)
        partial.replace(path)
        rate = (number - first + 1) * size / (time.process_time() - started)
        logger.info("image shard %d, %.0f images per CPU second", number, rate)


def main() -> None:
    """Draw image shards from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bank", type=Path, required=True, help="folder of the geometry bank")
    parser.add_argument("--out", type=Path, required=True, help="folder of the image shards")
    parser.add_argument("--shards", type=int, default=60)
    parser.add_argument("--first", type=int, default=0, help="number of the first shard")
    parser.add_argument("--size", type=int, default=1024, help="images a shard")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    write_image_shards(
        arguments.bank, arguments.out,
        shards=arguments.shards, first=arguments.first, size=arguments.size, seed=arguments.seed,
    )  # fmt: skip


if __name__ == "__main__":
    main()
