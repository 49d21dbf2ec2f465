"""Conditional RealNVP over the pose latent: which poses a text makes likely (Dinh, Sohl-Dickstein, Bengio 2017).

Affine coupling layers turn a latent into unit Gaussian noise and back, exactly, given a direction in an encoder's text
space. AvatarCLIP (Hong et al. 2022) draws candidate poses from such a flow. A flow belongs to one encoder and one pose
VAE; `python -m avatar_core.priors.train_real_nvp` trains one.
"""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from avatar_core.errors import WeightsError
from avatar_core.priors.scoring import away_from_neutral
from avatar_core.priors.weights import file_digest, read_config, weights_folder

LARGEST_LOG_SCALE = 1.5
"""Most by which the logarithm of one coupling's scale can differ from zero, so that no layer explodes."""


@dataclass(frozen=True)
class RealNvpConfig:
    """Sizes of the networks, and what the flow belongs to."""

    latent: int = 32
    """Numbers in the latent of the pose VAE."""
    feature: int = 256
    """Numbers in the encoder's features."""
    embedding: int = 48
    """Numbers that the feature is brought down to before every layer reads them."""
    hidden: int = 96
    """Width of the hidden layer of each coupling's perceptron."""
    layers: int = 8
    """Coupling layers; each changes half of the latent."""
    wordings: int = 2
    """Forms of prompts that it was trained on, each with a mean feature of its own."""
    encoder: str = ""
    """Digest of the encoder whose features it reads."""
    pose_vae: str = ""
    """Digest of the pose VAE whose latents it makes."""


