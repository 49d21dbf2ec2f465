"""What the models, data and packages behind an avatar allow."""

from avatar_core.licences.packages import PackageFacts, ffmpeg_facts, installed_packages
from avatar_core.licences.registry import COMMERCIAL, Commercial, Datum, Licence, Model, Registry, registry
from avatar_core.licences.terms import Terms, strictest, terms_of_data, terms_of_weights

__all__ = [
    "COMMERCIAL",
    "Commercial",
    "Datum",
    "Licence",
    "Model",
    "PackageFacts",
    "Registry",
    "Terms",
    "ffmpeg_facts",
    "installed_packages",
    "registry",
    "strictest",
    "terms_of_data",
    "terms_of_weights",
]
