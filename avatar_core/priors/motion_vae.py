"""Variational autoencoder of motion: 60 frames at 30 fps in a 256-d latent.

A transformer encoder and decoder (ACTOR's kind, Petrovich et al. 2021) over tokens of four frames add to a linear
map between the latent and the slow cosines of the motion, which training starts from.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from avatar_core.documents import read_json
from avatar_core.errors import WeightsError
from avatar_core.priors.foot_contacts import find_contacts
from avatar_core.priors.kinematics import face_forward, forward_kinematics
from avatar_core.priors.motion_data import FPS
from avatar_core.priors.motion_features import CONTACTS, FEATURES, cosine_basis, features_to_motion, motion_features
from avatar_core.priors.weights import file_digest, read_config, weights_folder

STRIDE = 4


def data_skeleton() -> Tensor:
    """Return the joints (22, 3) in metres of the skeleton on which the shipped priors were trained.

    Raises WeightsError when the shipped weights are missing or damaged.
    """
    path = weights_folder("motion_vae") / "model.safetensors"
    try:
        with safe_open(path, "pt") as file:
            return file.get_tensor("rest_joints").float()
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: no skeleton of the motion prior ({error}); install the package again") from error


@dataclass(frozen=True)
class MotionVaeConfig:
    """Sizes of the networks."""

    frames: int = 60
    """Frames of a motion; a multiple of four."""
    latent: int = 256
    """Numbers in the latent."""
    width: int = 192
    """Numbers in a token."""
    layers: int = 3
    """Transformer layers of each network."""
    heads: int = 4
    """Attention heads."""
    cosines: int = 24
    """Cosines of the linear path; 24 over 60 frames reach 6 Hz."""
    latent_tokens: int = 4
    """Tokens by which the decoder reads the latent."""


class MotionVAE(nn.Module):
    """Encoder and decoder of whole motions, root motion included.

    rest_joints: (22, 3) buffer, the skeleton on which joint errors were trained and measured, metres.
    """

    mean: Tensor
    weight: Tensor
    rest_joints: Tensor
    basis: Tensor

    def __init__(self, config: MotionVaeConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or MotionVaeConfig()
        width, tokens, flat = config.width, config.frames // STRIDE, config.cosines * FEATURES
        self.linear_in = nn.Linear(flat, config.latent)
        self.linear_out = nn.Linear(config.latent, flat)
        self.patch_in = nn.Conv1d(FEATURES, width, 2 * STRIDE, stride=STRIDE, padding=STRIDE // 2)
        self.patch_out = nn.ConvTranspose1d(width, FEATURES, 2 * STRIDE, stride=STRIDE, padding=STRIDE // 2)
        self.encoder_places = nn.Parameter(torch.zeros(tokens + 2, width))
        self.decoder_places = nn.Parameter(torch.zeros(tokens, width))
        self.encoder = _transformer(config)
        self.decoder = _transformer(config)
        self.mean_head = nn.Linear(width, config.latent)
        self.variance_head = nn.Linear(width, config.latent)
        self.latent_in = nn.Linear(config.latent, config.latent_tokens * width)
        self.register_buffer("mean", torch.zeros(FEATURES))
        self.register_buffer("weight", torch.ones(FEATURES))
        self.register_buffer("rest_joints", torch.zeros(22, 3))
        self.register_buffer("basis", cosine_basis(config.cosines, config.frames), persistent=False)
        self.digest = ""

    @classmethod
    def load(cls, folder: str | Path | None = None, device: torch.device | str = "cpu") -> "MotionVAE":
        """Load from `folder` (by default the shipped weights), ready for inference.

        Raises WeightsError when the files are missing or do not fit.
        """
        folder = Path(folder) if folder is not None else weights_folder("motion_vae")
        model = cls(MotionVaeConfig(**read_config(folder, "motion_vae")))
        path = folder / "model.safetensors"
        try:
            model.load_state_dict({name: value.float() for name, value in load_file(path).items()})
        except (OSError, SafetensorError, RuntimeError) as error:
            raise WeightsError(
                f"{path}: no weights of this motion VAE ({error}); train or install them again"
            ) from error
        model.digest = file_digest(path)
        return model.eval().requires_grad_(False).to(device)

    def save(self, folder: str | Path) -> None:
        """Write config.json and half-precision model.safetensors."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        config = {"kind": "motion_vae", **asdict(self.config)}
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        state = {name: value.detach().half().contiguous() for name, value in self.state_dict().items()}
        save_file(state, folder / "model.safetensors")

    @property
    def frames(self) -> int:
        """Frames of a motion."""
        return self.config.frames

    @property
    def latent_size(self) -> int:
        """Numbers in the latent."""
        return self.config.latent

    def posterior(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance (B, 256) of the latent of motion features (B, 60, 137)."""
        scaled = (features - self.mean) * self.weight
        tokens = self.patch_in(scaled.mT).mT
        asking = self.encoder_places.new_zeros(len(tokens), 2, self.config.width)
        read = self.encoder(torch.cat([asking, tokens], dim=1) + self.encoder_places)
        mean = self.linear_in((self.basis @ scaled).flatten(1)) + self.mean_head(read[:, 0])
        return mean, self.variance_head(read[:, 1]).clamp(-12.0, 4.0)

    def encode(self, rotations: Tensor, translation: Tensor) -> Tensor:
        """Return the mean latent (B, 256) of motions, wherever they start and face.

        rotations: (B, 60, 22, 3, 3) local; translation: (B, 60, 3) pelvis, metres.
        """
        rotations, translation = face_forward(rotations, translation)
        joints = forward_kinematics(rotations, translation, self.rest_joints)
        standing = find_contacts(joints, self.rest_joints, FPS).standing
        return self.posterior(motion_features(rotations, translation, standing))[0]

    def decode_features(self, latent: Tensor) -> Tensor:
        """Return motion features (B, 60, 137) of latents (B, 256)."""
        slow = self.basis.mT @ self.linear_out(latent).unflatten(-1, (self.config.cosines, FEATURES))
        reading = self.latent_in(latent).unflatten(-1, (self.config.latent_tokens, self.config.width))
        places = self.decoder_places.expand(len(latent), -1, -1)
        written = self.decoder(torch.cat([reading, places], dim=1))[:, self.config.latent_tokens :]
        return (slow + self.patch_out(written.mT).mT) / self.weight + self.mean

    def decode(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Return rotations (B, 60, 22, 3, 3) and pelvis positions (B, 60, 3) in metres; differentiable.

        The pelvis starts at x = z = 0 and faces about +Z; heights are those of the data's skeleton.
        """
        return features_to_motion(self.decode_features(latent))

    @torch.no_grad()
    def contacts(self, latent: Tensor) -> Tensor:
        """Return which feet stand, left and right, in the motions of latents (B, 256), as (B, 60, 2) bool."""
        return self.decode_features(latent)[..., CONTACTS] > 0.5


def _transformer(config: MotionVaeConfig) -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(
        config.width,
        config.heads,
        2 * config.width,
        dropout=0.0,
        activation="gelu",
        batch_first=True,
        norm_first=True,
    )
    return nn.TransformerEncoder(layer, config.layers, enable_nested_tensor=False)


@dataclass(frozen=True)
class MotionCodebook:
    """Motions that stand for the whole data set, as latents of `MotionVAE`.

    latents: (N, 256).
    labels, captions: words of the clip each came from; for people to read, never for scoring.
    authored: whether that clip was written as key poses instead of captured.
    digest: of the file.
    """

    latents: Tensor
    labels: tuple[str, ...]
    captions: tuple[tuple[str, ...], ...]
    authored: tuple[bool, ...]
    digest: str

    def __len__(self) -> int:
        return len(self.latents)

    @classmethod
    def load(cls, folder: str | Path | None = None) -> "MotionCodebook":
        """Load codebook.safetensors and codebook.json from `folder` (by default the shipped weights).

        Raises WeightsError when the files are missing or do not fit each other.
        """
        folder = Path(folder) if folder is not None else weights_folder("motion_vae")
        path = folder / "codebook.safetensors"
        try:
            latents = load_file(path)["latents"].float()
            words = read_json((folder / "codebook.json").read_text(encoding="utf-8"))
            clips = [words["clips"][index] for index in words["clip"]]
            labels = tuple(clip["label"] for clip in clips)
            captions = tuple(tuple(clip["captions"]) for clip in clips)
            authored = tuple(bool(clip.get("authored")) for clip in clips)
        except (OSError, SafetensorError, ValueError, KeyError, IndexError) as error:
            raise WeightsError(f"{path}: no motion codebook ({error}); build or install it again") from error
        if len(labels) != len(latents):
            raise WeightsError(f"{path}: {len(latents)} motions but {len(labels)} labels; build it again")
        return cls(latents, labels, captions, authored, file_digest(path))
