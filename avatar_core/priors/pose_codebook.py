"""Builds the pose codebook: frames that stand for the whole of a data set, as latents of the pose prior.

After training it is built by the training's own command; from other clips, with the prior as it is, by

    python -m avatar_core.priors.pose_codebook --data FOLDER --out avatar_core/weights/pose_vae
"""

import argparse
import json
import logging
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from avatar_core.bodies.rotations import axis_angle_to_matrix, matrix_to_6d
from avatar_core.priors.clustering import medoids
from avatar_core.priors.kinematics import forward_kinematics, heading_angle, heading_matrix
from avatar_core.priors.motion_data import MotionData, label_weights, load_motion_folder, mirror
from avatar_core.priors.pose_vae import PoseVAE
from avatar_core.seeds import numpy_generator

log = logging.getLogger(__name__)

DRAWS = 60_000
"""Frames that are drawn by label, with their mirror images, before clustering."""


def build_pose_codebook(data: MotionData, vae: PoseVAE, count: int, seed: int, folder: Path) -> None:
    """Cluster poses by joint positions and attitude, and write codebook.safetensors and codebook.json to `folder`.

    Raises ValueError when the data hold fewer than `count` different frames.
    """
    generator = numpy_generator(seed, "pose_codebook")
    weights = np.repeat(label_weights(data.clips), [clip.length for clip in data.clips])
    owner = np.repeat(np.arange(len(data.clips)), [clip.length for clip in data.clips])
    frames = np.concatenate([np.arange(clip.start, clip.start + clip.length) for clip in data.clips])
    size = min(DRAWS, len(frames))
    drawn = np.sort(generator.choice(len(frames), size, replace=False, p=weights / weights.sum()))
    flipped = generator.random(size) < 0.5
    poses, trans = data.poses[frames[drawn]], data.trans[frames[drawn]]
    poses[flipped], trans[flipped] = mirror(poses[flipped], trans[flipped])

    rotations = axis_angle_to_matrix(torch.from_numpy(np.ascontiguousarray(poses)))
    root = heading_matrix(-heading_angle(rotations[:, 0])) @ rotations[:, 0]
    with torch.no_grad():
        latents = vae.encode_rotations(rotations[:, 1:])
        seen = torch.cat([root[:, None], vae.decode(latents)], dim=1)
    joints = forward_kinematics(seen, torch.zeros(size, 3), vae.rest_joints)
    index = medoids(joints.flatten(1), count, seed)

    tensors = {
        "latents": latents[index].half(),
        "roots": matrix_to_6d(root[index]).half(),
        "heights": torch.from_numpy(trans[index.numpy(), 1]).half(),
    }
    used = owner[drawn[index.numpy()]]
    clips, where = np.unique(used, return_inverse=True)
    words = {
        "note": "labels and captions of the clips that the poses come from; for people to read, never for scoring",
        "clips": [data.clips[c].words() for c in clips],
        "clip": where.tolist(),
    }
    save_file({name: value.contiguous() for name, value in tensors.items()}, folder / "codebook.safetensors")
    (folder / "codebook.json").write_text(json.dumps(words, separators=(",", ":")) + "\n", encoding="utf-8")
    log.info("codebook of %d poses from %d clips", len(index), len(clips))


def main(arguments: list[str] | None = None) -> None:
    """Build the codebook of a trained prior and put it beside its weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with clips.npz and clips.csv")
    parser.add_argument("--out", type=Path, required=True, help="folder of the prior's weights")
    parser.add_argument("--count", type=int, default=4096, help="poses in the codebook")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    data, vae = load_motion_folder(options.data), PoseVAE.load(options.out)
    build_pose_codebook(data, vae, options.count, options.seed, options.out)


if __name__ == "__main__":
    main()
