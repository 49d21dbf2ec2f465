"""Variational autoencoder of body poses: 21 joint rotations in a 32-d latent (VPoser's kind, Pavlakos et al. 2019)."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from avatar_core.bodies.rotations import matrix_to_6d, sixd_to_matrix
from avatar_core.documents import read_json
from avatar_core.errors import WeightsError
from avatar_core.priors.pose_prior import PoseModel
from avatar_core.priors.weights import file_digest, read_config, weights_folder

JOINTS = 21


@dataclass(frozen=True)
class PoseVaeConfig:
    """Sizes of the networks."""

    latent: int = 32
    """Numbers in the latent."""
    hidden: int = 512
    """Width of the two hidden layers of each network."""


class PoseVAE(nn.Module):
    """Two-layer perceptrons to and from the latent; the pelvis is no part of it.

    rest_joints: (22, 3) buffer, the skeleton on which joint errors were trained and measured, metres.
    """

    mean: Tensor
    rest_joints: Tensor

    def __init__(self, config: PoseVaeConfig | None = None) -> None:
        super().__init__()
        self.config = config or PoseVaeConfig()
        width, latent, size = self.config.hidden, self.config.latent, JOINTS * 6
        self.encoder = nn.Sequential(
            nn.Linear(size, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, 2 * latent),
        )
        self.decoder = nn.Sequential(
            nn.Linear(latent, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, size)
        )
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("rest_joints", torch.zeros(22, 3))
        self.digest = ""

    @classmethod
    def load(cls, folder: str | Path | None = None, device: torch.device | str = "cpu") -> "PoseVAE":
        """Load from `folder` (by default the shipped weights), ready for inference.

        Raises WeightsError when the files are missing or do not fit.
        """
        folder = Path(folder) if folder is not None else weights_folder("pose_vae")
        model = cls(PoseVaeConfig(**read_config(folder, "pose_vae")))
        path = folder / "model.safetensors"
        try:
            model.load_state_dict({name: value.float() for name, value in load_file(path).items()})
        except (OSError, SafetensorError, RuntimeError) as error:
            raise WeightsError(
                f"{path}: no weights of this pose VAE ({error}); train or install them again"
            ) from error
        model.digest = file_digest(path)
        return model.eval().requires_grad_(False).to(device)

    def save(self, folder: str | Path) -> None:
        """Write config.json and half-precision model.safetensors."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        config = {"kind": "pose_vae", "latent": self.config.latent, "hidden": self.config.hidden}
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        state = {name: value.detach().half().contiguous() for name, value in self.state_dict().items()}
        save_file(state, folder / "model.safetensors")

    def posterior(self, rot6d: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance (B, 32) of the latent of rot6d (B, 21, 6)."""
        mean, log_variance = self.encoder(rot6d.flatten(-2) - self.mean).chunk(2, dim=-1)
        return mean, log_variance.clamp(-12.0, 4.0)

    def encode(self, rot6d: Tensor) -> Tensor:
        """Return the mean latent (B, 32) of joint rotations (B, 21, 6), without the pelvis."""
        return self.posterior(rot6d)[0]

    def encode_rotations(self, rotations: Tensor) -> Tensor:
        """Return the mean latent (B, 32) of rotation matrices (B, 21, 3, 3)."""
        return self.encode(matrix_to_6d(rotations))

    def decode(self, latent: Tensor) -> Tensor:
        """Return joint rotations (B, 21, 3, 3) relative to the parents for latents (B, 32); differentiable."""
        return sixd_to_matrix((self.decoder(latent) + self.mean).unflatten(-1, (JOINTS, 6)))


@dataclass(frozen=True)
class PoseCodebook:
    """Poses that stand for the whole data set, each a frame of it seen through the prior.

    latents: (N, 32) of `PoseVAE`.
    roots: (N, 6) the pelvis's attitude as a 6D rotation with its heading taken out.
    heights: (N,) pelvis over the ground, metres, on the data's skeleton.
    labels, captions: words of the clip each came from; for people to read, never for scoring.
    authored: whether that clip was written as key poses instead of captured.
    digest: of the file.
    """

    latents: Tensor
    roots: Tensor
    heights: Tensor
    labels: tuple[str, ...]
    captions: tuple[tuple[str, ...], ...]
    authored: tuple[bool, ...]
    digest: str

    def __len__(self) -> int:
        return len(self.latents)

    @classmethod
    def load(cls, folder: str | Path | None = None) -> "PoseCodebook":
        """Load codebook.safetensors and codebook.json from `folder` (by default the shipped weights).

        Raises WeightsError when the files are missing or do not fit each other.
        """
        folder = Path(folder) if folder is not None else weights_folder("pose_vae")
        path = folder / "codebook.safetensors"
        try:
            tensors = {name: value.float() for name, value in load_file(path).items()}
            words = read_json((folder / "codebook.json").read_text(encoding="utf-8"))
            clips = words["clips"]
            labels = tuple(clips[index]["label"] for index in words["clip"])
            captions = tuple(tuple(clips[index]["captions"]) for index in words["clip"])
            authored = tuple(bool(clips[index].get("authored")) for index in words["clip"])
            book = cls(
                tensors["latents"], tensors["roots"], tensors["heights"], labels, captions, authored, file_digest(path)
            )
        except (OSError, SafetensorError, ValueError, KeyError, IndexError) as error:
            raise WeightsError(f"{path}: no pose codebook ({error}); build or install it again") from error
        if len(labels) != len(book.latents):
            raise WeightsError(
                f"{path}: {len(book.latents)} poses but {len(labels)} labels; build the codebook again"
            )
        return book

    def rotations(
        self, vae: PoseModel, index: Tensor | None = None, device: torch.device | str = "cpu"
    ) -> Tensor:
        """Return local rotations (n, 22, 3, 3), pelvis included, of the entries `index` (n,) (by default all).

        vae: the model that the latents are of; device: where it is.
        """
        latents, roots = (
            (self.latents, self.roots) if index is None else (self.latents[index], self.roots[index])
        )
        with torch.no_grad():
            body = vae.decode(latents.to(device))
        root = sixd_to_matrix(roots.to(body.device))
        return torch.cat([root[:, None], body], dim=1)
