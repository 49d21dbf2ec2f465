"""How well a finished mesh matches its prompts: the fixed views of texturing, and frames of its motion."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avatar_core.export.mesh import TriangleMesh
from avatar_core.perception.encoder import Encoder
from avatar_core.perception.prompts import appearance_prompts, motion_prompt
from avatar_core.rendering.cameras import Cameras, orbit_cameras
from avatar_core.rendering.lights import studio_lights
from avatar_core.rendering.mesh_renderer import render_mesh
from avatar_core.stages.texturing_views import (
    PROMPT_KINDS,
    SCORING_ELEVATION,
    SCORING_FOV,
    Subject,
    scoring_views,
)

MOTION_AZIMUTH = 0.6
MOTION_FILL = 0.8
"""Part of a motion frame's height that the avatar may take."""


def appearance_scores(
    mesh: TriangleMesh, subject: Subject, prompt: str, encoder: Encoder, size: int, device: torch.device
) -> dict[str, float]:
    """Return the mean cosine of the mesh's body, face and back views with their prompts; see `view_cosines`."""
    cosines, kinds = view_cosines(mesh, subject, prompt, encoder, size, device)
    shown = {index: PROMPT_KINDS[index] for index in sorted(set(kinds.tolist()))}
    return {kind: float(cosines[kinds == index].mean()) for index, kind in shown.items()}


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
    views = scoring_views(subject, size)
    texture, uvs, face_uvs = mesh.texture.on(device)
    image = render_mesh(
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
    prompts = appearance_prompts(prompt, subject.sex)
    texts = encoder.encode_texts([prompts[kind] for kind in PROMPT_KINDS])
    return (encoder.encode_images(image) * texts[views.prompt]).sum(1), views.prompt


@torch.no_grad()
def motion_scores(
    mesh: TriangleMesh,
    posed: NDArray[np.float32],
    prompt: str,
    encoder: Encoder,
    size: int,
    device: torch.device,
) -> list[float]:
    """Return the cosine of each posed frame with the motion prompt.

    Args:
        mesh: its faces and texture are used.
        posed: (T, V, 3) metres, the frames to look at.
        prompt: the motion as the user wrote it.
        encoder: judges the frames.
        size: pixels a side.
        device: where to render.
    """
    faces = torch.from_numpy(mesh.faces.astype(np.int64)).to(device)
    texture, uvs, face_uvs = mesh.texture.on(device)
    images = []
    for frame in posed:
        vertices = torch.from_numpy(frame).to(device)
        camera = _framed(vertices, size)
        lights = studio_lights(camera)
        shown = render_mesh(vertices, faces, camera, lights=lights, texture=texture, uvs=uvs, face_uvs=face_uvs)
        images.append(shown.image)
    text = encoder.encode_texts([motion_prompt(prompt)])[0]
    return (encoder.encode_images(torch.cat(images)) @ text).tolist()


def _framed(vertices: Tensor, size: int) -> Cameras:
    low, high = vertices.amin(0), vertices.amax(0)
    distance = 0.5 * float((high - low).max()) / (MOTION_FILL * math.tan(SCORING_FOV / 2))
    return orbit_cameras([MOTION_AZIMUTH], [SCORING_ELEVATION], [distance], (low + high) / 2, [SCORING_FOV], size)
