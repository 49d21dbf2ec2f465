"""What an avatar was made with: versions of the software, digests and licences of the weights."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import re
from importlib.resources import files
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from avatar_core import __version__

PACKAGES = ("torch", "numpy", "scipy", "warp-lang", "PyMCubes", "fast-simplification", "pygltflib", "trimesh")
GENERATOR = f"avatar-foundry {__version__}"
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
    """As its card says."""


def versions() -> dict[str, str]:
    """Return the versions of Python, this project and the packages that shape its output."""
    found = {"python": platform.python_version(), "avatar_core": __version__}
    return found | {name: importlib.metadata.version(name) for name in PACKAGES}


def used_weights(
    *, body: tuple[str, str], encoder: tuple[str, str], body_licence: str | None = None
) -> dict[str, WeightFacts]:
    """Return digest and licence of every model behind an avatar, by its role.

    Args:
        body: name and digest of the body model.
        encoder: name and digest of the image-text encoder.
        body_licence: of a body model that was brought, whose shape codebook is its own; None: as its card says.
    """
    root = Path(str(files("avatar_core") / "weights"))
    found = {}
    for role, (name, digest) in {"body": body, "encoder": encoder}.items():
        cards = [root / folder / "card.md" for folder in (name, f"{name}_compact")]
        licence = next((_licence(card) for card in cards if card.is_file()), UNKNOWN_LICENCE)
        if role == "body" and body_licence is not None:
            licence = body_licence
        # A folder's place says nothing to others, and would make equal avatars differ between machines.
        shown = Path(name).name if name.startswith((".", "~", "/")) or Path(name).is_absolute() else name
        found[role] = WeightFacts(name=shown, digest=digest, licence=licence)
    for name in PRIORS if body_licence is None else PRIORS[1:]:
        summed = hashlib.sha256()
        for path in sorted((root / name).glob("*.safetensors")):
            summed.update(path.read_bytes())
        licence = _licence(root / name / "card.md")
        found[name] = WeightFacts(name=name, digest=summed.hexdigest(), licence=licence)
    return found


def _licence(card: Path) -> str:
    """The licence that a card names, in a row `| licence | … |`, a line `Licence: …` or a front matter."""
    text = card.read_text(encoding="utf-8") if card.exists() else ""
    row = re.search(r"^[|\-* ]*\**licen[cs]e\**\s*[|:]\s*(.+?)\s*\|?\s*$", text, re.IGNORECASE | re.MULTILINE)
    return row.group(1).strip("* ") if row else "see its card"
