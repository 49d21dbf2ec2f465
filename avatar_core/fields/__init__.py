"""The implicit avatar: distance and colour fields over a body, and their volume rendering in a thin shell."""

from avatar_core.fields.avatar_field import AvatarField, FieldConfig
from avatar_core.fields.body_sdf import BodySdf, sample_body_sdf
from avatar_core.fields.body_surface import BodySurface, outer_faces
from avatar_core.fields.hash_encoding import HashEncoding
from avatar_core.fields.hash_layout import HashConfig
from avatar_core.fields.positional_network import PositionalConfig

__all__ = [
    "AvatarField",
    "BodySdf",
    "BodySurface",
    "FieldConfig",
    "HashConfig",
    "HashEncoding",
    "PositionalConfig",
    "outer_faces",
    "sample_body_sdf",
]
