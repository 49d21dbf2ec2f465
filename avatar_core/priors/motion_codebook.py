"""Builds the motion codebook: windows that stand for the whole of a data set, as latents of the motion prior.

After training it is built by the training's own command; from other clips, with the prior as it is, by

    python -m avatar_core.priors.motion_codebook --data FOLDER --out avatar_core/weights/motion_vae
"""

import argparse
import json
import logging
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from avatar_core.bodies.rotations import axis_angle_to_matrix
from avatar_core.priors.clustering import medoids
from avatar_core.priors.kinematics import forward_kinematics
from avatar_core.priors.motion_data import (
    MotionData,
    Window,
    cut_windows,
    label_weights,
    load_motion_folder,
    mirror,
)
from avatar_core.priors.motion_vae import MotionVAE
from avatar_core.seeds import numpy_generator

log = logging.getLogger(__name__)

STRIDE = 12
"""Frames between the windows that are considered."""


def build_motion_codebook(data: MotionData, vae: MotionVAE, count: int, seed: int, folder: Path) -> None:
    """Cluster windows by the paths of their joints, and write codebook.safetensors and codebook.json to `folder`.

    Every label keeps at least one window. Raises ValueError when the data hold too few windows.
    """
    generator = numpy_generator(seed, "motion_codebook")
    windows = cut_windows(data, data.clips, vae.config.frames, STRIDE)
    per_clip = dict(zip((clip.id for clip in data.clips), label_weights(data.clips)))
    weights = np.array([per_clip[window.clip.id] for window in windows])
    kept = np.sort(
        generator.choice(len(windows), int(0.7 * len(windows)), replace=False, p=weights / weights.sum())
    )
    kept = np.union1d(kept, _first_of_each_label(windows))
    flipped = generator.random(len(kept)) < 0.5
    chosen = [windows[i] for i in kept]
    latents, paths = _encode(data, vae, chosen, flipped)
    required = _first_of_each_label(chosen)
    index = np.union1d(medoids(paths, count - len(required), seed).numpy(), required)

    owners = [chosen[i].clip for i in index]
    clips = list({clip.id: clip for clip in owners}.values())
    place = {clip.id: number for number, clip in enumerate(clips)}
    words = {
        "note": "words of the clips that the motions come from; for people to read, never for scoring",
        "clips": [clip.words() for clip in clips],
        "clip": [place[clip.id] for clip in owners],
    }
    save_file(
        {"latents": latents[torch.from_numpy(index)].half().contiguous()}, folder / "codebook.safetensors"
    )
    (folder / "codebook.json").write_text(json.dumps(words, separators=(",", ":")) + "\n", encoding="utf-8")
    log.info("codebook of %d motions from %d clips", len(index), len(clips))


def _first_of_each_label(windows: list[Window]) -> np.ndarray:
    first: dict[str, int] = {}
    for index, window in enumerate(windows):
        first.setdefault(window.clip.label, index)
    return np.array(sorted(first.values()))


def _encode(
    data: MotionData, vae: MotionVAE, windows: list[Window], flipped: np.ndarray
) -> tuple[Tensor, Tensor]:
    """Latents (n, 256) and, as seen through the prior, joint paths at every fifth frame (n, 12 * 22 * 3)."""
    latents, paths = [], []
    for start in range(0, len(windows), 128):
        chunk = slice(start, start + 128)
        pairs = [window.read(data) for window in windows[chunk]]
        pairs = [mirror(*pair) if flip else pair for pair, flip in zip(pairs, flipped[chunk])]
        rotations = axis_angle_to_matrix(torch.from_numpy(np.stack([poses for poses, _ in pairs])))
        translation = torch.from_numpy(np.stack([trans for _, trans in pairs]))
        with torch.no_grad():
            latent = vae.encode(rotations, translation)
            seen, moved = vae.decode(latent)
        latents.append(latent)
        paths.append(forward_kinematics(seen[:, ::5], moved[:, ::5], vae.rest_joints).flatten(1))
    return torch.cat(latents), torch.cat(paths)


def main(arguments: list[str] | None = None) -> None:
    """Build the codebook of a trained prior and put it beside its weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with clips.npz and clips.csv")
    parser.add_argument("--out", type=Path, required=True, help="folder of the prior's weights")
    parser.add_argument("--count", type=int, default=960, help="motions in the codebook")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    data, vae = load_motion_folder(options.data), MotionVAE.load(options.out)
    build_motion_codebook(data, vae, options.count, options.seed, options.out)


if __name__ == "__main__":
    main()
