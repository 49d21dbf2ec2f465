"""Colours and lights one view of a geometry bank: an image as the product's renderer would give it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avatar_core.bodies.surface_chart import SurfacePoints
from avatar_core.training.garments import CATEGORIES, CATEGORY_INDEX
from avatar_core.training.geometry_bank import GeometryShard
from avatar_core.training.painting import Look, Painted, Painter
from avatar_core.training.scene import NUM_COLORS, layer_facts

MODES: tuple[str, ...] = ("lit", "unlit", "textureless")
LABEL_CELL = 16  # pixels a side of the cells that labels are counted in
CELL_REGIONS: tuple[str, ...] = (
    "face", "scalp", "ears", "eyes", "mouth", "neck", "chest", "belly", "hips", "upper_arm", "forearm", "hand", "thigh",
    "shin", "foot",
)  # fmt: skip


@dataclass(frozen=True)
class DrawnView:
    """One view without its background; lay it over one by `color + (1 - cover) * background`."""

    color: np.ndarray  # (size, size, 3) float32, premultiplied by the cover
    cover: np.ndarray  # (size, size) float32, how much of each pixel the body covers
    cells: np.ndarray  # (C, sum(CELL_SIZES)) float32 shares of each label in each cell, row by row


CELL_SIZES: tuple[int, int, int] = (len(CELL_REGIONS) + 1, len(CATEGORIES) + 1, NUM_COLORS + 1)
"""How many labels a cell has: body regions, categories and colours, each with the background last."""


def draw_background(size: int, rng: np.random.Generator, *, plain: bool = False) -> np.ndarray:
    """Return one background (size, size, 3) float32: white, noise, blurred chessboard, black, gray or a colour.

    plain: neither noise nor chessboard.
    """
    kinds = ["white", "noise", "chess", "black", "gray", "color"]
    kind = rng.choice(kinds, p=[0.5, 0.0, 0.0, 0.2, 0.12, 0.18] if plain else [0.36, 0.12, 0.18, 0.14, 0.08, 0.12])
    if kind == "white":
        return np.ones((size, size, 3), np.float32)
    if kind == "black":
        return np.zeros((size, size, 3), np.float32)
    if kind == "gray":
        return np.full((size, size, 3), rng.uniform(0.2, 0.9), np.float32)
    if kind == "color":
        return np.broadcast_to(rng.uniform(0, 1, 3).astype(np.float32), (size, size, 3)).copy()
    if kind == "noise":
        coarse = int(rng.choice([1, 2, 4]))
        noise = rng.normal(0.5, rng.uniform(0.1, 0.3), (-(-size // coarse), -(-size // coarse), 3))
        return np.clip(noise.repeat(coarse, 0).repeat(coarse, 1)[:size, :size], 0, 1).astype(np.float32)
    cell = rng.uniform(0.06, 0.25) * size
    offset = rng.uniform(0, size, 2)
    softness = rng.uniform(1.0, 6.0)
    grid = np.arange(size)
    wave = [np.tanh(softness * np.sin(np.pi * (grid + shift) / cell)) for shift in offset]
    blend = (0.5 + 0.5 * wave[0][:, None] * wave[1][None, :])[..., None]
    first, second = rng.uniform(0, 1, 3), rng.uniform(0, 1, 3)
    if rng.random() < 0.6:
        first, second = np.full(3, rng.uniform(0.5, 1.0)), np.full(3, rng.uniform(0.0, 0.6))
    return (blend * first + (1 - blend) * second).astype(np.float32)


def texture_noise(position: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return colour noise (N, 3) over positions (N, 3): blotches and grain, as half-optimised textures have."""
    strength = rng.uniform(0.02, 0.16)
    total = np.zeros_like(position)
    for _ in range(3):
        wave = rng.normal(0, 1, 3) * rng.choice([6.0, 20.0, 60.0, 200.0])
        total += np.sin(position @ wave + rng.uniform(0, 6.28))[:, None] * rng.normal(0, 1, 3)
    if rng.random() < 0.5:
        total += rng.normal(0, 1.0, position.shape)
    return (strength * total).astype(np.float32)


