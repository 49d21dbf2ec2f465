"""Which views texturing looks at: cameras, lights and backgrounds of a step, and the fixed views that are scored."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from avatar_core.bodies.base import BodyModel, ShapedBody
from avatar_core.rendering.backgrounds import random_backgrounds
from avatar_core.rendering.cameras import Cameras, cat_cameras, orbit_cameras
from avatar_core.rendering.lights import Lights, random_camera_lights, studio_lights
from avatar_core.transfers import sent

PROMPT_KINDS: tuple[str, ...] = ("body", "face", "back", "hand")
"""The prompts a view can be compared with, in the order of a view's `prompt` index."""
BEHIND = math.radians(110)
"""A camera farther round than this is compared with the prompt of the back."""
SCORING_FOV, SCORING_ELEVATION = math.radians(40), 0.05
"""Field of view and elevation of fixed views, radians."""
SCORING_PLAN: tuple[tuple[float, str], ...] = (
    (0.0, "body"),
    (0.5, "body"),
    (-math.pi / 2, "body"),
    (math.pi, "back"),
    (0.0, "face"),
    (-0.5, "face"),
)
"""The fixed views that scores are taken from: azimuth in radians, and the prompt that each is compared with."""
HEAD_REGIONS = ("face", "scalp", "ears", "eyes", "mouth", "head")
HANDS = ("left_hand", "right_hand")
LOWER_LEGS = ("left_shin", "right_shin", "left_foot", "right_foot")
KINDS = ("face", "back", "side", "feet", "hand")
"""What a view can be besides one of the front; each has a share in ViewConfig."""
GOLDEN = (math.sqrt(5) - 1) / 2


class ViewConfig(BaseModel):
    """How views of one step are drawn; shares are parts of a step's views, the rest is the front."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    face_share: float = Field(0.2, ge=0, le=1)
    """Close-ups of the head from the front, compared with the prompt of the face."""
    back_share: float = Field(0.2, ge=0, le=1)
    """Views from behind, compared with the prompt of the back."""
    side_share: float = Field(0.15, ge=0, le=1)
    """Views from the left and right."""
    feet_share: float = Field(0.05, ge=0, le=1)
    """Views of the legs below the knees, from any side, compared with the prompt of the body."""
    hand_share: float = Field(0.03, ge=0, le=1)
    """Close-ups of either hand, compared with the prompt of the hand."""
    fill: tuple[float, float] = (0.6, 1.1)
    """Part of the image's height that the body takes, drawn uniformly; above 1 it is cut off."""
    face_fill: tuple[float, float] = (0.5, 0.95)
    """The same of the head, a hand or the feet in close-ups."""
    fov: tuple[float, float] = (math.radians(25), math.radians(55))
    """Vertical field of view, radians, drawn uniformly."""
    azimuth_spread: float = Field(math.pi / 7, ge=0)
    """Standard deviation of the azimuth about the view's own direction, radians."""
    elevation_spread: float = Field(0.15, ge=0)
    """Standard deviation of the elevation, radians."""
    target_spread: float = Field(0.05, ge=0)
    """Standard deviation of the point looked at, as a part of what fills the image."""


@dataclass(frozen=True, eq=False)
class Subject:
    """Where a body and its head are, for framing, and whose it is, for prompts that name clothes alone.

    On the CPU, where views are drawn: each of their many small numbers would make a GPU wait.
    """

    body_centre: Tensor  # (3,) metres
    body_size: float  # metres
    head_centre: Tensor  # (3,) metres
    head_size: float  # metres
    feet_centre: Tensor  # (3,) metres, of the legs below the knees
    feet_size: float  # metres
    hand_centres: tuple[Tensor, Tensor]  # (3,) metres each, left and right
    hand_size: float  # metres
    sex: str | None  # "man" or "woman"; None where the body's shape does not tell
    device: torch.device  # where its views are to be

    @classmethod
    def of(cls, body: BodyModel, shaped: ShapedBody) -> Subject:
        """Measure a shaped body."""
        head, feet = (_box(_part(body, shaped, names)) for names in (HEAD_REGIONS, LOWER_LEGS))
        left, right = (_box(_part(body, shaped, (name,))) for name in HANDS)
        hands = (left[0], right[0])
        size = max(left[1], right[1])
        return cls(*_box(shaped.vertices), *head, *feet, hands, size, body.sex(shaped), shaped.vertices.device)


def _part(body: BodyModel, shaped: ShapedBody, regions: tuple[str, ...]) -> Tensor:
    """Vertices (N, 3) of some regions; all of them where the body labels none of these."""
    meant = [index for index, name in enumerate(body.region_names) if name in regions]
    inside = torch.isin(body.regions, torch.tensor(meant, device=body.regions.device))
    return shaped.vertices[inside] if bool(inside.any()) else shaped.vertices


def _box(points: Tensor) -> tuple[Tensor, float]:
    low, high = points.amin(0).cpu(), points.amax(0).cpu()
    return (low + high) / 2, float((high - low).max())


