"""What an avatar was made with: versions of the software, digests and licences of the weights."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from avatar_core import GENERATOR, __version__
from avatar_core.licences import registry
from avatar_core.licences.cards import card_licence
from avatar_core.licences.terms import CARD_SAYS
from avatar_core.perception.checkpoint_folder import EMBEDDED

__all__ = ["GENERATOR", "PACKAGES", "WeightFacts", "used_weights", "versions", "weight_facts"]

PACKAGES = ("torch", "numpy", "scipy", "warp-lang", "PyMCubes", "fast-simplification", "pygltflib", "trimesh")
UNKNOWN_LICENCE = "brought by the user; see its own terms"
# The shape codebook comes first: it belongs to the embedded body.
PRIORS = ("shape_codebook", "pose_vae", "motion_vae", "view_readers")


class WeightFacts(BaseModel):
    """One model's weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """The model's own name."""
    digest: str
    """sha256, hex."""
    licence: str
    """As the registry of licences has it for weights of this digest; of others, as their own card says, or unknown."""


def versions() -> dict[str, str]:
    """Return the versions of Python, this project and the packages that shape its output."""
    found = {"python": platform.python_version(), "avatar_core": __version__}
    return found | {name: importlib.metadata.version(name) for name in PACKAGES}


REPLACED = {
    "pose_vae": ("avatarclip-poses", "own-poses"),
    "motion_vae": ("avatarclip-motion", "own-motion"),
}
"""Shipped priors, and the brought ones that stand in for them; VPoser alone goes on with the shipped poses."""


def used_weights(
    *,
    body: tuple[str, str],
    encoder: tuple[str, str],
    body_licence: str | None = None,
    priors: Iterable[tuple[str, str, str]] = (),
) -> dict[str, WeightFacts]:
    """Return digest and licence of every model behind an avatar, by its role.

    Args:
        body: name and digest of the body model.
        encoder: name and digest of the image-text encoder.
        body_licence: of a body model that was brought, whose shape codebook is its own; None: as its card says.
        priors: name, digest and licence of each that was brought and used.
    """
    root = Path(str(files("avatar_core") / "weights"))
    brought = None if encoder[0] in EMBEDDED else Path(encoder[0])
    found = {"body": weight_facts(*body), "encoder": weight_facts(*encoder, brought)}
    if body_licence is not None:
        found["body"] = found["body"].model_copy(update={"licence": body_licence})
    added = {name: WeightFacts(name=name, digest=digest, licence=licence) for name, digest, licence in priors}
    shipped = [
        name
        for name in (PRIORS if body_licence is None else PRIORS[1:])
        if not added.keys() & set(REPLACED.get(name, ()))
    ]
    return found | added | {name: weight_facts(name, prior_digest(root / name)) for name in shipped}


def weight_facts(name: str, digest: str, brought: Path | None = None) -> WeightFacts:
    """Return what is known of weights: by their digest, and where that is not known, by the card that came with them.

    The name of a shipped model says nothing on weights of another digest.

    Args:
        name: what the user called them.
        digest: sha256, hex.
        brought: the user's own folder of them, if there is one.
    """
    # A folder's place says nothing to others, and would make equal avatars differ between machines.
    shown = Path(name).name if name.startswith((".", "~", "/")) or Path(name).is_absolute() else name
    known = registry().model(digest)
    if known is not None:
        return WeightFacts(name=shown, digest=digest, licence=known[1].text or known[1].licence)
    said = card_licence(brought)
    return WeightFacts(name=shown, digest=digest, licence=CARD_SAYS + said if said else UNKNOWN_LICENCE)


def prior_digest(folder: Path) -> str:
    """Return the sha256 (hex) over the weights in a folder of one of PRIORS, its features among them."""
    summed = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        summed.update(path.read_bytes())
    return summed.hexdigest()