class ViewRenderer:
    """Draws the views of geometry shards with looks.

    Args:
        painter: paints the points that a view shows.
        image_size: pixels a side of the result.
        supersample: samples a side of each pixel in the shards.
    """

    def __init__(self, painter: Painter, image_size: int, supersample: int) -> None:
        self._painter, self._size, self._super = painter, image_size, supersample
        names = [name.removeprefix("left_").removeprefix("right_") for name in painter.chart.region_names]
        self._region_label = np.asarray([CELL_REGIONS.index(name) for name in names])

    def render(self, shard: GeometryShard, view: int, look: Look, mode: str, rng: np.random.Generator) -> DrawnView:
        """Draw a shard's view in one of MODES; a textureless view has no labels of categories and colours."""
        span = slice(int(shard.offset[view]), int(shard.offset[view + 1]))
        face = shard.face[span].astype(np.int64)
        weights = shard.bary[span].astype(np.float32) / 255.0
        bary = np.column_stack([weights, 1.0 - weights.sum(1)])
        chart = self._painter.chart
        points = chart.at(face, bary)
        corner_normals = shard.normals[shard.pose[view]][chart.faces[face]].astype(np.float32)
        normals = np.einsum("nc,nck->nk", bary, corner_normals)
        normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-6
        painted = None
        if mode == "textureless":
            tone = rng.uniform(0.6, 1.0) if rng.random() < 0.85 else rng.uniform(0.5, 1.0, 3)
            albedo, shine = np.ones_like(normals) * tone, np.zeros(len(face), np.float32)
        else:
            painted = self._painter.paint(points, look, rng)
            albedo, shine = painted.albedo, painted.shine
            if rng.random() < 0.35:
                albedo = np.clip(albedo + texture_noise(points.position, rng), 0, 1)
        color = albedo if mode == "unlit" else _light(albedo, shine, normals, shard.toward_eye[view], rng)
        pixel = shard.pixel[span].astype(np.int64)
        summed, cover = self._average(pixel, color)
        return DrawnView(summed, cover, self._label_cells(pixel, points, painted, look))

    def _average(self, pixel: np.ndarray, color: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Average samples over their pixels."""
        row, column = np.divmod(pixel, self._size * self._super)
        cell = (row // self._super) * self._size + column // self._super
        count, share = self._size**2, 1.0 / self._super**2
        summed = np.stack([np.bincount(cell, color[:, c], count) for c in range(3)], 1) * share
        cover = np.bincount(cell, minlength=count) * share
        shape = (self._size, self._size)
        return summed.reshape(*shape, 3).clip(0, 1).astype(np.float32), cover.reshape(shape).astype(np.float32)

    def _label_cells(self, pixel: np.ndarray, points: SurfacePoints, painted: Painted | None, look: Look) -> np.ndarray:
        wide, side = self._size * self._super, LABEL_CELL * self._super
        row, column = np.divmod(pixel, wide)
        cell, count = (row // side) * (wide // side) + column // side, (wide // side) ** 2
        regions, categories, colors = CELL_SIZES
        empty = 1 - np.bincount(cell, minlength=count) / side**2

        def share(label: np.ndarray, size: int) -> np.ndarray:
            found = np.bincount(cell * size + label, minlength=count * size).reshape(count, size) / side**2
            found[:, -1] = empty
            return found

        parts = [share(self._region_label[points.region], regions)]
        if painted is None:
            parts.append(np.zeros((count, categories + colors)))
        else:
            parts += [share(painted.category, categories), share(_color_labels(painted, look), colors)]
        return np.concatenate(parts, 1).astype(np.float32)


def _color_labels(painted: Painted, look: Look) -> np.ndarray:
    """Return the colour value (N,) of each painted point, as `Scene.facts` counts them."""
    table = np.zeros((len(CATEGORIES), 2), np.int64)
    for layer in look.layers:
        own = layer_facts(layer)[1]
        table[CATEGORY_INDEX[layer.kind.category]] = own, own if layer.second is None else layer.second.base
    return table[painted.category, painted.second.astype(np.int64)]


def _light(
    albedo: np.ndarray, shine: np.ndarray, normals: np.ndarray, toward_eye: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Shade albedo (N, 3) by a light near the camera, sometimes farther round, with highlights where it shines."""
    spread = 0.35 if rng.random() < 0.8 else 0.7
    light = toward_eye + rng.normal(0, spread, 3)
    light = light / (np.linalg.norm(light) + 1e-6)
    ambient = rng.uniform(0.1, 0.3) if rng.random() < 0.6 else rng.uniform(0.3, 0.7)
    diffuse = rng.uniform(0.75, 1.05) - 0.6 * ambient
    facing = np.clip(normals @ light, 0, None)
    half = light + toward_eye
    half = half / (np.linalg.norm(half) + 1e-6)
    highlight = shine * np.clip(normals @ half, 0, None) ** 20
    return np.clip(albedo * (ambient + diffuse * facing)[:, None] + highlight[:, None], 0, 1)
