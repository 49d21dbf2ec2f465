"""AvatarCLIP's motion prior: the decoder of a transformer VAE that users bring (Hong et al. 2022, after ACTOR).

A 256-d latent becomes 60 frames of SMPL-X's 55 joints, of which AvatarCLIP and we use the body's 21: the pelvis stands
upright at its place, since the file says nothing of where it goes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from avatar_core.bodies.rotations import sixd_to_matrix
from avatar_core.priors.checkpoint_tensors import below, checked
from avatar_core.priors.foot_contacts import find_contacts
from avatar_core.priors.kinematics import forward_kinematics
from avatar_core.priors.motion_data import FPS, JOINTS
from avatar_core.priors.motion_vae import data_skeleton

FRAMES, LATENT, LAYERS, HEADS = 60, 256, 4, 4
SMPLX_JOINTS = 55
_PLACES = 5000
_PREFIX, _LAYERS, _READOUT = "decoder.", "decoder.seqTransDecoder.", "decoder.final."
_PLACES_NAME = "decoder.pos_encoder.pe"


class AvatarClipMotion(nn.Module):
    """The decoder; there is no use for the encoder.

    rest_joints: (22, 3) buffer, the skeleton of the embedded priors, on which the motion is put on the ground, metres.
    """

    places: Tensor
    rest_joints: Tensor
    frames, latent_size = FRAMES, LATENT

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerDecoderLayer(LATENT, HEADS, 4 * LATENT, activation="gelu")
        self.layers = nn.TransformerDecoder(layer, LAYERS)
        self.readout = nn.Linear(LATENT, 6 * SMPLX_JOINTS)
        self.register_buffer("places", torch.zeros(FRAMES, LATENT))
        self.register_buffer("rest_joints", data_skeleton(), persistent=False)
        self.digest = ""

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], digest: str, device: torch.device | str = "cpu") -> AvatarClipMotion:
        """Return the model with what `read_motion` found, ready for inference."""
        model = cls()
        model.load_state_dict(dict(tensors))
        model.digest = digest
        return model.eval().requires_grad_(False).to(device)

    def decode(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Return rotations (B, 60, 22, 3, 3) and pelvis positions (B, 60, 3) in metres; differentiable.

        The pelvis is upright at x = z = 0, and every frame's lowest joint on the ground.
        """
        queries = self.places[:, None].expand(-1, len(latent), -1)
        written = self.readout(self.layers(queries, latent[None])).transpose(0, 1)
        rows = written.unflatten(-1, (SMPLX_JOINTS, 6))[:, :, 1:JOINTS]
        body = sixd_to_matrix(rows).mT  # its six numbers are the first two rows, ours the first two columns
        upright = torch.eye(3, dtype=body.dtype, device=body.device).expand(*body.shape[:2], 1, 3, 3)
        rotations = torch.cat([upright, body], dim=2)
        still = rotations.new_zeros(*rotations.shape[:2], 3)
        lowest = forward_kinematics(rotations, still, self.rest_joints)[..., 1].amin(-1)
        return rotations, torch.stack([still[..., 0], -lowest, still[..., 2]], dim=-1)

    @torch.no_grad()
    def contacts(self, latent: Tensor) -> Tensor:
        """Return which feet stand, left and right, in the motions of latents (B, 256), as (B, 60, 2) bool."""
        joints = forward_kinematics(*self.decode(latent), self.rest_joints)
        return find_contacts(joints, self.rest_joints, FPS).standing


def is_motion(state: Mapping[str, Any]) -> bool:
    """Tell whether a state dict may be AvatarCLIP's motion VAE."""
    return any(name.startswith(_LAYERS) for name in state)


def motion_layout() -> dict[str, tuple[int, ...]]:
    """Return the shapes of the decoder's tensors by their authors' names."""
    ours = {name: tuple(value.shape) for name, value in AvatarClipMotion().state_dict().items() if name != "places"}
    return {_theirs(name): shape for name, shape in ours.items()} | {_PLACES_NAME: (_PLACES, 1, LATENT)}


def read_motion(state: Mapping[str, Any], source: str) -> dict[str, Tensor]:
    """Return the decoder's tensors, by our names, out of a state dict; whatever is not under `decoder.` is left.

    Raises WeightsError, which names the tensors that do not fit.
    """
    layout = motion_layout()
    found = checked(source, "AvatarCLIP's motion VAE", below(state, _PREFIX), layout)
    places = found.pop(_PLACES_NAME)[:FRAMES, 0].contiguous()
    names = {_theirs(name): name for name in AvatarClipMotion().state_dict()}
    return {names[name]: value for name, value in found.items()} | {"places": places}


def _theirs(name: str) -> str:
    part, _, rest = name.partition(".")
    return (_LAYERS if part == "layers" else _READOUT) + rest
