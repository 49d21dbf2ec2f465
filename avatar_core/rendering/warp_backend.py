"""This project's own renderer behind the interface of backends."""

from torch import Tensor

from avatar_core.rendering.backends import Picture
from avatar_core.rendering.cameras import Cameras
from avatar_core.rendering.lights import Lights
from avatar_core.rendering.mesh_renderer import render_mesh
from avatar_core.rendering.rasterizer import MeshRays


class WarpRenderer:
    """Keeps one ray hierarchy and refits it, so that a view costs little; not for use from several threads at once."""

    def __init__(self, faces: Tensor) -> None:
        """faces: (F, 3) vertex indices, int64."""
        self._faces = faces
        self._rays: MeshRays | None = None

    def render(
        self, vertices: Tensor, cameras: Cameras, *, lights: Lights, colors: Tensor, supersample: int = 1
    ) -> Picture:
        """Return what the cameras show; outlines are blended where vertices have gradients. See MeshRenderer."""
        if self._rays is None:
            first = vertices if vertices.ndim == 2 else vertices[0]
            self._rays = MeshRays(first.detach(), self._faces)
        drawn = render_mesh(
            vertices,
            self._faces,
            cameras,
            lights=lights,
            vertex_colors=colors,
            antialias=vertices.requires_grad,
            supersample=supersample,
            rays=self._rays,
        )
        return Picture(drawn.image, drawn.mask)
