"""Body models behind one interface: the embedded Anny, and what users bring."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import torch

from avatar_core.bodies.anny_compact import AnnyCompact
from avatar_core.bodies.base import BodyModel, PosedBody, ShapedBody
from avatar_core.errors import ConfigError

BODY_NAMES: tuple[str, ...] = ("anny",)


def load_body(name: str = "anny", device: torch.device | str = "cpu") -> BodyModel:
    """Load the body model called `name`; raises ConfigError when there is none of that name."""
    if name != "anny":
        raise ConfigError(f"body {name!r} is unknown; this version has: {', '.join(BODY_NAMES)}")
    return AnnyCompact(Path(str(files("avatar_core") / "weights" / "anny_compact")), device)


__all__ = ["BODY_NAMES", "BodyModel", "PosedBody", "ShapedBody", "load_body"]
