"""Images of texture-less grey bodies, by which codebooks and motions are judged."""

from collections.abc import Sequence

import torch
from torch import Tensor

from avatar_core.bodies import BodyModel, ShapedBody
from avatar_core.rendering.backends import DEFAULT_RENDERER, MeshRenderer, RendererName, mesh_renderer
from avatar_core.rendering.cameras import Cameras, cat_cameras, orbit_cameras
from avatar_core.rendering.lights import Lights

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
        return self.render(vertices, self.framing(vertices, azimuths))

    def framing(self, vertices: Tensor, azimuths: Sequence[float]) -> Cameras:
        """Cameras about the middle of `vertices` (V, 3), slightly from above."""
        points = vertices.detach()
        low, high = points.amin(0), points.amax(0)
        extent = (high - low).max()
        distance = 0.5 * extent / (FILL * torch.tan(torch.tensor(FIELD_OF_VIEW / 2))) + 0.1 * extent
        return cat_cameras(
            [
                orbit_cameras(azimuth, 0.12, float(distance), (low + high) / 2, FIELD_OF_VIEW, self.size)
                for azimuth in azimuths
            ]
        )

    def render(self, vertices: Tensor, cameras: Cameras) -> Tensor:
        """Images (B, 3, H, W) of one body (V, 3), differentiable in its vertices."""
        return self._renderer.render(
            vertices,
            cameras,
            lights=camera_lights(cameras),
            colors=vertices.new_full((len(vertices), 3), GREY),
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
