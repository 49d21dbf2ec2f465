"""Preview sheet, turntable and motion film of a finished avatar, in one studio."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from avatar_core.bodies.skeleton import JOINT_INDEX
from avatar_core.export.mesh import TriangleMesh
from avatar_core.export.sheet import Panel, compose_sheet
from avatar_core.export.studio import (
    LightProbes,
    Paint,
    arriving_light,
    backdrop,
    floor_shade,
    framing_distance,
    gathered_light,
    photograph,
    place_probes,
    sphere_directions,
)
from avatar_core.export.video import write_video
from avatar_core.export.webp import AnimatedWebp
from avatar_core.rendering.cameras import Cameras, orbit_cameras
from avatar_core.rendering.rasterizer import MeshRays
from avatar_core.rigging.clip import Clip
from avatar_core.rigging.skinning import Skin, normals_posed

VIEWS = (("front", 0.0), ("three-quarter", 40.0), ("side", 90.0), ("back", 180.0))
FACE_AZIMUTH = 12.0
MOTION_AZIMUTH = 30.0
ELEVATION = 7.0
FOV = math.radians(24.0)
"""A portrait lens: little perspective."""
MARGIN = 0.05
PROBE_SPACING, FILM_PROBE_SPACING = 0.018, 0.035
"""Light is measured about this densely over the avatar, metres."""
FLOOR_CELLS = 44


class MediaConfig(BaseModel):
    """Sizes and sampling of the pictures."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    panel_height: int = Field(480, ge=64, le=2160)
    """Height of a panel of the preview sheet, pixels."""
    panel_width: int = Field(304, ge=64, le=2160)
    """Width of a panel of the preview sheet, pixels."""
    supersample: int = Field(2, ge=1, le=4)
    """Samples a side of each pixel of the sheet."""
    key_frames: int = Field(5, ge=0, le=12)
    """Motion frames in the sheet's second row; 0 leaves the row out."""
    video_height: int = Field(512, ge=64, le=2160, multiple_of=2)
    """Height of the films, pixels."""
    video_width: int = Field(384, ge=64, le=3840, multiple_of=2)
    """Width of turntable and motion, pixels; the film of the texturing keeps the shape of its own pictures."""
    video_supersample: int = Field(1, ge=1, le=4)
    """Samples a side of each pixel of the films; silhouettes are antialiased in any case."""
    turntable_frames: int = Field(48, ge=2, le=720)
    """Frames of one turn."""
    turntable_fps: int = Field(24, ge=1, le=120)
    """Frames a second of the turntable."""
    webp_height: int = Field(256, ge=32, le=2160)
    """Height of the motion as an animated WebP, pixels, at most the film's; it has the film's shape."""
    webp_fps: int = Field(15, ge=1, le=60)
    """Frames a second of the WebP, at most the clip's."""
    webp_quality: int = Field(70, ge=1, le=100)
    """Of the WebP's pictures, from small files to fine pictures."""
    curves_height: int = Field(760, ge=300, le=4320)
    """Height of the picture of the learning curves, pixels, without its notes."""
    curves_width: int = Field(1280, ge=480, le=7680)
    """Width of the picture of the learning curves, pixels."""
    light_samples: int = Field(96, ge=8, le=2048)
    """Directions from which light is gathered in the sheet."""
    video_light_samples: int = Field(32, ge=8, le=2048)
    """Directions from which light is gathered in the films."""


@dataclass(frozen=True)
class Figure:
    """A mesh ready to be photographed."""

    vertices: Tensor  # (V, 3)
    normals: Tensor  # (V, 3)
    faces: Tensor  # (F, 3) int64
    paint: Paint
    rays: MeshRays
    probes: LightProbes

    @classmethod
    def of(cls, mesh: TriangleMesh, device: torch.device, spacing: float) -> Figure:
        """Put a mesh on a device, with a light probe about every `spacing` metres."""
        vertices = torch.from_numpy(mesh.vertices).to(device)
        faces = torch.from_numpy(mesh.faces.astype(np.int64)).to(device)
        normals = torch.from_numpy(mesh.normals).to(device)
        probes = place_probes(vertices, normals, spacing)
        return cls(vertices, normals, faces, Paint.of(mesh.texture, device), MeshRays(vertices, faces), probes)

    def moved(self, vertices: NDArray[np.floating], normals: NDArray[np.floating]) -> Figure:
        """Return the figure in another pose."""
        device = self.vertices.device
        placed = torch.from_numpy(np.asarray(vertices, np.float32)).to(device)
        turned = torch.from_numpy(np.asarray(normals, np.float32)).to(device)
        return replace(self, vertices=placed, normals=turned, rays=MeshRays(placed, self.faces))

    def light(self, directions: Tensor) -> Tensor:
        """Light (V, D) that reaches each vertex from each direction (D, 3)."""
        return gathered_light(self.rays, self.probes, self.vertices, self.normals, directions)


