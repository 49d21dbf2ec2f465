"""Optimises the colours of a body against an encoder, to see what its gradient paints.

Run `python -m avatar_core.training.guidance_check --help`; look at the sheet it writes.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from avatar_core.bodies import BodyModel, load_body
from avatar_core.perception.encoder import Encoder, load_encoder
from avatar_core.perception.prompts import appearance_prompts
from avatar_core.rendering.backgrounds import random_backgrounds
from avatar_core.rendering.cameras import Cameras, cat_cameras, orbit_cameras
from avatar_core.rendering.lights import random_camera_lights, studio_lights
from avatar_core.rendering.mesh_renderer import render_mesh
from avatar_core.rendering.rasterizer import MeshRays
from avatar_core.seeds import torch_generator

logger = logging.getLogger(__name__)

PROMPTS: tuple[str, ...] = (
    "a man in a red shirt and blue trousers",
    "a woman in a green dress",
    "a firefighter",
    "a man in a white t-shirt, black shorts and red shoes",
    "a purple jacket, yellow trousers and black boots",
    "superman",
)


def smooth_basis(points: Tensor, centres: int, width: float) -> Tensor:
    """Return normalised Gaussian weights (V, centres) of points (V, 3) about spread-out points of theirs.

    Args:
        points: (V, 3) metres.
        centres: how many, chosen farthest from one another.
        width: standard deviation of the Gaussians, metres.
    """
    chosen = [0]
    nearest = (points - points[0]).norm(dim=1)
    for _ in range(centres - 1):
        chosen.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, (points - points[chosen[-1]]).norm(dim=1))
    squared = torch.cdist(points, points[chosen]) ** 2
    return torch.softmax(-squared / (2 * width**2), dim=1)


def random_views(
    vertices: Tensor, face_height: float, count: int, generator: torch.Generator
) -> tuple[Cameras, list[str]]:
    """Return random cameras as texturing uses them, and the prompt ("body", "face" or "back") of each."""
    height = float(vertices[:, 1].max())
    cameras, names = [], []
    for _ in range(count):
        draw = torch.rand(4, generator=generator).tolist()
        azimuth = float(torch.randn((), generator=generator)) * 1.05 if draw[0] < 0.7 else (draw[1] - 0.5) * 2 * np.pi
        back = abs((azimuth + np.pi) % (2 * np.pi) - np.pi) > 2.1
        if draw[2] < 0.25 and not back:
            target, distance, name = [0.0, face_height, 0.05], 0.55, "face"
        else:
            target, distance, name = (
                [0.0, 0.52 * height, 0.0],
                height * (0.95 + 0.5 * draw[3]),
                "back" if back else "body",
            )
        elevation = 0.15 * float(torch.randn((), generator=generator))
        cameras.append(orbit_cameras(azimuth, elevation, distance, target, np.deg2rad(60), 96))
        names.append(name)
    return cat_cameras(cameras), names


def paint(
    body: BodyModel, betas: Tensor, prompt: str, encoder: Encoder, *, steps: int, views: int, seed: int
) -> tuple[Tensor, list[float]]:
    """Optimise vertex colours for a prompt.

    Args:
        body, betas: the body, in its bind pose.
        prompt: an appearance.
        encoder: gives the loss, one minus the cosine of lit views and prompts.
        steps, views: optimiser steps, and views of each.
        seed: of everything random.
    Returns:
        vertex colours (V, 3) in [0, 1], and the cosine of each step.
    """
    generator = torch_generator(seed, "guidance", prompt)
    vertices = body.shape(betas).vertices
    face_height = float(vertices[body.regions == body.region_names.index("eyes"), 1].mean())
    basis = smooth_basis(vertices, 500, 0.035)
    values = torch.zeros(basis.shape[1], 3).normal_(0, 0.1, generator=generator).requires_grad_()
    optimizer = torch.optim.Adam([values], lr=0.08)
    names = appearance_prompts(prompt)
    targets = dict(zip(names, encoder.encode_texts(list(names.values()))))
    rays = MeshRays(vertices, body.faces)
    cosines = []
    for _ in range(steps):
        cameras, seen = random_views(vertices, face_height, views, generator)
        rendering = render_mesh(
            vertices, body.faces, cameras, vertex_colors=torch.sigmoid(basis @ values), rays=rays,
            lights=random_camera_lights(generator, cameras),
            background=random_backgrounds(generator, len(cameras), cameras.height, cameras.width), antialias=False,
        )  # fmt: skip
        target = torch.stack([targets[name] for name in seen])
        cosine = (encoder.encode_images(rendering.image) * target).sum(1).mean()
        optimizer.zero_grad()
        (1 - cosine).backward()
        optimizer.step()
        cosines.append(float(cosine.detach()))
    return torch.sigmoid(basis @ values).detach(), cosines


def sheet_row(body: BodyModel, betas: Tensor, colors: Tensor, size: int = 240) -> np.ndarray:
    """Return front, side, back and face of a painted body as (size, 4 * size, 3) uint8."""
    vertices = body.shape(betas).vertices
    height = float(vertices[:, 1].max())
    cameras = cat_cameras([
        *(orbit_cameras(a, 0.05, 1.25 * height, [0, 0.5 * height, 0], 0.85, size) for a in (0.0, 1.2, np.pi)),
        orbit_cameras(0.3, 0.0, 0.55, [0, 0.93 * height, 0.05], 0.85, size),
    ])  # fmt: skip
    with torch.no_grad():
        image = render_mesh(
            vertices, body.faces, cameras, vertex_colors=colors, lights=studio_lights(cameras), supersample=2
        ).image
    return (torch.cat(list(image), dim=2).permute(1, 2, 0).clamp(0, 1) * 255).byte().numpy()


def main() -> None:
    """Paint a few prompts and write their sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", default="bodyclip")
    parser.add_argument("--out", type=Path, required=True, help="PNG to write")
    parser.add_argument("--prompts", nargs="*", default=list(PROMPTS))
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    body, encoder = load_body("anny"), load_encoder(arguments.encoder)
    rows = []
    for prompt in arguments.prompts:
        colors, cosines = paint(
            body, body.neutral_shape, prompt, encoder, steps=arguments.steps, views=arguments.views, seed=arguments.seed
        )
        logger.info("%-56s cosine %.3f -> %.3f", prompt, np.mean(cosines[:5]), np.mean(cosines[-10:]))
        rows.append(sheet_row(body, body.neutral_shape, colors))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(rows)).save(arguments.out)


if __name__ == "__main__":
    main()
