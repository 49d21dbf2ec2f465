"""The library behind avatar-foundry: bodies, perception, rendering, fields, priors, stages, storage.

What is listed here is its public Python interface; it is loaded when it is first asked for, as it needs torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from avatar_core.bodies import BodyModel, PosedBody, ShapedBody, body_names, load_body
    from avatar_core.config import Preset, load_preset, preset_names
    from avatar_core.errors import AvatarError
    from avatar_core.fields import AvatarField
    from avatar_core.fields.field_renderer import FieldViews
    from avatar_core.perception.encoder import Encoder, load_encoder
    from avatar_core.pipeline import Pipeline
    from avatar_core.stages.base import StageContext
    from avatar_core.stages.texturing_losses import Loss

__version__ = "0.1.0"
GENERATOR = f"avatar-foundry {__version__}"
"""How files name what made them."""

__all__ = [
    "AvatarError",
    "AvatarField",
    "BodyModel",
    "Encoder",
    "FieldViews",
    "Loss",
    "Pipeline",
    "PosedBody",
    "Preset",
    "ShapedBody",
    "StageContext",
    "body_names",
    "load_body",
    "load_encoder",
    "load_preset",
    "preset_names",
]

_HOMES = {
    "bodies": ("BodyModel", "PosedBody", "ShapedBody", "body_names", "load_body"),
    "config": ("Preset", "load_preset", "preset_names"),
    "errors": ("AvatarError",),
    "fields": ("AvatarField",),
    "fields.field_renderer": ("FieldViews",),
    "perception.encoder": ("Encoder", "load_encoder"),
    "pipeline": ("Pipeline",),
    "stages.base": ("StageContext",),
    "stages.texturing_losses": ("Loss",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