def bind_views(mesh: TriangleMesh, skin: Skin, config: MediaConfig, device: torch.device) -> list[Panel]:
    """Photograph front, three-quarter, side and back, and the face close up."""
    figure = Figure.of(mesh, device, PROBE_SPACING)
    directions = sphere_directions(config.light_samples, device)
    gathered = figure.light(directions)
    size = (config.panel_height, config.panel_width)
    azimuths = torch.tensor([math.radians(angle) for _, angle in VIEWS], device=device)
    middle = _middle(figure.vertices)
    elevation = math.radians(ELEVATION)
    distance = framing_distance(figure.vertices, middle, azimuths, elevation, FOV, size, MARGIN)
    cameras = orbit_cameras(azimuths, elevation, distance, middle, FOV, size)
    head = head_points(mesh, skin, device)
    turn = torch.tensor([math.radians(FACE_AZIMUTH)], device=device)
    near = framing_distance(head, _middle(head), turn, 0.0, FOV, size, 0.06)
    close_up = orbit_cameras(turn, 0.0, near, _middle(head), FOV, size)
    labels = [name for name, _ in VIEWS] + ["face"]
    images = [
        _still(figure, gathered, directions, camera, config.supersample)
        for camera in [*(cameras[index] for index in range(len(VIEWS))), close_up]
    ]
    return [Panel(image, label) for image, label in zip(images, labels)]


def motion_panels(
    mesh: TriangleMesh, skin: Skin, clip: Clip, config: MediaConfig, device: torch.device
) -> list[Panel]:
    """Photograph `key_frames` moments of the clip, evenly spread."""
    count = min(config.key_frames, len(clip))
    frames = [int((index + 0.5) * len(clip) / count) for index in range(count)]
    size = (config.panel_height, config.panel_width)
    shots = film(mesh, skin, clip, frames, size, config.supersample, config.light_samples, device)
    return [Panel(image, f"{frame / clip.fps:.1f} s") for frame, image in zip(frames, shots)]