@dataclass(frozen=True, eq=False)
class Views:
    """B views and the prompt that each is compared with."""

    cameras: Cameras
    lights: Lights
    background: Tensor
    """(B, 3, H, W) in [0, 1]."""
    prompt: Tensor
    """(B,) int64 index into PROMPT_KINDS."""

    def to(self, device: torch.device) -> Views:
        """Return the views on a device, without waiting for it."""
        background, prompt = sent(self.background, device), sent(self.prompt, device)
        return Views(self.cameras.to(device), self.lights.to(device), background, prompt)


def draw_views(
    subject: Subject, config: ViewConfig, count: int, size: int, step: int, generator: torch.Generator
) -> Views:
    """Draw the views of one step.

    Shares are kept over steps, to a view or two: even one view a step visits every kind, and no kind waits long.
    """
    kinds = [_kind(config, step * count + index) for index in range(count)]
    cameras, prompts = [], []
    for kind in kinds:
        azimuth = _azimuth(kind, config, generator)
        centre, extent, fill = _framing(subject, config, kind, generator)
        draws = torch.rand(2, generator=generator).tolist()
        normals = torch.randn(4, generator=generator)
        fov = config.fov[0] + draws[0] * (config.fov[1] - config.fov[0])
        filled = fill[0] + draws[1] * (fill[1] - fill[0])
        elevation = float((normals[0] * config.elevation_spread).clamp(-0.4, 0.4))
        target = centre + normals[1:] * config.target_spread * extent
        cameras.append(_framed(azimuth, elevation, target, extent / filled, fov, size))
        behind = abs((azimuth + math.pi) % (2 * math.pi) - math.pi) > BEHIND
        prompts.append(kind if kind == "hand" else "back" if behind else "face" if kind == "face" else "body")
    batch = cat_cameras(cameras)
    lights = random_camera_lights(generator, batch)
    background = random_backgrounds(generator, count, size, size)
    return Views(batch, lights, background, _indices(prompts)).to(subject.device)


def scoring_views(subject: Subject, size: int) -> Views:
    """Return the fixed views that scores are taken from: four around, one face, under even light on white."""
    batch = _framed_cameras([(kind == "face", azimuth, 0.8) for azimuth, kind in SCORING_PLAN], subject, size)
    background = torch.ones(len(SCORING_PLAN), 3, size, size)
    prompts = _indices([kind for _, kind in SCORING_PLAN])
    return Views(batch, studio_lights(batch), background, prompts).to(subject.device)


def framed_cameras(plan: list[tuple[bool, float, float]], subject: Subject, size: int) -> Cameras:
    """Return one camera for each (whether it looks at the head, azimuth in radians, part of the height filled)."""
    return _framed_cameras(plan, subject, size).to(subject.device)


def _framed_cameras(plan: list[tuple[bool, float, float]], subject: Subject, size: int) -> Cameras:
    cameras = []
    for on_head, azimuth, fill in plan:
        centre = subject.head_centre if on_head else subject.body_centre
        extent = subject.head_size if on_head else subject.body_size
        cameras.append(_framed(azimuth, SCORING_ELEVATION, centre, extent / fill, SCORING_FOV, size))
    return cat_cameras(cameras)


def _indices(prompts: list[str]) -> Tensor:
    return torch.tensor([PROMPT_KINDS.index(prompt) for prompt in prompts])


def _framed(
    azimuth: float, elevation: float, target: Tensor, height: float, fov: float, size: int
) -> Cameras:
    """A camera in whose image `height` metres at the target fill the image from top to bottom."""
    return orbit_cameras([azimuth], [elevation], [0.5 * height / math.tan(fov / 2)], target, [fov], size)


def _kind(config: ViewConfig, view: int) -> str:
    """The kind of the view with this running number.

    Steps by the golden ratio visit any part of [0, 1) as often as it is wide, nearly evenly spread.
    """
    place = (view + 1) * GOLDEN % 1.0
    for kind in KINDS:
        place -= getattr(config, f"{kind}_share")
        if place < 0:
            return kind
    return "front"


def _framing(
    subject: Subject, config: ViewConfig, kind: str, generator: torch.Generator
) -> tuple[Tensor, float, tuple[float, float]]:
    """What a kind of view looks at: centre (3,) and size in metres, and the part of the image that it fills."""
    if kind == "hand":
        side = int(torch.randint(2, (1,), generator=generator))
        return subject.hand_centres[side], subject.hand_size, config.face_fill
    if kind == "face":
        return subject.head_centre, subject.head_size, config.face_fill
    if kind == "feet":
        return subject.feet_centre, subject.feet_size, config.face_fill
    return subject.body_centre, subject.body_size, config.fill


def _azimuth(kind: str, config: ViewConfig, generator: torch.Generator) -> float:
    spread = config.azimuth_spread * float(torch.randn((), generator=generator))
    if kind == "back":
        return math.pi + spread
    if kind in ("feet", "hand"):
        return 2 * math.pi * float(torch.rand((), generator=generator))
    if kind == "side":
        return (math.pi / 2 if float(torch.rand((), generator=generator)) < 0.5 else -math.pi / 2) + spread
    return spread
