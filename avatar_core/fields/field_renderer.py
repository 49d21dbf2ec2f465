"""Views of an avatar's field: NeuS weights in the thin shell, normal and albedo once a ray, deferred shading."""

from dataclasses import dataclass

import torch
from torch import Tensor

from avatar_core.fields.avatar_field import AvatarField
from avatar_core.fields.field_inquiry import Asked, Inquiry
from avatar_core.fields.neus import Composite, composite
from avatar_core.fields.shell import Shell, ShellRays, stratified_depths
from avatar_core.rendering.cameras import Cameras
from avatar_core.rendering.lights import Lights, shade

VISIBLE = 0.02
"""Rays less opaque than this show the background alone and cost neither a normal nor an albedo."""
SLIPPED = 0.1
"""A ray that hits the body and is less opaque than this shows the body at its own hit."""
CLAY = 0.75
"""Albedo of the texture-less render."""


@dataclass(frozen=True, eq=False)
class FieldViews:
    """Rendered views and what the losses ask of their rays."""

    image: Tensor
    """(B, 3, H, W) lit and textured, in [0, 1]."""
    clay: Tensor | None
    """(B, 3, H, W) lit without texture, or None where not asked for."""
    rays: ShellRays
    """The R rays that were sampled."""
    rendered: Composite
    """Weights, opacity and depth of the R rays by NeuS alone (views show rays that hit the body as opaque)."""
    shaded: Tensor
    """(N,) int64 rays whose surface was asked for: those that show it, or all (see `rendering`)."""
    shown: Tensor
    """(N,) float32 1 where such a ray shows the surface, 0 where it shows the background alone."""
    points: Tensor
    """(N, 3) where those rays meet the surface, metres."""
    gradient: Tensor
    """(N, 3) gradient of the distance there (unit length where the field is a distance)."""
    laplacian: Tensor
    """(N,) Laplacian of the learned residual there, per metre."""
    residual: Tensor
    """(N,) learned offset of the distance there, metres."""
    color_change: Tensor
    """(N, 3) learned change of the albedo's logits there."""
    albedo: Tensor
    """(N, 3) albedo there."""


def render_field(
    field: AvatarField,
    shell: Shell,
    cameras: Cameras,
    lights: Lights,
    background: Tensor,
    sharpness: Tensor,
    *,
    intervals: int = 8,
    clay: bool = True,
    generator: torch.Generator | None = None,
    rays: ShellRays | None = None,
    sparse: bool = True,
) -> FieldViews:
    """Render a field; differentiable in its learned parameters and the sharpness. See `rendering`."""
    return field.answer(
        rendering(
            field,
            shell,
            cameras,
            lights,
            background,
            sharpness,
            intervals=intervals,
            clay=clay,
            generator=generator,
            rays=rays,
            sparse=sparse,
        )
    )


def rendering(
    field: AvatarField,
    shell: Shell,
    cameras: Cameras,
    lights: Lights,
    background: Tensor,
    sharpness: Tensor,
    *,
    intervals: int,
    clay: bool,
    generator: torch.Generator | None = None,
    rays: ShellRays | None = None,
    sparse: bool = True,
) -> Inquiry[FieldViews]:
    """Render a field, asking for what it has learned: of the distance at the samples, then of all on the surface.

    Distances are evaluated once a sample; the geometry learns through opacities and normals, the albedo at
    the surface point alone.

    Args:
        field: the avatar, bind pose.
        shell: over the same body, at least as far outward as the field can grow.
        cameras: B views.
        lights: B lights.
        background: (B, 3, H, W) in [0, 1].
        sharpness: NeuS's s, per metre.
        intervals: samples a ray.
        clay: whether to render the texture-less views too.
        generator: moves samples inside their strata, on the field's device; None samples evenly.
        rays: what `shell` was seen to hold through these cameras, where it is known; what is learned does not move
            them. Looked for, through the centres of pixels, if None.
        sparse: whether to leave out rays that turn out to show nothing of the avatar. How many those are has to be
            known, for which a GPU is waited for.
    """
    if rays is None:
        rays = shell.rays(cameras, field.dressed_sdf)
    depths = stratified_depths(rays, intervals, generator)
    samples = (rays.origins[:, None] + depths[:, :, None] * rays.directions[:, None]).reshape(-1, 3)
    learned = yield Asked(residual=samples)
    distances = field.dressed_sdf.distance(samples) + learned.residual
    rendered = composite(distances.reshape(depths.shape), depths, sharpness)
    # Where a ray grazes the body it can slip through the sampled distance; the body still stands behind it.
    opacity = torch.where(rays.on_body, 1.0, rendered.opacity)
    slipped = rays.on_body & (rendered.opacity < SLIPPED)
    depth = torch.where(slipped, rays.body_depth, rendered.depth).detach()
    shows = opacity.detach() > VISIBLE
    points = rays.origins + depth[:, None] * rays.directions
    if sparse:
        shaded = shows.nonzero().squeeze(1)
        points, opacity, pixel, view = (one[shaded] for one in (points, opacity, rays.pixel, rays.view))
        shown = torch.ones_like(opacity)
    else:
        shaded = torch.arange(len(rays), device=opacity.device)
        shown = shows.to(opacity.dtype)
        opacity, pixel, view = torch.where(shows, opacity, 0.0), rays.pixel, rays.view
    around, closest = field.around(points), field.surface.closest(points)
    learned = yield Asked(residual=torch.cat([around, points]), color=points)
    residual_around, residual = learned.residual.split([len(around), len(points)])
    gradient, laplacian = field.gradient_of(residual, residual_around, points, around, closest)
    albedo = field.albedo(learned.color, points, closest)
    normals = torch.nn.functional.normalize(gradient, dim=1)
    light = shade(torch.ones_like(albedo), normals, lights, view)
    paint = _Painter(background, pixel, opacity)
    return FieldViews(
        image=paint(albedo * light),
        clay=paint(CLAY * light) if clay else None,
        rays=rays,
        rendered=rendered,
        shaded=shaded,
        shown=shown,
        points=points,
        gradient=gradient,
        laplacian=laplacian,
        residual=residual,
        color_change=learned.color,
        albedo=albedo,
    )


class _Painter:
    """Lays the colours of some pixels over a background by their opacities."""

    def __init__(self, background: Tensor, pixel: Tensor, opacity: Tensor) -> None:
        self.shape = background.shape
        self.flat = background.permute(0, 2, 3, 1).reshape(-1, 3)
        self.pixel = pixel
        self.opacity = opacity[:, None]

    def __call__(self, colors: Tensor) -> Tensor:
        mixed = torch.lerp(self.flat[self.pixel], colors, self.opacity)
        batch, channels, height, width = self.shape
        image = self.flat.index_copy(0, self.pixel, mixed)
        return image.reshape(batch, height, width, channels).permute(0, 3, 1, 2)
