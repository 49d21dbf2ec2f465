"""AvatarCLIP's configuration files, read into presets of this project."""

from avatar_core.avatarclip.importing import Imported, import_conf

__all__ = ["Imported", "import_conf"]
