"""The last phase of texturing, on the finished mesh: its baked colours, changed a little until the prompt shows better.

High resolution is cheap here: a view costs a ray a pixel, whatever the texture's size.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from avatar_core.errors import DivergenceError
from avatar_core.export.color_residual import ColorResidual, ResidualConfig, recolored
from avatar_core.export.mesh import TriangleMesh
from avatar_core.export.report import RefinementFacts, StageScore
from avatar_core.export.seams import find_seams, seam_difference
from avatar_core.export.texels import Atlas, spread
from avatar_core.export.texture import Texture
from avatar_core.perception.encoder import Encoder
from avatar_core.perception.prompts import appearance_prompts
from avatar_core.rendering.mesh_renderer import render_mesh
from avatar_core.rendering.rasterizer import MeshRays
from avatar_core.seeds import torch_generator
from avatar_core.stages.export_scores import view_cosines
from avatar_core.stages.texturing_losses import guidance
from avatar_core.stages.texturing_views import PROMPT_KINDS, Subject, ViewConfig, draw_views
from avatar_core.storage.checkpoints import CheckpointStore

log = logging.getLogger(__name__)
BATCH = 262_144
"""Texels recoloured at once."""
MARGIN = 0.01
"""The residual's box reaches this far beyond the mesh, metres."""


class RefineConfig(BaseModel):
    """Effort and restraint of the refinement."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(0, ge=0)
    """Optimisation steps; 0 keeps the baked colours: plain clothes gain next to nothing, rich looks about 0.01."""
    views_per_step: int = Field(6, ge=1)
    """Views rendered in a step."""
    image_size: int = Field(224, ge=16, le=1024)
    """Edge of the views in pixels."""
    views: ViewConfig = ViewConfig()
    """Where views are taken from."""
    residual: ResidualConfig = ResidualConfig()
    """What can be painted."""
    rate: float = Field(0.02, gt=0)
    """Adam's learning rate before cosine decay."""
    change: float = Field(0.05, ge=0)
    """Weight of the squared change of the colours' logits: the baked colours stay unless guidance insists."""
    variation: float = Field(0.05, ge=0)
    """Weight of the change's difference between neighbouring points: total variation on the surface."""
    variation_step: float = Field(0.01, gt=0)
    """Standard deviation of the neighbours' offset, metres."""
    first_levels: int = Field(2, ge=1)
    """Grid levels that learn from the start; finer ones fade in."""
    full_detail_at: float = Field(0.6, gt=0, le=1)
    """Part of the run after which all levels learn."""
    checkpoint_every: int = Field(250, ge=1)
    """Steps between checkpoints; a shorter run takes seconds and is simply repeated."""


@dataclass(frozen=True)
class Refined:
    """A mesh and what was done to its colours."""

    mesh: TriangleMesh
    facts: RefinementFacts | None
    """None when nothing was tried."""


def refine_if_better(
    mesh: TriangleMesh,
    subject: Subject,
    prompt: str,
    encoder: Encoder,
    config: RefineConfig,
    *,
    score_size: int,
    seed: int,
    device: torch.device,
    checkpoint: CheckpointStore | None = None,
    progress: Callable[[int], None] = lambda step: None,
) -> Refined:
    """Refine the colours, and keep the baked ones unless fixed views that guided nothing fit their prompts better.

    score_size: edge in pixels of the fixed views; the other arguments are those of `refine`.
    """
    if config.steps == 0:
        return Refined(mesh, None)
    changed = refine(
        mesh, subject, prompt, encoder, config, seed=seed, device=device, checkpoint=checkpoint, progress=progress
    )
    before, after = (
        float(view_cosines(one, subject, prompt, encoder, score_size, device)[0].mean()) for one in (mesh, changed)
    )
    facts = RefinementFacts(
        steps=config.steps,
        kept=after > before,
        score=StageScore(before=before, after=after),
        baked_seam_difference=seam_difference(
            mesh.texture.image, find_seams(mesh.vertices, mesh.faces, mesh.texture.charts)
        ),
    )
    return Refined(changed if facts.kept else mesh, facts)


@dataclass(frozen=True, eq=False)
class _Model:
    """The mesh as the renderer takes it."""

    vertices: Tensor
    faces: Tensor
    normals: Tensor
    texture: Tensor
    uvs: Tensor
    face_uvs: Tensor
    rays: MeshRays

    @classmethod
    def of(cls, mesh: TriangleMesh, device: torch.device) -> _Model:
        vertices = torch.from_numpy(mesh.vertices).to(device)
        faces = torch.from_numpy(mesh.faces.astype(np.int64)).to(device)
        normals = torch.from_numpy(mesh.normals).to(device)
        return cls(vertices, faces, normals, *mesh.texture.on(device), MeshRays(vertices, faces))


