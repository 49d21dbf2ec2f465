"""How a clip sits on a finished avatar: its feet, the ground, and how far its skin is stretched."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from avatar_core.export.finished import FinishedAvatar
from avatar_core.rigging.clip import Clip
from avatar_core.rigging.retarget import LEG_JOINTS, ground_facts
from avatar_core.rigging.skinning import Skin, edge_stretch


@dataclass(frozen=True)
class ClipFacts:
    """Measures of one clip."""

    frames: int
    fps: int
    foot_skate_mm: float
    """Mean slide of a standing foot from one frame to the next."""
    contact_fraction: float
    """Part of the frames in which a foot stands."""
    lowest_m: float
    """Lowest point of the mesh over the clip; the ground is at 0."""
    worst_stretch: float
    """Largest ratio of an edge's length in the clip to its length in the bind pose."""


def clip_facts(avatar: FinishedAvatar, clip: Clip) -> ClipFacts:
    """Measure a clip on an avatar."""
    vertices, faces, rows = avatar.welded
    skin = Skin(avatar.skin.joints[rows], avatar.skin.weights[rows])
    feet = np.isin(skin.joints[:, 0], list(itertools.chain(*LEG_JOINTS.values())))
    sole = Skin(skin.joints[feet], skin.weights[feet])
    ground = ground_facts(np.concatenate(list(clip.posed(vertices[feet], sole))), sole, clip.fps)
    stretch = np.max([edge_stretch(vertices, faces, part).max() for part in clip.posed(vertices, skin)])
    return ClipFacts(
        frames=len(clip),
        fps=clip.fps,
        foot_skate_mm=ground.foot_skate,
        contact_fraction=ground.contact_fraction,
        lowest_m=float(clip.bounds(vertices, skin)[0][1]),
        worst_stretch=float(stretch),
    )