class AffineCoupling(nn.Module):
    """Scales and shifts the numbers that `mask` leaves free by what the kept ones and the condition say."""

    mask: Tensor

    def __init__(self, mask: Tensor, condition: int, hidden: int) -> None:
        """mask: (L,) 1 where a number is kept and read, 0 where it is changed."""
        super().__init__()
        self.register_buffer("mask", mask, persistent=False)
        size = len(mask)
        self.network = nn.Sequential(
            nn.Linear(size + condition, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU()
        )
        self.readout = nn.Linear(hidden, 2 * size)

    def scale_and_shift(self, kept: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-scales and shifts (B, L), zero where numbers are kept, from kept (B, L) and condition (B, C)."""
        raw, shift = self.readout(self.network(torch.cat([kept, condition], dim=-1))).chunk(2, dim=-1)
        free = 1 - self.mask
        return LARGEST_LOG_SCALE * torch.tanh(raw / LARGEST_LOG_SCALE) * free, shift * free

    def forward(self, values: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Return changed values (B, L) and the logarithm (B,) of the Jacobian's determinant."""
        log_scale, shift = self.scale_and_shift(values * self.mask, condition)
        return values * log_scale.exp() + shift, log_scale.sum(-1)

    def inverse(self, values: Tensor, condition: Tensor) -> Tensor:
        """Return what `forward` made into `values` (B, L)."""
        log_scale, shift = self.scale_and_shift(values * self.mask, condition)
        return (values - shift) * (-log_scale).exp()


class ConditionalRealNvp(nn.Module):
    """Density of pose latents given a direction in text space; exact both ways.

    text_means: (wordings, D) buffer, mean features of the prompts that it was trained on.
    """

    text_means: Tensor

    def __init__(self, config: RealNvpConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or RealNvpConfig()
        self.embed = nn.Linear(config.feature, config.embedding)
        masks = coupling_masks(config.latent, config.layers)
        self.couplings = nn.ModuleList(AffineCoupling(mask, config.embedding, config.hidden) for mask in masks)
        self.register_buffer("text_means", torch.zeros(config.wordings, config.feature))
        self.digest = ""

    @classmethod
    def load(
        cls,
        folder: str | Path | None = None,
        *,
        encoder: str,
        pose_vae: str,
        device: torch.device | str = "cpu",
    ) -> "ConditionalRealNvp":
        """Load the flow of `folder` (by default the shipped one), ready for inference.

        encoder, pose_vae: digests of the models that it is to be used with.

        Raises WeightsError when the files are missing or damaged, or belong to another encoder or pose VAE.
        """
        folder = Path(folder) if folder is not None else weights_folder("real_nvp")
        path = folder / "model.safetensors"
        try:
            config = RealNvpConfig(**read_config(folder, "real_nvp"))
        except (TypeError, WeightsError) as error:
            raise WeightsError(f"{folder}: no pose flow ({error}); {_remedy(folder)}") from error
        for name, wanted, owner in (
            ("encoder", encoder, config.encoder),
            ("pose VAE", pose_vae, config.pose_vae),
        ):
            if owner != wanted:
                raise WeightsError(
                    f"{folder}: this pose flow belongs to the {name} {owner[:12]}, not to {wanted[:12]}, which is in "
                    f"use; {_remedy(folder)}"
                )
        try:
            model = cls(config)
            model.load_state_dict({name: value.float() for name, value in load_file(path).items()})
        except (OSError, SafetensorError, RuntimeError) as error:
            raise WeightsError(f"{path}: no weights of this pose flow ({error}); {_remedy(folder)}") from error
        model.digest = file_digest(path)
        return model.eval().requires_grad_(False).to(device)

    def save(self, folder: str | Path) -> None:
        """Write config.json and half-precision model.safetensors."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        config = {"kind": "real_nvp", **asdict(self.config)}
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        state = {name: value.detach().half().contiguous() for name, value in self.state_dict().items()}
        save_file(state, folder / "model.safetensors")

    def to_noise(self, latents: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Return noise (B, L) and the log-determinants (B,) of latents (B, L) given unit directions (B, D)."""
        condition, values = self._condition(directions), latents
        total = latents.new_zeros(len(latents))
        for coupling in self.couplings:
            values, log_determinant = coupling(values, condition)
            total = total + log_determinant
        return values, total

    def to_latents(self, noise: Tensor, directions: Tensor) -> Tensor:
        """Return the latents (B, L) that `to_noise` turns into `noise` (B, L)."""
        condition, values = self._condition(directions), noise
        for coupling in reversed(list(self.couplings)):
            assert isinstance(coupling, AffineCoupling)
            values = coupling.inverse(values, condition)
        return values

    def log_likelihood(self, latents: Tensor, directions: Tensor) -> Tensor:
        """Return the log-density (B,) in nats of latents (B, L) given unit directions (B, D)."""
        noise, log_determinant = self.to_noise(latents, directions)
        size = noise.shape[-1]
        return log_determinant - 0.5 * (noise.square().sum(-1) + size * math.log(2 * math.pi))

    def sample(self, target: Tensor, count: int, generator: torch.Generator, temperature: float = 1.0) -> Tensor:
        """Draw latents (count, L) for a unit text feature (D,).

        generator: on the CPU; temperature: standard deviation of the noise, less than one for likelier poses.
        """
        noise = torch.randn(count, self.config.latent, generator=generator).to(target.device) * temperature
        direction = away_from_neutral(target, self.text_means)
        return self.to_latents(noise, direction.expand(count, -1))

    def _condition(self, directions: Tensor) -> Tensor:
        # A unit vector's numbers are small: scaled, so that the layer starts with inputs of unit variance.
        return torch.tanh(self.embed(directions * self.config.feature**0.5))


def coupling_masks(size: int, layers: int) -> list[Tensor]:
    """Return `layers` masks (size,): odd and even numbers in turn, then first and second halves, and so on."""
    place = torch.arange(size)
    patterns = [place % 2, (place + 1) % 2, place // ((size + 1) // 2), 1 - place // ((size + 1) // 2)]
    return [patterns[layer % len(patterns)].float() for layer in range(layers)]


def _remedy(folder: Path) -> str:
    return (
        f"train one with python -m avatar_core.priors.train_real_nvp --encoder NAME --out {folder}, "
        "or choose another candidate_poses.method"
    )
