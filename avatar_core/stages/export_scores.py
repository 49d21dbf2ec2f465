"""How well a finished mesh matches its prompts: the fixed views of texturing, and frames of its motion.

Each picture is taken once and shown to both encoders: the one that guided, and the one that never did.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avatar_core.errors import DivergenceError
from avatar_core.export.mesh import TriangleMesh
from avatar_core.export.report import ViewScore
from avatar_core.export.view_features import EncoderFeatures, ViewFeatures
from avatar_core.perception.encoder import Encoder
from avatar_core.perception.prompts import appearance_prompts, motion_prompt
from avatar_core.rendering.cameras import Cameras, orbit_cameras
from avatar_core.rendering.lights import studio_lights
from avatar_core.rendering.mesh_renderer import render_mesh
from avatar_core.stages.texturing_views import (
    PROMPT_KINDS,
    SCORING_ELEVATION,
    SCORING_FOV,
    SCORING_PLAN,
    Subject,
    scoring_views,
)

MOTION_AZIMUTH = 0.6
MOTION_FILL = 0.8
"""Part of a motion frame's height that the avatar may take."""


@dataclass(frozen=True, eq=False)
class Verdict:
    """What one encoder makes of an avatar."""

    features: Tensor
    """(B, D) of the fixed views."""
    views: Tensor
    """(B,) cosines of the fixed views with their prompts."""
    frames: Tensor
    """(N,) cosines of frames of the motion with its prompt."""

    @property
    def scores(self) -> dict[str, float]:
        """Mean cosines by kind of view, and of the motion the mean and the best frame."""
        kinds = [kind for _, kind in SCORING_PLAN]
        found = {
            kind: float(self.views[[index for index, one in enumerate(kinds) if one == kind]].mean())
            for kind in dict.fromkeys(kinds)
        }
        frames = self.frames.tolist()
        return found | {"motion": sum(frames) / len(frames), "motion_best": max(frames)}


@dataclass(frozen=True, eq=False)
class Judged:
    """What the guiding encoder and the one that judges make of an avatar."""

    guide: Verdict
    judge: Verdict | None
    """None where the judge itself guided."""
    features: ViewFeatures

    @property
    def views(self) -> tuple[ViewScore, ...]:
        """The fixed views with their cosines."""
        guide = self.guide.views.tolist()
        judge = [None] * len(guide) if self.judge is None else self.judge.views.tolist()
        return tuple(
            ViewScore(prompt=kind, azimuth_degrees=round(math.degrees(azimuth), 1), guide=seen, judge=also)
            for (azimuth, kind), seen, also in zip(SCORING_PLAN, guide, judge)
        )


@torch.no_grad()
def judged(
    mesh: TriangleMesh,
    posed: NDArray[np.float32],
    subject: Subject,
    appearance: str,
    motion: str,
    *,
    guide: Encoder,
    judge: Encoder | None,
    size: int,
    device: torch.device,
) -> Judged:
    """Show an avatar's fixed views and frames of its motion to its encoders.

    Args:
        mesh: in the bind pose.
        posed: (N, V, 3) metres, the frames to look at.
        subject: of the body below it, for the same framing as texturing's.
        appearance, motion: the prompts as the user wrote them.
        guide: the encoder that guided.
        judge: the one that did not; None where there is none.
        size: pixels a side.
        device: where to render.
    Raises:
        DivergenceError: features that are not finite.
    """
    shown, frames = views_of(mesh, subject, size, device), frames_of(mesh, posed, size, device)
    prompts = appearance_prompts(appearance, subject.sex)
    encoders = {"guide": guide} | ({} if judge is None else {"judge": judge})
    verdicts, features = {}, {}
    for role, encoder in encoders.items():
        texts = encoder.encode_texts([*(prompts[kind] for _, kind in SCORING_PLAN), motion_prompt(motion)])
        seen = encoder.encode_images(shown)
        if not bool(torch.isfinite(seen).all()):
            raise DivergenceError(f"encoder {encoder.name!r} gives features of the avatar that are not finite")
        cosines = (seen * texts[:-1]).sum(1)
        verdicts[role] = Verdict(seen, cosines, encoder.encode_images(frames) @ texts[-1])
        features[role] = EncoderFeatures(encoder.name, encoder.digest, seen)
    kinds = tuple(kind for _, kind in SCORING_PLAN)
    return Judged(verdicts["guide"], verdicts.get("judge"), ViewFeatures(kinds, subject.sex, features))


@torch.no_grad()
def view_cosines(
    mesh: TriangleMesh, subject: Subject, prompt: str, encoder: Encoder, size: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return the cosines (B,) of the fixed views with their prompts, and which of PROMPT_KINDS (B,) those are.

    Args:
        mesh: in the bind pose.
        subject: of the body below it, for the same framing as texturing's.
        prompt: the appearance as the user wrote it.
        encoder: judges the views.
        size: pixels a side.
        device: where to render.
    """
    prompts = appearance_prompts(prompt, subject.sex)
    texts = encoder.encode_texts([prompts[kind] for kind in PROMPT_KINDS])
    kinds = torch.tensor([PROMPT_KINDS.index(kind) for _, kind in SCORING_PLAN], device=texts.device)
    return (encoder.encode_images(views_of(mesh, subject, size, device)) * texts[kinds]).sum(1), kinds


def views_of(mesh: TriangleMesh, subject: Subject, size: int, device: torch.device) -> Tensor:
    """Return the fixed views (B, 3, size, size) of a mesh, those of SCORING_PLAN."""
    views = scoring_views(subject, size)
    texture, uvs, face_uvs = mesh.texture.on(device)
    return render_mesh(
        torch.from_numpy(mesh.vertices).to(device),
        torch.from_numpy(mesh.faces.astype(np.int64)).to(device),
        views.cameras,
        lights=views.lights,
        background=views.background,
        texture=texture,
        uvs=uvs,
        face_uvs=face_uvs,
        normals=torch.from_numpy(mesh.normals).to(device),
    ).image


def frames_of(mesh: TriangleMesh, posed: NDArray[np.float32], size: int, device: torch.device) -> Tensor:
    """Return a picture (N, 3, size, size) of each posed frame (N, V, 3), metres, of a mesh."""
    faces = torch.from_numpy(mesh.faces.astype(np.int64)).to(device)
    texture, uvs, face_uvs = mesh.texture.on(device)
    images = []
    for frame in posed:
        vertices = torch.from_numpy(frame).to(device)
        camera = _framed(vertices, size)
        lights = studio_lights(camera)
        shown = render_mesh(vertices, faces, camera, lights=lights, texture=texture, uvs=uvs, face_uvs=face_uvs)
        images.append(shown.image)
    return torch.cat(images)


def _framed(vertices: Tensor, size: int) -> Cameras:
    low, high = vertices.amin(0), vertices.amax(0)
    distance = 0.5 * float((high - low).max()) / (MOTION_FILL * math.tan(SCORING_FOV / 2))
    return orbit_cameras([MOTION_AZIMUTH], [SCORING_ELEVATION], [distance], (low + high) / 2, [SCORING_FOV], size)
