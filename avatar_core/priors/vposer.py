"""VPoser v2: a variational autoencoder of body poses that users bring (Pavlakos et al. 2019, human_body_prior).

Reads 21 axis-angle rotations and writes 6D ones; the latent has 32 numbers of unit variance.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from avatar_core.bodies.rotations import matrix_to_axis_angle, sixd_to_matrix
from avatar_core.priors.checkpoint_tensors import below, checked, layout_of
from avatar_core.priors.pose_vae import JOINTS

LATENT, HIDDEN = 32, 512
PREFIX = "vp_model."
"""Of the names in checkpoints of its trainer, which keep a body model beside it."""
_NETWORKS = ("encoder_net.", "decoder_net.")


class VPoser(nn.Module):
    """The networks under their authors' names, so that a checkpoint's tensors fit as they are.

    Without its dropout, which does nothing once it is trained: the places in the two sequences are kept.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder_net = nn.Sequential(
            nn.Flatten(),
            nn.BatchNorm1d(3 * JOINTS),
            nn.Linear(3 * JOINTS, HIDDEN),
            nn.LeakyReLU(),
            nn.BatchNorm1d(HIDDEN),
            nn.Identity(),
            nn.Linear(HIDDEN, HIDDEN),
            nn.Linear(HIDDEN, HIDDEN),
            nn.ModuleDict({"mu": nn.Linear(HIDDEN, LATENT), "logvar": nn.Linear(HIDDEN, LATENT)}),
        )
        self.decoder_net = nn.Sequential(
            nn.Linear(LATENT, HIDDEN),
            nn.LeakyReLU(),
            nn.Identity(),
            nn.Linear(HIDDEN, HIDDEN),
            nn.LeakyReLU(),
            nn.Linear(HIDDEN, 6 * JOINTS),
        )
        self.digest = ""

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], digest: str, device: torch.device | str = "cpu") -> VPoser:
        """Return the model with what `read_vposer` found, ready for inference."""
        model = cls()
        model.load_state_dict(model.state_dict() | dict(tensors))
        model.digest = digest
        return model.eval().requires_grad_(False).to(device)

    def encode_rotations(self, rotations: Tensor) -> Tensor:
        """Return the mean latent (B, 32) of rotation matrices (B, 21, 3, 3); differentiable."""
        hidden = self.encoder_net[:-1](matrix_to_axis_angle(rotations))
        head = self.encoder_net[-1]
        assert isinstance(head, nn.ModuleDict)
        return head["mu"](hidden)

    def decode(self, latent: Tensor) -> Tensor:
        """Return joint rotations (B, 21, 3, 3) relative to the parents for latents (B, 32); differentiable."""
        # Each joint's six numbers are a matrix of three rows: two columns, not one after the other.
        columns = self.decoder_net(latent).unflatten(-1, (JOINTS, 3, 2))
        return sixd_to_matrix(columns.mT.flatten(-2))


def is_vposer(state: Mapping[str, Any]) -> bool:
    """Tell whether a state dict may be VPoser's."""
    return any(name.removeprefix(PREFIX).startswith(_NETWORKS) for name in state)


def read_vposer(state: Mapping[str, Any], source: str) -> dict[str, Tensor]:
    """Return VPoser's tensors out of a state dict, with or without its trainer's prefix.

    Raises WeightsError, which names the tensors that do not fit.
    """
    found = below({name.removeprefix(PREFIX): value for name, value in state.items()}, *_NETWORKS)
    return checked(source, "VPoser v2", found, layout_of(VPoser()))
