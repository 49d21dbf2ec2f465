"""What a motion is optimised for: near given poses, moving, and looking like a prompt."""

import torch
from torch import Tensor

from avatar_core.bodies import BodyModel
from avatar_core.bodies.rotations import matrix_to_6d
from avatar_core.priors.features import neutral_body
from avatar_core.priors.kinematics import without_heading
from avatar_core.priors.view_encoders import ViewEncoder
from avatar_core.priors.views import GreyViews, pose_body
from avatar_core.rendering.backends import DEFAULT_RENDERER, RendererName


def pose_vectors(rotations: Tensor) -> Tensor:
    """Describe poses (..., 22, 3, 3) by 132 numbers that know no heading."""
    return matrix_to_6d(without_heading(rotations)).flatten(-2)


def pose_loss(vectors: Tensor, candidates: Tensor) -> Tensor:
    """How far motions are from passing through all candidate poses, (B,).

    Sum over the candidates of weight times the mean squared difference to the nearest frame; weights fall evenly
    from 1 to 0.2, as AvatarCLIP's for five poses.

    vectors: (B, T, 132) of `pose_vectors`; candidates: (K, 132), best first.
    """
    squared = (vectors[:, None] - candidates[None, :, None]).square().mean(-1)
    weights = torch.linspace(1.0, 0.2, len(candidates), device=vectors.device)
    return (squared.amin(-1) * weights).sum(-1)


def movement(vectors: Tensor) -> Tensor:
    """Mean absolute change (B,) of motions' vectors (B, T, 132) from frame to frame."""
    return (vectors[:, 1:] - vectors[:, :-1]).abs().mean((1, 2))


def seam_loss(vectors: Tensor, translation: Tensor, overlap: int) -> Tensor:
    """How unlike windows that follow each other are where they overlap, (B,).

    Mean squared difference of poses, of the pelvis's height and of its pace in decimetres a frame, over the last
    `overlap` frames of each window and the first ones of the next.

    vectors: (B, W, T, 132) of `pose_vectors`; translation: (B, W, T, 3) metres.
    """
    pace = torch.diff(translation[..., [0, 2]], dim=2).norm(dim=-1, keepdim=True) * 10
    pace = torch.cat([pace, pace[:, :, -1:]], 2)
    described = torch.cat([vectors, translation[..., 1:2] * 10, pace], -1)
    return (described[:, :-1, -overlap:] - described[:, 1:, :overlap]).square().mean((1, 2, 3))


FINE = 144
"""Samples along an edge of the views, at least, from which gradients are taken: with 48 alone, that a small view has,
a step changes the score by chance as much as by its gradient."""


class FrameJudge:
    """Compares frames of a motion, worn by the neutral body, with a text."""

    def __init__(
        self, body: BodyModel, view: ViewEncoder, target: Tensor, renderer: RendererName = DEFAULT_RENDERER
    ) -> None:
        """target: (D,) unit text feature; renderer: who draws the frames."""
        self._body, self._view, self._target = body, view, target
        self._shaped = neutral_body(body)
        samples = max(1, round(FINE / view.image_size))
        self._views = GreyViews(body, view.image_size, gradient_supersample=samples, renderer=renderer)

    def scores(self, rotations: Tensor, turns: Tensor | None = None) -> Tensor:
        """How well frames (n, 22, 3, 3) fit the text, (n,) from -1 to 1; differentiable in the frames.

        turns: (n,) radians, on the CPU, by which each frame's views are turned, where the view encoder allows it.
        """
        vertices = pose_body(self._body, self._shaped, without_heading(rotations))
        if turns is None or not self._view.free_azimuth:
            turns = torch.zeros(len(vertices))
        azimuths = torch.tensor(self._view.azimuths)[None] + turns[:, None]
        images = self._views.framed_sets(vertices, azimuths)
        return self._view.compare(self._view.encode(images), self._target)
