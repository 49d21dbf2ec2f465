"""Which face each pixel sees: rays cast through Warp's bounding volume hierarchy, on CPU and CUDA alike."""

# mypy: disable-error-code="valid-type"
# Annotations of Warp kernels are values that Warp reads, not Python types.

from dataclasses import dataclass

import torch
import warp as wp
from torch import Tensor

from avatar_core.errors import BodyError
from avatar_core.rendering.cameras import Cameras
from avatar_core.rendering.silhouettes import Crossings, find_candidates, keep_visible
from avatar_core.rendering.topology import mesh_topology
from avatar_core.rendering.warp_runtime import Rows, launch, torch_stream


@wp.kernel(enable_backward=False)
def _cast_rays(
    mesh: wp.uint64,
    origins: wp.array(dtype=wp.vec3),
    directions: wp.array(dtype=wp.vec3),
    max_distance: float,
    face: wp.array(dtype=wp.int64),
    bary: wp.array(dtype=wp.vec3),
    distance: wp.array(dtype=float),
):
    i = wp.tid()
    hit = wp.mesh_query_ray(mesh, origins[i], directions[i], max_distance)
    if hit.result:
        face[i] = wp.int64(hit.face)
        bary[i] = wp.vec3(hit.u, hit.v, 1.0 - hit.u - hit.v)
        distance[i] = hit.t
    else:
        face[i] = wp.int64(-1)
        bary[i] = wp.vec3(0.0, 0.0, 0.0)
        distance[i] = 0.0


@dataclass(frozen=True, eq=False)
class Raster:
    """What each pixel sees first; carries no gradients."""

    face: Tensor
    """(B, H, W) int64 index of the visible face, -1 where the ray hits nothing."""
    bary: Tensor
    """(B, H, W, 3) float32 barycentric weights of the face's three corners, 0 where nothing is hit."""
    depth: Tensor
    """(B, H, W) float32 distance from the eye along the ray in metres, 0 where nothing is hit."""
    crossings: Crossings | None = None
    """Where visible silhouettes pass between pixels, if asked for."""


def check_mesh(vertices: Tensor, faces: Tensor) -> None:
    """Raise ValueError for shapes or indices that are no mesh, BodyError for vertices that are not finite."""
    if vertices.ndim not in (2, 3) or vertices.shape[-1] != 3 or vertices.shape[-2] == 0:
        raise ValueError(f"vertices have shape {tuple(vertices.shape)}, expected (V, 3) or (B, V, 3)")
    if faces.ndim != 2 or faces.shape[1] != 3 or faces.shape[0] == 0:
        raise ValueError(f"faces have shape {tuple(faces.shape)}, expected (F, 3) with at least one face")
    if faces.is_floating_point():
        raise ValueError(f"faces are indices, got {faces.dtype}")
    low, high = faces.aminmax()
    if int(low) < 0 or int(high) >= vertices.shape[-2]:
        raise ValueError(f"faces name vertices {int(low)}..{int(high)}, the mesh has {vertices.shape[-2]}")
    check_finite(vertices)


def check_finite(vertices: Tensor) -> None:
    """Raise BodyError where a vertex is not finite."""
    if not bool(torch.isfinite(vertices).all()):
        bad = int((~torch.isfinite(vertices).all(-1)).sum())
        raise BodyError(
            f"{bad} vertices of the mesh are not finite and cannot be rendered; "
            "check the body's shape and pose, or lower the learning rate that moved them"
        )


