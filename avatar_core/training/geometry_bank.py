"""Rasterised bodies without colours: the geometry half of BodyCLIP's training images.

Posing and ray casting are the slow half of rendering and do not depend on clothes. So each view is kept as its
hit pixels (face and barycentric weights) plus the pose's vertex normals, and is coloured and lit anew each time it
is drawn: one bank serves any number of appearances.

Run `python -m avatar_core.training.geometry_bank --help`.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save_file
from torch import Tensor

from avatar_core.bodies import BodyModel, ShapedBody, load_body
from avatar_core.bodies.rotations import axis_angle_to_matrix
from avatar_core.rendering.cameras import Cameras, cat_cameras, orbit_cameras
from avatar_core.rendering.normals import vertex_normals
from avatar_core.rendering.rasterizer import MeshRays
from avatar_core.seeds import numpy_generator
from avatar_core.training.motion_clips import REST_LABELS, PoseFrames, read_pose_frames
from avatar_core.training.relief import relief_fields, sample_relief
from avatar_core.training.scene import CHILD_AGE

logger = logging.getLogger(__name__)

VIEW_KINDS: tuple[str, ...] = ("full", "standard", "face", "upper", "lower", "hand")
_KIND_WEIGHTS = (0.56, 0.11, 0.15, 0.09, 0.06, 0.03)
_SIDES = ("left", "right")

# The standard view has one distance and aim for every body, so that a tall body looks tall in it.
STANDARD_FOV = float(np.deg2rad(40.0))
STANDARD_DISTANCE = 3.0
STANDARD_TARGET_HEIGHT = 0.95

# How much of the image's height the part that a view shows spans (less than the priors' 0.88 to more than texturing's).
_FILL: dict[str, tuple[float, float]] = {
    "full": (0.72, 1.1), "face": (0.5, 0.95), "upper": (0.75, 1.1), "lower": (0.75, 1.1), "hand": (0.3, 0.7),
}  # fmt: skip


@dataclass(frozen=True)
class BankConfig:
    """How a bank is drawn."""

    image_size: int = 96
    supersample: int = 2
    views_per_pose: int = 8
    poses_per_shard: int = 64
    rest_share: float = 0.4


def sample_betas(body: BodyModel, rng: np.random.Generator) -> np.ndarray:
    """Draw a shape vector (S,) that visits the ends of each phenotype, and fat and muscular bodies, often."""
    ages = [rng.uniform(0.12, 0.34), rng.uniform(0.5, 0.8), rng.uniform(0.9, 1.0)]
    drawn = {
        "gender": rng.choice([rng.uniform(0, 0.1), rng.uniform(0.9, 1.0)]),
        "age": rng.choice(ages, p=[0.13, 0.7, 0.17]),
    }
    builds: list[dict[str, float]] = [
        {"muscle": rng.uniform(0, 0.25), "weight": rng.uniform(0.75, 1)},
        {"muscle": rng.uniform(0, 0.25), "weight": rng.uniform(0, 0.2)},
        {"muscle": rng.uniform(0.85, 1)},
        {},
    ]
    drawn |= builds[int(rng.choice(4, p=[0.22, 0.08, 0.12, 0.58]))]
    values = []
    for label in body.shape_labels:
        value = drawn.get(label)
        if value is None:
            value = rng.beta(0.5, 0.5) if rng.random() < 0.6 else rng.normal(0.5, 0.12)
        values.append(float(np.clip(value, 0.0, 1.0)))
    return np.asarray(values, dtype=np.float32)


def body_mass_index(shaped: ShapedBody, faces: Tensor) -> float:
    """Return mass over squared height in kg/m^2, taking a litre of body for a kilogram."""
    volume = torch.linalg.det(shaped.vertices[faces]).sum() / 6
    return float(1000 * volume / shaped.height**2)


def _yaw_matrix(angle: float) -> np.ndarray:
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.asarray([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]], dtype=np.float32)


def _sample_pose(
    body: BodyModel, shaped, frames: PoseFrames, config: BankConfig, rng: np.random.Generator
) -> tuple[Tensor, int]:
    """Return local rotations (22, 3, 3), facing +Z, and a label index (clip labels first, then REST_LABELS)."""
    if rng.random() < config.rest_share:
        rest = 0 if rng.random() < 0.85 else 1
        base = body.bind_pose(shaped) if rest == 0 else torch.eye(3).repeat(22, 1, 1)
        jitter = rng.normal(0, 0.04, (22, 3)) * (rng.random() < 0.6)
        jitter[0] = 0
        return base @ axis_angle_to_matrix(torch.from_numpy(jitter.astype(np.float32))), len(frames.labels) + rest
    counts = np.bincount(frames.label_of_frame, minlength=len(frames.labels)) ** 0.4
    label = int(rng.choice(len(counts), p=counts / counts.sum()))
    frame = int(rng.choice(np.flatnonzero(frames.label_of_frame == label)))
    local = axis_angle_to_matrix(torch.from_numpy(frames.poses[frame]))
    forward = local[0, :, 2]
    if float(forward[0] ** 2 + forward[2] ** 2) > 0.05:
        yaw = float(torch.atan2(forward[0], forward[2]))
        local[0] = torch.from_numpy(_yaw_matrix(-yaw)) @ local[0]
    return local, label


def _sample_azimuth(rng: np.random.Generator) -> float:
    return float(rng.normal(0, np.pi / 3) if rng.random() < 0.6 else rng.uniform(-np.pi, np.pi))


def sample_camera(
    kind: str, vertices: Tensor, part: Tensor, size: int, rng: np.random.Generator
) -> tuple[Cameras, float]:
    """Draw a camera of `kind` about a posed body, framed as texturing and the priors frame bodies.

    Args:
        kind: one of VIEW_KINDS.
        vertices: (V, 3) posed body standing on y = 0, metres.
        part: (H, 3) vertices that a face or hand view looks at; the whole body's for the others.
        size: pixels a side.
    Returns:
        one camera, and its azimuth in radians.
    """
    azimuth = _sample_azimuth(rng)
    if kind == "standard":
        azimuth = float(rng.choice([0.0, 0.5, -0.5, 1.57, 3.14])) + float(rng.normal(0, 0.1))
        target = [0.0, STANDARD_TARGET_HEIGHT, 0.0]
        return orbit_cameras(azimuth, 0.0, STANDARD_DISTANCE, target, STANDARD_FOV, size), azimuth
    elevation = float(np.clip(rng.normal(0, 0.15), -0.4, 0.4))
    fov = float(rng.uniform(np.deg2rad(25), np.deg2rad(55)))
    fill = rng.uniform(*_FILL[kind])
    low, high = part.amin(0), part.amax(0)
    extent = float((high - low).max())
    centre = (low + high) / 2
    if kind in ("upper", "lower"):
        centre = centre + torch.tensor([0.0, (0.25 if kind == "upper" else -0.25) * float(high[1] - low[1]), 0.0])
        extent = extent * 0.5
    centre = centre + torch.from_numpy(rng.normal(0, 0.03 * extent, 3).astype(np.float32))
    distance = 0.5 * extent / (fill * np.tan(fov / 2))
    # A wide field of view brings the camera near: keep it out of outstretched limbs.
    distance = max(distance, 0.5 * extent + 0.25 * float((vertices.amax(0) - vertices.amin(0))[::2].max()))
    return orbit_cameras(azimuth, elevation, float(distance), centre, fov, size), azimuth


def draw_shard(body: BodyModel, frames: PoseFrames, config: BankConfig, seed: int, shard: int) -> dict[str, np.ndarray]:
    """Draw one shard of poses and views; the arrays are described in `GeometryShard`."""
    rng = numpy_generator(seed, "geometry", str(shard))
    size = config.image_size * config.supersample
    region_of_face = body.regions[body.faces[:, 0]].numpy()
    head_names = {"face", "scalp", "ears", "eyes", "mouth"}
    head_ids = [index for index, name in enumerate(body.region_names) if name in head_names]
    on_head = torch.isin(body.regions, torch.tensor(head_ids))
    hands = [torch.isin(body.regions, torch.tensor(body.region_names.index(f"{side}_hand"))) for side in _SIDES]
    fields = relief_fields(body)
    rays: MeshRays | None = None
    kept: dict[str, list] = {name: [] for name in (
        "betas", "label", "hair", "belly", "normals", "height", "bmi", "pose", "kind", "azimuth", "toward_eye",
        "joints", "regions", "pixel", "face", "bary", "count")}  # fmt: skip
    for pose_index in range(config.poses_per_shard):
        betas = sample_betas(body, rng)
        gender, age = (float(betas[body.shape_labels.index(name)]) for name in ("gender", "age"))
        relief = sample_relief(gender > 0.5, age < CHILD_AGE, rng)
        shaped = fields.apply(body.shape(torch.from_numpy(betas)), relief)
        rotations, label = _sample_pose(body, shaped, frames, config, rng)
        posed = body.pose(shaped, rotations[None])
        vertices, joints = posed.vertices[0], posed.joints[0] - posed.joints[0, 0]
        vertices = vertices - torch.stack([vertices[:, 0].mean(), vertices[:, 1].min(), vertices[:, 2].mean()])
        if rays is None:
            rays = MeshRays(vertices, body.faces)
        else:
            rays.refit(vertices)
        kept["betas"].append(betas)
        kept["label"].append(label)
        kept["hair"].append(relief.hair)
        kept["belly"].append(relief.belly > 0)
        kept["height"].append(shaped.height)
        kept["bmi"].append(body_mass_index(shaped, body.faces))
        kept["normals"].append((vertex_normals(vertices, body.faces) * 127).round().to(torch.int8).numpy())
        kinds = rng.choice(len(VIEW_KINDS), config.views_per_pose, p=_KIND_WEIGHTS)
        parts = {"face": vertices[on_head], "hand": vertices[hands[int(rng.integers(2))]]}
        drawn = [
            sample_camera(VIEW_KINDS[kind], vertices, parts.get(VIEW_KINDS[kind], vertices), size, rng)
            for kind in kinds
        ]
        cameras = cat_cameras([camera for camera, _ in drawn])
        raster = rays.rasterize(cameras)
        toward = torch.nn.functional.normalize(cameras.eye - cameras.target, dim=-1).numpy()
        seen_joints = (joints @ cameras.axes().mT).to(torch.float16).numpy()
        for view, (kind, (_, azimuth)) in enumerate(zip(kinds, drawn)):
            face = raster.face[view].reshape(-1).numpy()
            hit = np.flatnonzero(face >= 0)
            kept["pose"].append(pose_index)
            kept["kind"].append(kind)
            kept["azimuth"].append(azimuth)
            kept["toward_eye"].append(toward[view])
            kept["joints"].append(seen_joints[view])
            seen = np.bincount(region_of_face[face[hit]], minlength=len(body.region_names))
            kept["regions"].append(seen.astype(np.uint16))
            kept["count"].append(len(hit))
            kept["pixel"].append(hit.astype(np.uint16))
            kept["face"].append(face[hit].astype(np.uint16))
            weights = raster.bary[view].reshape(-1, 3)[hit, :2].numpy()
            kept["bary"].append((weights.clip(0, 1) * 255).round().astype(np.uint8))
    types: dict[str, type] = {
        "label": np.int16,
        "hair": np.uint8,
        "belly": np.uint8,
        "pose": np.int16,
        "kind": np.uint8,
        "azimuth": np.float32,
        "height": np.float32,
        "bmi": np.float32,
    }
    arrays: dict[str, np.ndarray] = {name: np.asarray(kept[name], dtype=types[name]) for name in types}
    arrays |= {name: np.stack(kept[name]) for name in ("betas", "normals", "toward_eye", "joints", "regions")}
    arrays |= {name: np.concatenate(kept[name]) for name in ("pixel", "face", "bary")}
    arrays["offset"] = np.concatenate([[0], np.cumsum(kept["count"])]).astype(np.int64)
    return arrays


@dataclass(frozen=True)
class GeometryShard:
    """One shard read back: P poses, N views, M hit pixels in all."""

    betas: np.ndarray  # (P, S) shape vectors
    label: np.ndarray  # (P,) pose label index
    hair: np.ndarray  # (P,) index into RAISED_HAIR: hair that the body's geometry has
    belly: np.ndarray  # (P,) 1 for a round belly
    height: np.ndarray  # (P,) metres
    bmi: np.ndarray  # (P,) kg/m^2, as `body_mass_index`
    normals: np.ndarray  # (P, V, 3) int8, unit normals times 127
    pose: np.ndarray  # (N,) index into the poses
    kind: np.ndarray  # (N,) index into VIEW_KINDS
    azimuth: np.ndarray  # (N,) radians, 0 in front of the body
    toward_eye: np.ndarray  # (N, 3) unit vector from the body to the eye
    joints: np.ndarray  # (N, 22, 3) float16 metres about the pelvis: right, up and away in the image
    regions: np.ndarray  # (N, R) pixels that show each region of the body
    offset: np.ndarray  # (N + 1,) first hit pixel of each view
    pixel: np.ndarray  # (M,) uint16 index into the supersampled image
    face: np.ndarray  # (M,) uint16
    bary: np.ndarray  # (M, 2) uint8, first two barycentric weights times 255


def read_shard(path: Path) -> GeometryShard:
    """Read one shard of a bank."""
    with safe_open(path, framework="numpy") as file:
        return GeometryShard(**{name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118


def write_bank(folder: Path, motions: Path, *, shards: int, seed: int, first: int = 0, config: BankConfig) -> None:
    """Draw shards `first` to `first + shards` into `folder`; existing ones are kept (the draw is resumable)."""
    body = load_body("anny")
    frames = read_pose_frames(motions)
    folder.mkdir(parents=True, exist_ok=True)
    labels = [
        {"name": label.name, "phrases": label.phrases, "family": label.family}
        for label in (*frames.labels, *REST_LABELS)
    ]
    facts = {"image_size": config.image_size, "supersample": config.supersample, "labels": labels}
    (folder / "bank.json").write_text(json.dumps(facts), encoding="utf-8")
    started = time.perf_counter()
    for done, shard in enumerate(range(first, first + shards), start=1):
        path = folder / f"shard-{shard:05d}.safetensors"
        if path.exists():
            continue
        arrays = draw_shard(body, frames, config, seed, shard)
        partial = path.with_suffix(".partial")
        save_file(arrays, partial)
        partial.replace(path)
        rate = done * config.poses_per_shard * config.views_per_pose / (time.perf_counter() - started)
        logger.info("shard %d of %d, %.0f views/s", done, shards, rate)


def main() -> None:
    """Draw a bank from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--motions", type=Path, required=True, help="folder with clips.npz and clips.csv")
    parser.add_argument("--out", type=Path, required=True, help="folder of the bank")
    parser.add_argument("--shards", type=int, default=80, help="shards of 64 poses and 512 views")
    parser.add_argument("--first", type=int, default=0, help="number of the first shard")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    write_bank(
        arguments.out, arguments.motions,
        shards=arguments.shards, seed=arguments.seed, first=arguments.first, config=BankConfig(),
    )  # fmt: skip


if __name__ == "__main__":
    main()
