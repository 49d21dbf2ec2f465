"""features.safetensors: what the encoders see in an avatar's fixed views, for R-precision and for search.

Small enough to lie beside every avatar, so that a library of thousands is compared without rendering anything again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from avatar_core.errors import ArtifactError

NAME = "features.safetensors"
MAX_BYTES = 4 * 2**20
"""Of a file that is read: some hundred times what encoders of today give."""
SEXES = (None, "man", "woman")
"""What prompts can be completed with; see `sex_word`."""
_FACTS = "facts"
"""The only key of the file's metadata: with several, their order would differ from one process to the next."""


@dataclass(frozen=True, eq=False)
class EncoderFeatures:
    """What one encoder sees in B views."""

    name: str
    digest: str
    views: Tensor
    """(B, D) unit vectors."""


@dataclass(frozen=True, eq=False)
class ViewFeatures:
    """What the encoders see in an avatar's fixed views."""

    kinds: tuple[str, ...]
    """Of the prompt that each view is compared with: body, face or back."""
    sex: str | None
    """The word that stood for the wearer in prompts that name clothes alone."""
    encoders: Mapping[str, EncoderFeatures]
    """By role: guide, and judge where there is one."""

    def to_bytes(self) -> bytes:
        """Return the file, in half precision; equal features give equal bytes."""
        facts = {
            "kinds": self.kinds,
            "sex": self.sex,
            "encoders": {role: {"name": one.name, "digest": one.digest} for role, one in self.encoders.items()},
        }
        tensors = {role: one.views.detach().cpu().half().contiguous() for role, one in self.encoders.items()}
        return safetensors.torch.save(tensors, metadata={_FACTS: json.dumps(facts, sort_keys=True)})

    @classmethod
    def from_bytes(cls, content: bytes) -> ViewFeatures:
        """Read what `to_bytes` wrote; raises ArtifactError for anything else."""
        try:
            if len(content) > MAX_BYTES:
                raise ValueError(f"{len(content)} bytes are more than {MAX_BYTES}")
            facts = json.loads(_metadata(content)[_FACTS])
            tensors = safetensors.torch.load(content)
            kinds = tuple(map(str, facts["kinds"]))
            sex = facts["sex"]
            if sex not in SEXES:
                raise ValueError(f"{sex!r} is none of {SEXES}")
            encoders = {
                str(role): EncoderFeatures(str(said["name"]), str(said["digest"]), _unit(tensors[role], len(kinds)))
                for role, said in facts["encoders"].items()
            }
            return cls(kinds, sex, encoders)
        except (safetensors.SafetensorError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise ArtifactError(f"{NAME} holds no features of views ({error}); run export again") from error


def _metadata(content: bytes) -> dict[str, str]:
    """The metadata of a safetensors file: a JSON header after its length in eight bytes."""
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length])["__metadata__"]


def _unit(features: Tensor, views: int) -> Tensor:
    if features.ndim != 2 or len(features) != views or not bool(torch.isfinite(features).all()):
        raise ValueError(f"features of shape {tuple(features.shape)} for {views} views, or not finite")
    return torch.nn.functional.normalize(features.float(), dim=1)
