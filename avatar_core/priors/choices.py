"""Which priors the settings choose, the embedded ones or brought ones, and how they are loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import torch
from torch import Tensor

from avatar_core.bodies.rotations import matrix_to_6d
from avatar_core.errors import ConfigError, WeightsError
from avatar_core.priors.avatarclip_flow import FEATURE, AvatarClipFlow
from avatar_core.priors.avatarclip_motion import AvatarClipMotion
from avatar_core.priors.body_codebook import shape_codebook_of
from avatar_core.priors.brought import find_prior, load_prior, prior_folder
from avatar_core.priors.kinematics import forward_kinematics
from avatar_core.priors.motion_prior import MotionModel
from avatar_core.priors.motion_vae import MotionCodebook, MotionVAE, data_skeleton
from avatar_core.priors.pose_prior import PoseModel
from avatar_core.priors.pose_vae import PoseCodebook, PoseVAE
from avatar_core.priors.real_nvp import ConditionalRealNvp
from avatar_core.priors.vposer import VPoser
from avatar_core.rendering.backends import DEFAULT_RENDERER
from avatar_core.seeds import torch_generator

if TYPE_CHECKING:
    from avatar_core.bodies import BodyModel
    from avatar_core.perception.encoder import Encoder

EMBEDDED: Final = "embedded"
PosePriorName = Literal["embedded", "vposer", "avatarclip", "own"]
"""`vposer` sees the shipped poses through VPoser; `avatarclip` has AvatarCLIP's own codebook (and flow) over VPoser."""
MotionPriorName = Literal["embedded", "avatarclip", "own"]
ShapePriorName = Literal["embedded", "avatarclip"]

_USUAL = (("prior", EMBEDDED), ("renderer", DEFAULT_RENDERER))

BroughtFacts = tuple[tuple[str, str, str], ...]
"""Name, digest and licence of each prior that a result comes from and that its user brought."""

DRAWN = 256
"""Motions that stand for a motion prior that came without any: latents drawn from its unit Gaussian."""

_READS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("candidate_poses", "vposer"): ("vposer",),
    ("candidate_poses", "avatarclip"): ("vposer", "avatarclip-poses"),
    ("candidate_poses", "own"): ("own-poses",),
    ("motion", "avatarclip"): ("avatarclip-motion",),
    ("motion", "own"): ("own-motion",),
    ("coarse_shape", "avatarclip"): ("avatarclip-shape-vae", "avatarclip-shapes"),
}


def without_embedded(written: dict[str, Any]) -> dict[str, Any]:
    """Return settings as they are written down: the entries `prior` and `renderer` only where they are brought ones,
    since settings that were written before there was a choice mean the embedded ones."""
    return {name: value for name, value in written.items() if (name, value) not in _USUAL}


