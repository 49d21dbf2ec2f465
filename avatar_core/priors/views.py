"""Images of texture-less grey bodies, by which codebooks and motions are judged."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from avatar_core.bodies import BodyModel, ShapedBody
from avatar_core.rendering.backends import DEFAULT_RENDERER, MeshRenderer, RendererName, mesh_renderer
from avatar_core.rendering.cameras import Cameras, orbit_cameras
from avatar_core.rendering.lights import Lights
from avatar_core.transfers import sent

GREY = 0.8
FIELD_OF_VIEW = 0.7
STANDARD_DISTANCE, STANDARD_HEIGHT = 3.0, 0.95
FILL = 0.88
"""Share of the image that a framed body spans."""


class GreyViews:
    """Renders bodies of one model in plain grey on white, lit from near the camera; for one thread at a time."""

    def __init__(
        self,
        body: BodyModel,
        size: int,
        supersample: int = 2,
        gradient_supersample: int = 1,
        renderer: RendererName = DEFAULT_RENDERER,
    ) -> None:
        """Take the views' sizes, and who draws them.

        size: pixels a side of the images.
        supersample: samples a side of each pixel.
        gradient_supersample: the same where vertices have gradients: one is quick; two or more make small steps of
            the vertices change small images smoothly, so that their gradients can be trusted.
        renderer: the backend; raises ConfigError where it is not installed.
        """
        self.body, self.size = body, size
        self._supersample, self._gradient_supersample = supersample, gradient_supersample
        self._renderer: MeshRenderer = mesh_renderer(renderer, body.faces)

    def standard(self, vertices: Tensor, azimuths: Sequence[float]) -> Tensor:
        """Images (len(azimuths), 3, H, W) from one distance for every body, so that a tall one looks tall.

        vertices: (V, 3) standing on y = 0, metres; azimuths: radians, 0 in front.
        """
        target = vertices.new_tensor([0.0, STANDARD_HEIGHT, 0.0])
        cameras = orbit_cameras(
            vertices.new_tensor(azimuths), 0.0, STANDARD_DISTANCE, target, FIELD_OF_VIEW, self.size
        )
        return self.render(vertices, cameras)

    def framed(self, vertices: Tensor, azimuths: Sequence[float]) -> Tensor:
        """Images (len(azimuths), 3, H, W) in which the body (V, 3), wherever it is, fills the frame."""
        return self.render(vertices, self._framing(vertices[None], torch.tensor([list(azimuths)])))

    def framed_sets(self, vertices: Tensor, azimuths: Tensor) -> Tensor:
        """Images (N, A, 3, H, W) in which each body (N, V, 3), wherever it is, fills the frame: `framed`, all at once.

        azimuths: (N, A) radians, of each body's views.
        """
        cameras = self._framing(vertices, azimuths)
        every = vertices.repeat_interleave(azimuths.shape[1], dim=0)
        return self.render(every, cameras).unflatten(0, azimuths.shape)

    def _framing(self, vertices: Tensor, azimuths: Tensor) -> Cameras:
        """Cameras (N A) about the middles of bodies (N, V, 3), slightly from above, at azimuths (N, A)."""
        points = vertices.detach()
        low, high = points.amin(1), points.amax(1)
        extent = (high - low).amax(1)
        distance = 0.5 * extent / (FILL * math.tan(FIELD_OF_VIEW / 2)) + 0.1 * extent
        views = azimuths.shape[1]
        return orbit_cameras(
            sent(azimuths.reshape(-1), points.device),
            0.12,
            distance.repeat_interleave(views),
            ((low + high) / 2).repeat_interleave(views, dim=0),
            FIELD_OF_VIEW,
            self.size,
        )

    def render(self, vertices: Tensor, cameras: Cameras) -> Tensor:
        """Images (B, 3, H, W) of one body (V, 3), or of one (B, V, 3) a camera, differentiable in vertices."""
        return self._renderer.render(
            vertices,
            cameras,
            lights=camera_lights(cameras),
            colors=vertices.new_full((vertices.shape[-2], 3), GREY),
            supersample=self._gradient_supersample if vertices.requires_grad else self._supersample,
        ).image


def camera_lights(cameras: Cameras) -> Lights:
    """A light a little above and to the left of each camera."""
    right, up, forward = cameras.axes().unbind(1)
    direction = torch.nn.functional.normalize(-forward - 0.25 * right + 0.35 * up, dim=-1)
    level = torch.full_like(cameras.fov_y, 0.2)
    return Lights(direction=direction, ambient=level, diffuse=1 - level)


def pose_body(body: BodyModel, shaped: ShapedBody, rotations: Tensor) -> Tensor:
    """Vertices (B, V, 3) of a body in poses (B, 22, 3, 3), each standing on y = 0 at x = z = 0."""
    vertices = body.pose(shaped, rotations).vertices
    base = torch.stack([vertices[..., 0].mean(1), vertices[..., 1].amin(1), vertices[..., 2].mean(1)], dim=-1)
    return vertices - base[:, None]
