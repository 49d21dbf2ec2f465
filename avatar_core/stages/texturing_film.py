"""The film of an optimisation: one fixed view of the avatar, before, dressed, and at regular steps."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from avatar_core.errors import ArtifactError
from avatar_core.export.studio import framing_distance
from avatar_core.fields import AvatarField
from avatar_core.fields.field_renderer import render_field
from avatar_core.fields.shell import Shell, ShellRays
from avatar_core.pictures import open_png
from avatar_core.rendering.cameras import orbit_cameras
from avatar_core.rendering.lights import studio_lights

AZIMUTH, ELEVATION, FOV = math.radians(35.0), math.radians(7.0), math.radians(24.0)
"""A three-quarter view from the front by a portrait lens."""
MARGIN = 0.06
"""Part of the picture left free around the body, for clothes to grow into."""
HEADROOM = 0.2
"""Metres above the body that are in the picture, for hats and hair."""
BACKDROP = 0.9
"""Grey behind the avatar, sRGB."""


class FilmConfig(BaseModel):
    """Length and size of the film."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    frames: int = Field(10, ge=1)
    """Pictures in the course of the steps, evenly spread; the last is of the last step."""
    height: int = Field(320, ge=16, le=1024, multiple_of=2)
    """Height of the pictures, pixels."""
    width: int = Field(240, ge=16, le=1024, multiple_of=2)
    """Width of the pictures, pixels."""

    def due(self, step: int, steps: int) -> bool:
        """Tell whether a picture is taken after step number `step` >= 1 of `steps`."""
        return step * self.frames // steps > (step - 1) * self.frames // steps


@dataclass(frozen=True, eq=False)
class Film:
    """Pictures of one size and what each shows."""

    labels: tuple[str, ...]
    """What each picture shows: the "body", it in its "outfit", or "step" and a number."""
    frames: Tensor
    """(F, H, W, 3) uint8, sRGB."""

    @classmethod
    def empty(cls, config: FilmConfig) -> Film:
        """Return a film without a picture yet."""
        return cls((), torch.zeros(0, config.height, config.width, 3, dtype=torch.uint8))

    def with_frame(self, label: str, frame: Tensor) -> Film:
        """Return the film with one more picture (H, W, 3) uint8."""
        return Film((*self.labels, label), torch.cat([self.frames, frame[None]]))

    def png(self) -> bytes:
        """Return the pictures side by side as a PNG file; raises ValueError where there are none."""
        strip = self.frames.permute(1, 0, 2, 3).reshape(self.frames.shape[1], -1, 3)
        buffer = io.BytesIO()
        Image.fromarray(strip.numpy()).save(buffer, format="PNG")
        return buffer.getvalue()

    @classmethod
    def from_png(cls, content: bytes, labels: Sequence[str]) -> Film:
        """Cut what `png` gave into its pictures; raises ArtifactError where they are not as many as the labels."""
        strip = np.array(open_png(content))
        if not labels or strip.shape[1] % len(labels):
            raise ArtifactError(f"a strip of {strip.shape[1]} pixels is no film of {len(labels)} pictures")
        cut = torch.from_numpy(strip).unflatten(1, (len(labels), -1))
        return cls(tuple(labels), cut.permute(1, 0, 2, 3).contiguous())


class FilmCamera:
    """Takes the same view of an avatar at any time, in the studio's light before a plain backdrop.

    Args:
        vertices: (V, 3) of the bare body in the bind pose, metres, which the view is framed for.
        config: size of the pictures.
        intervals: samples a ray.
    """

    def __init__(self, vertices: Tensor, config: FilmConfig, intervals: int) -> None:
        size = (config.height, config.width)
        top = vertices[vertices[:, 1].argmax()] + vertices.new_tensor([0.0, HEADROOM, 0.0])
        vertices = torch.cat([vertices, top[None]])
        middle = 0.5 * (vertices.amin(0) + vertices.amax(0))
        azimuth = torch.tensor([AZIMUTH], device=vertices.device)
        distance = framing_distance(vertices, middle, azimuth, ELEVATION, FOV, size, MARGIN)
        self._camera = orbit_cameras(azimuth, ELEVATION, distance, middle, FOV, size)
        self._lights = studio_lights(self._camera)
        self._backdrop = torch.full((1, 3, *size), BACKDROP, device=vertices.device)
        self._intervals = intervals
        self._seen: tuple[Shell, ShellRays] | None = None

    @torch.no_grad()
    def shoot(self, field: AvatarField, shell: Shell, sharpness: Tensor) -> Tensor:
        """Return a picture (H, W, 3) uint8, on the CPU; nothing is drawn at random.

        Args:
            field: the avatar.
            shell: of the field; whoever dresses the field anew gives another one, since the camera remembers which
                rays see the avatar in a shell.
            sharpness: NeuS's s, per metre.
        """
        known = self._seen[1] if self._seen is not None and self._seen[0] is shell else None
        views = render_field(
            field,
            shell,
            self._camera,
            self._lights,
            self._backdrop,
            sharpness,
            intervals=self._intervals,
            clay=False,
            rays=known,
        )
        self._seen = shell, views.rays
        image = views.image[0]
        return (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().cpu()