def brought_reads(stage: str, config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the brought priors that a stage reads with its settings `config`."""
    prior = config.get("prior", EMBEDDED)
    flow = ("avatarclip-flow",) if prior == "avatarclip" and config.get("method") == "realnvp" else ()
    return (*_READS.get((stage, prior), ()), *flow)


def brought_facts(stage: str, config: Mapping[str, Any]) -> BroughtFacts:
    """Return what is recorded of each of `brought_reads`; raises ConfigError where one is not here."""
    return tuple(find_prior(name).facts for name in brought_reads(stage, config))


def read_facts(facts: Mapping[str, Any]) -> BroughtFacts:
    """Return the entry `brought` of a result's JSON, which is left out where there is none."""
    return tuple((str(name), str(digest), str(licence)) for name, digest, licence in facts.get("brought", ()))


def load_pose_model(prior: str = EMBEDDED, device: torch.device | str = "cpu") -> PoseModel:
    """Return the pose model that a setting names; raises ConfigError when it is not here, WeightsError when damaged."""
    if prior == EMBEDDED:
        return PoseVAE.load(device=device)
    if prior == "own":
        return PoseVAE.load(prior_folder("own-poses")[1], device)
    record, tensors = load_prior("vposer")
    return VPoser.of(tensors, record.digest, device)


@torch.no_grad()
def load_pose_codebook(prior: str = EMBEDDED) -> PoseCodebook:
    """Return the poses that a setting names, as latents of its pose model; raises as `load_pose_model` does.

    VPoser comes without a codebook: the shipped one's poses are seen through it.
    """
    if prior == EMBEDDED:
        return PoseCodebook.load()
    if prior == "own":
        return PoseCodebook.load(prior_folder("own-poses")[1])
    model = load_pose_model(prior)
    if prior == "vposer":
        shipped, vae = PoseCodebook.load(), PoseVAE.load()
        return PoseCodebook(
            latents=model.encode_rotations(shipped.rotations(vae)[:, 1:]),
            roots=shipped.roots,
            heights=shipped.heights,
            labels=shipped.labels,
            captions=shipped.captions,
            authored=shipped.authored,
            digest=_joined(shipped.digest, vae.digest, model.digest),
        )
    record, tensors = load_prior("avatarclip-poses")
    latents = tensors["latents"]
    count, upright = len(latents), torch.eye(3).expand(len(latents), 1, 3, 3)
    rotations = torch.cat([upright, model.decode(latents)], dim=1)
    joints = forward_kinematics(rotations, torch.zeros(count, 3), data_skeleton())
    return PoseCodebook(
        latents=latents,
        roots=matrix_to_6d(upright[:, 0]),
        heights=-joints[..., 1].amin(-1),
        labels=("",) * count,
        captions=((),) * count,
        authored=(False,) * count,
        digest=record.digest,
    )


def draw_pose_latents(
    prior: str, target: Tensor, prompt: str, count: int, *,
    generator: torch.Generator, temperature: float, encoder: Encoder, pose_model: PoseModel,
) -> Tensor:  # fmt: skip
    """Draw latents (count, 32) of a pose model that a text makes likely, from the flow that goes with the prior.

    Args:
        prior: the setting.
        target: (D,) unit text feature of `prompt`.
        generator: on the CPU.
        temperature: standard deviation of the noise.
        encoder, pose_model: that are in use.
    Raises:
        ConfigError: AvatarCLIP's flow is not here.
        WeightsError: there is no flow for this encoder and pose model.
    """
    if prior != "avatarclip":
        ours = ConditionalRealNvp.load(encoder=encoder.digest, pose_vae=pose_model.digest, device=target.device)
        return ours.sample(target, count, generator, temperature)
    if encoder.dim != FEATURE:
        raise WeightsError(
            f"AvatarCLIP's flow reads the {FEATURE} numbers of CLIP ViT-B/32's texts; the encoder {encoder.name} gives "
            f"{encoder.dim}. Run with --encoder openai/clip-vit-base-patch32, or choose another candidate_poses.method"
        )
    flow = AvatarClipFlow.of(load_prior("avatarclip-flow")[1], target.device)
    return flow.sample(target * encoder.text_length(prompt), count, generator, temperature)


def load_motion_model(prior: str = EMBEDDED, device: torch.device | str = "cpu") -> MotionModel:
    """Return the motion model that a setting names; raises ConfigError when it is not here, WeightsError when
    damaged."""
    if prior == EMBEDDED:
        return MotionVAE.load(device=device)
    if prior == "own":
        return MotionVAE.load(prior_folder("own-motion")[1], device)
    record, tensors = load_prior("avatarclip-motion")
    return AvatarClipMotion.of(tensors, record.digest, device)


def load_motion_codebook(prior: str = EMBEDDED) -> MotionCodebook:
    """Return the motions that a setting names, as latents of its motion model; raises as `load_motion_model` does.

    AvatarCLIP's prior comes without a codebook: its motions are drawn from its unit Gaussian, always the same ones.
    """
    if prior == EMBEDDED:
        return MotionCodebook.load()
    if prior == "own":
        return MotionCodebook.load(prior_folder("own-motion")[1])
    model = load_motion_model(prior)
    latents = torch.randn(DRAWN, model.latent_size, generator=torch_generator(0, "motion", "drawn codebook"))
    empty = ("",) * DRAWN
    return MotionCodebook(
        latents, empty, ((),) * DRAWN, (False,) * DRAWN, _joined("drawn", str(DRAWN), model.digest)
    )


@dataclass(frozen=True)
class ShapeEntries:
    """Shapes of a body that stand for all of them.

    betas: (N, S) shape vectors of the body.
    digest: of what they come from.
    """

    betas: Tensor
    digest: str

    def __len__(self) -> int:
        return len(self.betas)


def check_shapes_of(body: str, prior: str) -> None:
    """Raise ConfigError unless a prior's shapes are of the body called `body`."""
    if prior == "avatarclip" and body != "smpl":
        raise ConfigError(
            f"AvatarCLIP's shapes are SMPL's, and the body is {body}: run with --body smpl, or leave out "
            "coarse_shape.prior"
        )


def load_shapes(body: BodyModel, prior: str = EMBEDDED) -> ShapeEntries:
    """Return the shapes of a body that a setting names.

    Raises ConfigError when the prior is not here or is of another body, WeightsError when it is damaged.
    """
    if prior == EMBEDDED:
        book = shape_codebook_of(body)
        return ShapeEntries(book.betas, book.digest)
    check_shapes_of(body.name, prior)
    from avatar_core.priors.avatarclip_shapes import betas_of

    vae, tensors = load_prior("avatarclip-shape-vae")
    record, book_tensors = load_prior("avatarclip-shapes")
    betas = betas_of(book_tensors["latents"], tensors["axes"], tensors["offset"])
    return ShapeEntries(betas, _joined(vae.digest, record.digest))


def _joined(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()
