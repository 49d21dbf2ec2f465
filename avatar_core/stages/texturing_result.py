"""What texturing gives: the learned field, what was worn, and how the scores went."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from avatar_core.bodies.base import BodyModel
from avatar_core.documents import read_json
from avatar_core.errors import ArtifactError
from avatar_core.export.surface import SmoothSurface
from avatar_core.fields import AvatarField
from avatar_core.stages.outfit_paint import PaintedSurface
from avatar_core.stages.texturing_film import Film
from avatar_core.stages.texturing_recovery import Event


@dataclass(frozen=True, eq=False)
class TexturedAvatar:
    """A sculpted and coloured field over the body of `betas`."""

    betas: Tensor
    """(S,) shape vector."""
    state: dict[str, Tensor]
    """The field's state; the body's sampled distance is left out, as it follows from the body."""
    score_before: float
    """Mean cosine of the fixed views with their prompts, before."""
    score_after: float
    """The same, after."""
    outfit: dict[str, Any]
    """What the search chose: kind and colour of each garment, and its score; empty without a search."""
    history: list[dict[str, float]]
    """Each step's number, loss and parts of the loss before weighting."""
    film: Film
    """What the avatar looked like on the way."""
    events: tuple[Event, ...] = ()
    """Where the run went back or ended early, and why."""
    regions: tuple[str, ...] = ()
    """Names of the wearables that the field's regions are, in their order; empty without a search."""

    @property
    def volumes(self) -> Tensor:
        """What stands away from the body: (M, 12), see `garment_volume`."""
        return self.state["base.volumes"]

    def field(self, body: BodyModel) -> AvatarField:
        """Rebuild the field over `body`; raises ArtifactError when it belongs to another body."""
        return AvatarField.from_state(body, self.betas.to(body.template.device), self.state)

    def surface(self, body: BodyModel) -> SmoothSurface:
        """The avatar as its final mesh shows it: the field, its outfit cut point by point where it has one."""
        field = self.field(body)
        return PaintedSurface(field, body, self.regions) if self.regions else field

    def save(self, folder: Path) -> None:
        """Write the avatar into an existing folder."""
        tensors = {f"field.{name}": value.contiguous() for name, value in self.state.items()}
        save_file(tensors | {"betas": self.betas.cpu().contiguous()}, folder / "textured.safetensors")
        facts = {
            "score_before": self.score_before,
            "score_after": self.score_after,
            "outfit": self.outfit,
            "history": self.history,
            "regions": self.regions,
            "events": [asdict(event) for event in self.events],
            "film": self.film.labels,
        }
        (folder / "film.png").write_bytes(self.film.png())
        (folder / "textured.json").write_text(json.dumps(facts, sort_keys=True), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> TexturedAvatar:
        """Read what `save` wrote; raises ArtifactError when it is missing or damaged."""
        try:
            tensors = load_file(folder / "textured.safetensors")
            facts = read_json((folder / "textured.json").read_text(encoding="utf-8"))
            betas: torch.Tensor = tensors.pop("betas")
            state = {name.removeprefix("field."): value for name, value in tensors.items()}
            facts["regions"] = tuple(facts["regions"])
            facts["events"] = tuple(Event(**event) for event in facts["events"])
            facts["film"] = Film.from_png((folder / "film.png").read_bytes(), facts["film"])
            return cls(betas=betas, state=state, **facts)
        except (ArtifactError, SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
            raise ArtifactError(
                f"{folder} holds no textured avatar ({error}); run texturing again"
            ) from error
