"""Seconds and triangles of the step from a field to a textured mesh, by the size of its cells."""

from __future__ import annotations

from typing import Any

import torch

from avatar_core.export import mesh
from avatar_core.stages import export
from avatar_core.stages.motion import Motion

from .figures import Figure
from .part_timer import OTHER, PartTimer, Probe
from .workbench import Say, Workbench

FACTORS = (4.0, 2.0, 1.4, 1.0, 0.7)
"""Cells that are measured, in cells of the preset."""
PARTS = ("distances on the grid", "marching cubes", "decimation", "unwrapping", "baking")
STANDING_HEIGHT = 0.92
"""Of the pelvis, metres, as motions have it."""


def measure(bench: Workbench, factors: tuple[float, ...], say: Say) -> list[Figure]:
    """Return seconds by part, triangles and asked points of an extraction with cells of each size.

    The field is the dressed one before its first gradient step; the rest of the preset's settings are kept.
    """
    textured = bench.texturing().result()
    figures: list[Figure] = []
    for index, factor in enumerate(factors):
        voxel = round(factor * bench.preset.export.voxel, 6)
        config = export.Config.model_validate(bench.preset.export.model_dump() | {"voxel": voxel})
        say(index, len(factors), f"cells of {1e3 * voxel:g} mm")
        figures += _extract(bench, textured, config)
    return figures


def _extract(bench: Workbench, textured: export.TexturedAvatar, config: export.Config) -> list[Figure]:
    timer = PartTimer(bench.clock)
    counts: dict[str, int] = {}

    def see_grid(arguments: tuple[Any, ...], grid: Any) -> None:
        counts["distances asked"] = grid.evaluations

    def see_cubes(arguments: tuple[Any, ...], cubes: Any) -> None:
        counts["triangles of marching cubes"] = len(cubes[1])

    probes = (
        Probe(export, "extract_mesh", "rest of the extraction"),
        Probe(mesh, "distance_grid", PARTS[0], seen=see_grid),
        Probe(mesh.mcubes, "marching_cubes", PARTS[1], seen=see_cubes),
        Probe(mesh, "decimate", PARTS[2]),
        Probe(mesh, "unwrap", PARTS[3]),
        Probe(mesh, "bake", PARTS[4]),
    )
    with timer.probing(*probes), timer.span(OTHER):
        avatar = export.build_avatar(textured, textured.surface(bench.context.body), _standing(), config, bench.context)
    counts["triangles of the mesh"] = len(avatar.mesh.faces)
    seconds = {part: value for (part, _), value in timer.take().items() if part != OTHER}

    def figure(name: str, value: float, unit: str) -> Figure:
        return Figure("extraction", name, value, unit, f"{1e3 * config.voxel:g} mm")

    parts = [figure(name, seconds[name], "s") for name in (*PARTS, "rest of the extraction")]
    units = {"distances asked": "points"}
    counted = [figure(name, count, units.get(name, "triangles")) for name, count in counts.items()]
    return [figure("total", sum(seconds.values()), "s"), *parts, *counted]


def _standing() -> Motion:
    """Return a motion of two frames that stands still: what is extracted does not depend on it."""
    translation = torch.tensor([[0.0, STANDING_HEIGHT, 0.0]]).repeat(2, 1)
    return Motion(
        poses=torch.zeros(2, 22, 3),
        translation=translation,
        standing=torch.zeros(2, 2, dtype=torch.bool),
        score_before=0.0,
        score=0.0,
        starts=(),
        history=[],
    )
