"""Body models behind one interface: the embedded Anny, and what users bring."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import torch

from avatar_core.bodies.anny_compact import AnnyCompact
from avatar_core.bodies.base import BodyModel, PosedBody, ShapedBody
from avatar_core.bodies.brought import ADD, brought_names, find_model, load_model
from avatar_core.bodies.smpl import SmplBody
from avatar_core.bodies.smpl_kinds import MODEL_NAMES
from avatar_core.errors import ConfigError

EMBEDDED = "anny"
"""The body that comes in the package."""


def body_names() -> tuple[str, ...]:
    """Return the names of the bodies that are on this machine: the embedded one, and what its user added."""
    return (EMBEDDED, *brought_names())


def check_body(name: str) -> None:
    """Raise ConfigError, which says what to do, unless there is a body of that name on this machine."""
    if name in MODEL_NAMES:
        find_model(name)
    elif name != EMBEDDED:
        raise ConfigError(
            f"body {name!r} is unknown; there are: {', '.join(body_names())}. SMPL, SMPL-H and SMPL-X are added with "
            f"`{ADD}`"
        )


def load_body(name: str = EMBEDDED, device: torch.device | str = "cpu") -> BodyModel:
    """Load the body model called `name`; raises ConfigError when there is none, WeightsError when it is damaged."""
    check_body(name)
    if name == EMBEDDED:
        return AnnyCompact(Path(str(files("avatar_core") / "weights" / "anny_compact")), device)
    return SmplBody(*load_model(name), device)


__all__ = ["EMBEDDED", "BodyModel", "PosedBody", "ShapedBody", "body_names", "check_body", "load_body"]
