"""Measures a finished avatar for its report: mesh, texture, skin, motion and the course of its texturing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avatar_core.bodies.rig import Rig
from avatar_core.export.mesh import TriangleMesh, components, signed_volume
from avatar_core.export.repair import is_closed
from avatar_core.export.report import (
    MeshFacts,
    MotionFacts,
    RefinementFacts,
    SkinFacts,
    TextureFacts,
    TexturingEvent,
    TexturingFacts,
)
from avatar_core.export.seams import find_seams, seam_difference
from avatar_core.export.self_cuts import cut_triangles
from avatar_core.priors.joint_angles import violation_share
from avatar_core.rigging.retarget import RiggedClip, clip_joints, ground_facts, jerk
from avatar_core.rigging.self_contact import self_penetration
from avatar_core.rigging.skinning import Skin, edge_stretch


def mesh_facts(mesh: TriangleMesh) -> MeshFacts:
    """Measure a mesh."""
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    return MeshFacts(
        vertices=len(mesh.vertices),
        faces=len(mesh.faces),
        components=components(len(mesh.vertices), mesh.faces),
        watertight=is_closed(mesh.faces),
        self_intersecting=int(cut_triangles(mesh.vertices, mesh.faces).sum()),
        volume_l=1000 * signed_volume(mesh.vertices, mesh.faces),
        height_m=float(high[1] - low[1]),
        bounds_m=(_triple(low), _triple(high)),
    )


def texture_facts(mesh: TriangleMesh, refinement: RefinementFacts | None) -> TextureFacts:
    """Measure a mesh's images; `refinement`: what is known of their last change."""
    seams = find_seams(mesh.vertices, mesh.faces, mesh.texture.charts)
    relief = mesh.normal_map
    return TextureFacts(
        size=len(mesh.texture.image),
        seam_length_m=float(seams.length.sum()),
        seam_difference=seam_difference(mesh.texture.image, seams),
        normal_map_size=0 if relief is None else len(relief.image),
        normal_map_degrees=0.0 if relief is None else relief.relief_degrees(),
        refinement=refinement,
    )


def skin_facts(mesh: TriangleMesh, skin: Skin, bones: int, posed: NDArray[np.floating]) -> SkinFacts:
    """Measure a skin over posed vertices (T, V, 3)."""
    stretch = edge_stretch(mesh.vertices, mesh.faces, posed)
    return SkinFacts(
        bones=bones,
        max_influences=int((skin.weights > 0).sum(axis=1).max()),
        worst_stretch=float(stretch.max()),
        stretch_p999=float(np.quantile(stretch, 0.999)),
    )


def motion_facts(
    mesh: TriangleMesh,
    skin: Skin,
    rig: Rig,
    clip: RiggedClip,
    poses: NDArray[np.floating],
    posed: NDArray[np.floating],
    frame_scores: tuple[float, ...],
    *,
    authored: bool,
    seed_diversity: float,
) -> MotionFacts:
    """Measure a clip.

    Args:
        mesh: in the bind pose.
        skin: of the mesh.
        rig: the skeleton.
        clip: the motion.
        poses: (T, 22, 3) its axis-angle joint rotations relative to the T-pose, radians.
        posed: (T, V, 3) the mesh's vertices in its frames.
        frame_scores: cosines of some frames with the prompt.
        authored: whether it follows written key poses.
        seed_diversity: of the motions that several seeds start from, metres.
    """
    ground = ground_facts(posed, skin, clip.fps)
    depth = self_penetration(
        mesh.vertices, rig.shaped.joints.cpu().numpy(), skin.renamed(rig.joint_of_bone), clip.transforms
    )
    return MotionFacts(
        frames=len(clip),
        fps=clip.fps,
        authored=authored,
        translation_scale=clip.scale,
        limb_direction_error_degrees=clip.direction_error,
        foot_skate_mm=ground.foot_skate,
        ground_penetration_m=max(0.0, -ground.lowest),
        mean_clearance_m=ground.mean_clearance,
        contact_fraction=ground.contact_fraction,
        self_penetration_m=float(depth.max()),
        joint_limit_violations=violation_share(poses),
        jerk_m_s3=jerk(clip_joints(clip, rig), clip.fps),
        seed_diversity_m=seed_diversity,
        frame_scores=frame_scores,
    )


def texturing_facts(
    history: Sequence[Mapping[str, float]], events: Iterable[Mapping[str, Any]], *, curves: str, film: str
) -> TexturingFacts:
    """Sum up an optimisation.

    Args:
        history: each step's number and loss.
        events: the fields of its events, in their order.
        curves: file name of the picture of its learning curves.
        film: file name of its video.
    """
    last = [entry["loss"] for entry in history[-max(1, len(history) // 10) :]]
    return TexturingFacts(
        steps=len(history),
        final_loss=sum(last) / len(last) if last else None,
        events=tuple(TexturingEvent(**event) for event in events),
        curves=curves,
        film=film,
    )


def _triple(values: NDArray[np.floating]) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])