def refine(
    mesh: TriangleMesh,
    subject: Subject,
    prompt: str,
    encoder: Encoder,
    config: RefineConfig,
    *,
    seed: int,
    device: torch.device,
    checkpoint: CheckpointStore | None = None,
    progress: Callable[[int], None] = lambda step: None,
) -> TriangleMesh:
    """Change the mesh's baked colours by gradients through rendered views.

    Every step draws from a generator of its own, so that an interrupted run continues from its checkpoint as if it
    had not stopped.

    Args:
        mesh: in the bind pose.
        subject: of the body below it, for the same framing as texturing's.
        prompt: the appearance as the user wrote it.
        encoder: guides.
        config: see RefineConfig.
        seed: of the row.
        device: where to render.
        checkpoint: where long runs keep their state; None when nothing is kept.
        progress: told each finished step.
    Returns:
        the mesh with another texture and other vertex colours, or the same one when `config.steps` is 0.
    Raises:
        DivergenceError: the loss is not finite.
    """
    if config.steps == 0:
        return mesh
    work = _Work(mesh, subject, prompt, encoder, config, seed, device)
    resumed = checkpoint.load() if checkpoint is not None else None
    if resumed is not None:
        work.restore(*resumed)
        log.info("the texture's refinement continues at step %d of %d", work.step, config.steps)
    while work.step < config.steps:
        work.advance()
        progress(work.step)
        if checkpoint is not None and work.step % config.checkpoint_every == 0 and work.step < config.steps:
            checkpoint.save(work.state(), work.step)
    work.residual.encoding.set_active_levels(work.residual.encoding.layout.levels)
    return painted(mesh, work.residual, device)


class _Work:
    """The state of one refinement: residual and optimiser; everything else follows from the inputs."""

    def __init__(
        self,
        mesh: TriangleMesh,
        subject: Subject,
        prompt: str,
        encoder: Encoder,
        config: RefineConfig,
        seed: int,
        device: torch.device,
    ) -> None:
        self.config, self.seed, self.encoder, self.subject = config, seed, encoder, subject
        self.model = _Model.of(mesh, device)
        prompts = appearance_prompts(prompt, subject.sex)
        self.targets = encoder.encode_texts([prompts[kind] for kind in PROMPT_KINDS]).to(device)
        x, y, z = (mesh.vertices.min(axis=0) - MARGIN).tolist()
        right, top, front = (mesh.vertices.max(axis=0) + MARGIN).tolist()
        generator = torch_generator(seed, "refine", "start")
        self.residual = ColorResidual(config.residual, (x, y, z), (right, top, front), generator).to(device)
        self.optimizer = torch.optim.Adam(self.residual.parameters(), lr=config.rate, betas=(0.9, 0.99), eps=1e-10)
        self.step = 0

    def advance(self) -> None:
        """Take one optimisation step."""
        config, model = self.config, self.model
        done = self.step / config.steps
        levels = self.residual.encoding.layout.levels
        first = min(config.first_levels, levels)
        opened = min(1.0, done / config.full_detail_at)
        self.residual.encoding.set_active_levels(first + opened * (levels - first))
        for group in self.optimizer.param_groups:
            group["lr"] = config.rate * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * done)))
        generator = torch_generator(self.seed, "refine", "step", str(self.step))
        views = draw_views(
            self.subject, config.views, config.views_per_step, config.image_size, self.step, generator
        )
        painting = _Painting(self.residual)
        image = render_mesh(
            model.vertices,
            model.faces,
            views.cameras,
            lights=views.lights,
            background=views.background,
            texture=model.texture,
            uvs=model.uvs,
            face_uvs=model.face_uvs,
            normals=model.normals,
            recolor=painting,
            rays=model.rays,
        ).image
        loss = guidance(self.encoder, image, self.targets[views.prompt]).mean()
        loss = loss + self._restraint(painting, generator)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise DivergenceError(
                f"the texture's refinement became {value} at step {self.step}: lower export.refine.rate (half is a "
                "good first try) or set export.refine.steps to 0"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.step += 1

    def _restraint(self, painting: _Painting, generator: torch.Generator) -> Tensor:
        """What a change costs by itself."""
        config, points = self.config, painting.points
        offsets = torch.randn(points.shape, generator=generator).to(points) * config.variation_step
        difference = (self.residual.change(points + offsets) - painting.change).abs()
        return config.change * _mean(painting.change.square()) + config.variation * _mean(difference)

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs."""
        return {"residual": self.residual.state_dict(), "optimizer": self.optimizer.state_dict()}

    def restore(self, state: dict[str, Any], step: int) -> None:
        """Take over a checkpoint."""
        self.residual.load_state_dict(state["residual"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = step


class _Painting:
    """Recolours what a view sees and remembers where and by how much."""

    def __init__(self, residual: ColorResidual) -> None:
        self.residual = residual
        self.points = self.change = torch.zeros(0, 3)

    def __call__(self, points: Tensor, albedo: Tensor) -> Tensor:
        self.points = points
        self.change = self.residual.change(points)
        return recolored(albedo, self.change)


@torch.no_grad()
def painted(mesh: TriangleMesh, residual: ColorResidual, device: torch.device) -> TriangleMesh:
    """Return the mesh with its texture and vertex colours changed by `residual`; between charts, texels follow suit."""

    def changed(points: np.ndarray, colors: np.ndarray) -> np.ndarray:
        pairs = zip(torch.from_numpy(points).split(BATCH), torch.from_numpy(colors).split(BATCH))
        return torch.cat([residual(place.to(device), color.to(device)).cpu() for place, color in pairs]).numpy()

    charts, size = mesh.texture.charts, len(mesh.texture.image)
    places = Atlas(charts).texels(size)
    points = places.interpolate(mesh.vertices, mesh.faces)
    image = mesh.texture.image.reshape(-1, 3).astype(np.float32) / 255
    image[places.seen] = changed(points, image[places.seen])
    image = spread(image.reshape(size, size, 3), places.seen.reshape(size, size))
    texture = Texture(charts, np.round(image * 255).astype(np.uint8))
    return replace(mesh, texture=texture, colors=changed(mesh.vertices, mesh.colors))


def _mean(values: Tensor) -> Tensor:
    """The mean, and zero of nothing."""
    return values.sum() / max(values.numel(), 1)