def write_preview(
    path: Path,
    mesh: TriangleMesh,
    skin: Skin,
    clip: Clip,
    captions: Sequence[tuple[str, str]],
    config: MediaConfig,
    device: torch.device,
) -> None:
    """Write the preview sheet: four views and the face, moments of the motion, the prompts."""
    rows = [bind_views(mesh, skin, config, device)]
    if config.key_frames:
        rows.append(motion_panels(mesh, skin, clip, config, device))
    sheet = compose_sheet(rows, captions, text_size=max(12, config.panel_height // 26))
    sheet.save(path, format="PNG", optimize=False)


def write_turntable(
    path: Path, mesh: TriangleMesh, config: MediaConfig, device: torch.device, step: Callable[[int], None]
) -> None:
    """Write one turn of the avatar before fixed lights; `step` is told each finished frame."""
    figure = Figure.of(mesh, device, FILM_PROBE_SPACING)
    directions = sphere_directions(config.video_light_samples, device)
    gathered = figure.light(directions)
    size = (config.video_height, config.video_width)
    turns = torch.arange(config.turntable_frames, device=device) * (2 * math.pi / config.turntable_frames)
    middle, elevation = _middle(figure.vertices), math.radians(ELEVATION)
    distance = framing_distance(figure.vertices, middle, turns, elevation, FOV, size, MARGIN)

    def frames() -> Iterator[NDArray[np.uint8]]:
        for index in range(config.turntable_frames):
            camera = orbit_cameras(turns[index : index + 1], elevation, distance, middle, FOV, size)
            yield _still(figure, gathered, directions, camera, config.video_supersample)
            step(index + 1)

    write_video(path, frames(), size, config.turntable_fps)


def write_motion(
    path: Path,
    mesh: TriangleMesh,
    skin: Skin,
    clip: Clip,
    config: MediaConfig,
    device: torch.device,
    step: Callable[[int], None],
) -> None:
    """Write the clip with a camera that follows the pelvis over a ruled floor; `step` is told each frame.

    The same pictures, fewer and smaller, go into an animated WebP beside it, `path` with the suffix .webp.
    """
    size = (config.video_height, config.video_width)
    loop = AnimatedWebp(clip.fps, config.webp_fps, min(config.webp_height, config.video_height))
    shots = film(mesh, skin, clip, range(len(clip)), size, config.video_supersample, config.video_light_samples, device)

    def frames() -> Iterator[NDArray[np.uint8]]:
        for index, shot in enumerate(shots):
            loop.take(shot)
            yield shot
            step(index + 1)

    write_video(path, frames(), size, clip.fps)
    loop.save(path.with_suffix(".webp"), config.webp_quality)


def film(
    mesh: TriangleMesh,
    skin: Skin,
    clip: Clip,
    frames: Sequence[int],
    size: tuple[int, int],
    supersample: int,
    light_samples: int,
    device: torch.device,
) -> Iterator[NDArray[np.uint8]]:
    """Photograph frames of a clip with one lens and one distance, following the pelvis along the floor."""
    directions = sphere_directions(light_samples, device)
    vertices = np.concatenate(list(clip.posed(mesh.vertices, skin)))
    path = follow(clip.root, clip.fps)
    relative = torch.from_numpy(vertices - path[:, None]).to(device).reshape(-1, 3)
    target = _middle(relative)
    azimuth = torch.tensor([math.radians(MOTION_AZIMUTH)], device=device)
    elevation = math.radians(ELEVATION)
    distance = framing_distance(relative, target, azimuth, elevation, FOV, size, MARGIN)
    figure = Figure.of(mesh, device, FILM_PROBE_SPACING)
    for frame in frames:
        normals = normals_posed(mesh.normals, skin, clip.transforms[frame])
        posed = figure.moved(vertices[frame], normals)
        place = target + torch.from_numpy(path[frame]).to(device)
        camera = orbit_cameras(azimuth, elevation, distance, place, FOV, size)
        yield _still(posed, posed.light(directions), directions, camera, supersample, level=0.0, lines=True)


def follow(root: NDArray[np.floating], fps: int, *, seconds: float = 0.5) -> NDArray[np.float32]:
    """Smooth the pelvis' way (T, 3) over about `seconds`, on the floor (y = 0): where a camera man would aim."""
    radius = max(1, int(seconds * fps / 2))
    kernel = np.hanning(2 * radius + 3)[1:-1]
    padded = np.pad(root.astype(np.float64), ((radius, radius), (0, 0)), mode="edge")
    smooth = np.stack([np.convolve(padded[:, axis], kernel / kernel.sum(), mode="valid") for axis in range(3)], 1)
    smooth[:, 1] = 0.0
    return smooth.astype(np.float32)


def head_points(mesh: TriangleMesh, skin: Skin, device: torch.device) -> Tensor:
    """Return the vertices (N, 3) that mostly follow the head joint; all of them when none does."""
    share = (skin.weights * (skin.joints == JOINT_INDEX["head"])).sum(axis=1)
    chosen = share > 0.5
    return torch.from_numpy(mesh.vertices[chosen] if chosen.any() else mesh.vertices).to(device)


def _still(
    figure: Figure,
    gathered: Tensor,
    directions: Tensor,
    camera: Cameras,
    supersample: int,
    *,
    level: float | None = None,
    lines: bool = False,
) -> NDArray[np.uint8]:
    """One picture (H, W, 3) of a figure by one camera."""
    low, high = figure.vertices.amin(0), figure.vertices.amax(0)
    shade = floor_shade(
        figure.rays,
        camera,
        center=(0.5 * (low + high))[[0, 2]],
        level=float(low[1]) if level is None else level,
        half=0.5 * float((high - low)[[0, 2]].max()) + 0.7,
        cells=FLOOR_CELLS,
        samples=len(directions) // 2,
    )
    background = backdrop(camera, shade, lines=lines)
    light = arriving_light(gathered, directions, camera)
    image = photograph(
        figure.vertices, figure.faces, figure.paint, light, camera, background, figure.rays, supersample
    )[0]
    return (image.permute(1, 2, 0) * 255).round().byte().cpu().numpy()


def _middle(points: Tensor) -> Tensor:
    return 0.5 * (points.amin(0) + points.amax(0))