class MeshRays:
    """A triangle mesh in a bounding volume hierarchy for ray queries; its vertices may move.

    Args:
        vertices: (V, 3) world space, metres; copied as float32, on the device that answers the queries.
        faces: (F, 3) vertex indices.
    Raises:
        ValueError: shapes or indices that are no mesh.
        BodyError: vertices that are not finite.
    """

    def __init__(self, vertices: Tensor, faces: Tensor) -> None:
        check_mesh(vertices, faces)
        if vertices.ndim != 2:
            raise ValueError(f"MeshRays holds one vertex set (V, 3), got {tuple(vertices.shape)}")
        self.device = vertices.device
        self.faces = faces
        self._points = vertices.detach().to(torch.float32).clone(memory_format=torch.contiguous_format)
        self._indices = faces.detach().to(self.device, torch.int32).reshape(-1).contiguous()
        with torch_stream(self.device):
            self._mesh = wp.Mesh(
                points=wp.from_torch(self._points, dtype=wp.vec3), indices=wp.from_torch(self._indices)
            )

    @property
    def mesh_id(self) -> int:
        """What kernels ask the mesh by, as long as this object lives."""
        return self._mesh.id

    def refit(self, vertices: Tensor) -> None:
        """Move the mesh to new vertices (V, 3); far cheaper than a new MeshRays and as exact."""
        if vertices.shape != self._points.shape:
            raise ValueError(
                f"vertices have shape {tuple(vertices.shape)}, expected {tuple(self._points.shape)}"
            )
        check_finite(vertices)
        self._points.copy_(vertices.detach())
        with torch_stream(self.device):
            self._mesh.refit()

    @torch.no_grad()
    def cast(
        self, origins: Tensor, directions: Tensor, max_distance: float = 1e6
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the first hit of each ray, from either side of a face.

        Args:
            origins: (..., 3) world space, metres.
            directions: (..., 3) unit vectors.
            max_distance: hits farther away are misses, metres.
        Returns:
            face (...) int64, barycentric weights (..., 3) and distance (...), both float32; -1, 0 and 0 for a
            miss.
        """
        shape = directions.shape[:-1]
        starts = self._rays(origins.expand(*shape, 3))
        ways = self._rays(directions)
        count = ways.shape[0]
        face = torch.empty(count, dtype=torch.int64, device=self.device)
        bary = torch.empty(count, 3, dtype=torch.float32, device=self.device)
        distance = torch.empty(count, dtype=torch.float32, device=self.device)
        inputs = [
            self.mesh_id,
            Rows(starts, wp.vec3),
            Rows(ways, wp.vec3),
            float(max_distance),
            Rows(face),
            Rows(bary, wp.vec3),
            Rows(distance),
        ]
        launch(_cast_rays, count, inputs, on=ways)
        return face.reshape(shape), bary.reshape(*shape, 3), distance.reshape(shape)

    def rasterize(self, cameras: Cameras, *, silhouettes: bool = False) -> Raster:
        """Return what every camera sees of the mesh as it is now, all views in one launch.

        Args:
            cameras: B cameras on the mesh's device.
            silhouettes: also find where silhouettes pass between pixels, for antialiasing.
        """
        return _rasterize(self, self._points, cameras, silhouettes)

    def _rays(self, values: Tensor) -> Tensor:
        return values.detach().to(self.device, torch.float32).reshape(-1, 3).contiguous()


def rasterize(vertices: Tensor, faces: Tensor, cameras: Cameras, *, silhouettes: bool = False) -> Raster:
    """Return what each camera sees of a mesh.

    Args:
        vertices: (V, 3) one mesh for all cameras, or (B, V, 3) one vertex set a camera; world space, metres.
        faces: (F, 3) vertex indices.
        cameras: B cameras on the same device.
        silhouettes: also find where silhouettes pass between pixels, for antialiasing.
    Raises:
        ValueError: shapes that do not fit.
        BodyError: vertices that are not finite.
    """
    check_mesh(vertices, faces)
    if vertices.ndim == 2:
        return MeshRays(vertices, faces).rasterize(cameras, silhouettes=silhouettes)
    return rasterize_sets(MeshRays(vertices[0], faces), vertices, cameras, silhouettes=silhouettes)


def rasterize_sets(
    rays: MeshRays, vertices: Tensor, cameras: Cameras, *, silhouettes: bool = False
) -> Raster:
    """Return what camera b sees of vertex set b (B, V, 3), refitting `rays` to each in turn."""
    if vertices.shape[0] != len(cameras):
        raise ValueError(f"{vertices.shape[0]} vertex sets for {len(cameras)} cameras")
    return _rasterize(rays, vertices, cameras, silhouettes)


@torch.no_grad()
def _rasterize(rays: MeshRays, vertices: Tensor, cameras: Cameras, silhouettes: bool) -> Raster:
    """Cast the rays of all pixels and of all silhouette candidates, each view's in one launch."""
    cameras = cameras.to(dtype=torch.float32)
    vertices = vertices.detach().to(torch.float32)
    origins, directions = cameras.rays()
    shape = directions.shape[:-1]
    count = len(cameras)
    ways = directions.reshape(count, -1, 3)
    candidates = None
    if silhouettes:
        candidates = find_candidates(vertices, rays.faces, mesh_topology(rays.faces), cameras)
        extra = torch.bincount(candidates.view, minlength=count).tolist()
        extra_ways = candidates.direction.split(extra)
    hits = []
    if vertices.ndim == 2:
        starts, aims = origins.reshape(-1, 3), ways.reshape(-1, 3)
        if candidates is not None:
            starts = torch.cat([starts, cameras.eye[candidates.view]])
            aims = torch.cat([aims, candidates.direction])
        hits.append(rays.cast(starts, aims))
    else:
        for index in range(count):
            rays.refit(vertices[index])
            aims = ways[index] if candidates is None else torch.cat([ways[index], extra_ways[index]])
            hits.append(rays.cast(cameras.eye[index], aims))
    pixels = shape.numel() // len(hits)
    face, bary, depth = (torch.cat([part[:pixels] for part in parts]) for parts in zip(*hits, strict=True))
    depth = depth.reshape(shape)
    crossings = None
    if candidates is not None:
        crossings = keep_visible(candidates, depth, torch.cat([distance[pixels:] for _, _, distance in hits]))
    return Raster(face=face.reshape(shape), bary=bary.reshape(*shape, 3), depth=depth, crossings=crossings)
