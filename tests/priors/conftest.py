import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from avatar_core.priors.checkpointing import TrainingCheckpoint
from avatar_core.priors.motion_data import MotionData, load_motion_folder

REST = np.array(
    [
        [0, 0, 0], [0.07, -0.09, 0], [-0.07, -0.09, 0], [0, 0.12, 0], [0.1, -0.47, 0], [-0.1, -0.47, 0],
        [0, 0.25, 0], [0.09, -0.87, -0.05], [-0.09, -0.87, -0.05], [0, 0.31, 0], [0.11, -0.92, 0.07],
        [-0.11, -0.92, 0.07], [0, 0.5, 0], [0.08, 0.42, 0], [-0.08, 0.42, 0], [0, 0.58, 0], [0.18, 0.45, 0],
        [-0.18, 0.45, 0], [0.44, 0.44, 0], [-0.44, 0.44, 0], [0.68, 0.44, 0], [-0.68, 0.44, 0],
    ],
    np.float32,
)  # fmt: skip


def write_folder(folder: Path, lengths: dict[str, int], **replaced) -> Path:
    """Write clips of swinging limbs, one a name, in the documented layout; `replaced` overrides arrays."""
    folder.mkdir(parents=True, exist_ok=True)
    poses, trans = [], []
    for number, frames in enumerate(lengths.values()):
        time = np.arange(frames)[:, None, None] / 30
        phase = np.random.default_rng(number).uniform(0, 6, (1, 22, 3))
        poses.append(0.4 * np.sin(2 * np.pi * time + phase) * (np.arange(22) > 0)[None, :, None])
        path = np.stack([0 * time[:, 0, 0], 0.92 + 0 * time[:, 0, 0], (1 + number) * time[:, 0, 0]], axis=-1)
        trans.append(path)
    counts = np.array(list(lengths.values()), np.int32)
    arrays = {
        "poses": np.concatenate(poses).astype(np.float16),
        "trans": np.concatenate(trans).astype(np.float32),
        "clip_start": (np.cumsum(counts) - counts).astype(np.int32),
        "clip_len": counts,
        "clip_id": np.array(list(lengths)),
        "rest_joints": REST,
        "fps": np.float32(30),
    } | replaced
    np.savez(folder / "clips.npz", **arrays)
    with (folder / "clips.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["clip_id", "source_file", "label", "captions"])
        for name in lengths:
            writer.writerow([name, f"{name.split('-')[0]}.amc", name.split("-")[0], f"a person {name}|someone {name}"])
    return folder


@pytest.fixture
def make_folder(tmp_path: Path):
    """Writes a folder of clips with the given lengths; keywords replace its arrays."""
    return lambda lengths, **replaced: write_folder(tmp_path / "motions", lengths, **replaced)


@pytest.fixture
def rest_joints() -> torch.Tensor:
    return torch.from_numpy(REST.copy())


@pytest.fixture
def motion_folder(make_folder) -> Path:
    return make_folder({"walk-1": 90, "walk-2": 64, "kick-1": 40, "jump-1": 10})


@pytest.fixture
def motion_data(motion_folder: Path) -> MotionData:
    return load_motion_folder(motion_folder)


class Killed(Exception):
    """Stands for a kill right after a checkpoint."""


@pytest.fixture
def killed_after(monkeypatch):
    """Makes training die right after it has saved a given step; returns the exception to expect."""
    save = TrainingCheckpoint.save

    def arrange(last: int) -> type[Exception]:
        def save_and_die(self, step, model, optimizer):
            save(self, step, model, optimizer)
            if step == last:
                raise Killed

        monkeypatch.setattr(TrainingCheckpoint, "save", save_and_die)
        return Killed

    return arrange
