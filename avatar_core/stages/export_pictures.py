"""The pictures and films of a finished avatar, and of how its texturing went."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from avatar_core.bodies.rig import Rig
from avatar_core.export.learning import learning_curves
from avatar_core.export.media import MediaConfig, write_motion, write_preview, write_turntable
from avatar_core.export.mesh import TriangleMesh
from avatar_core.export.optimisation_film import write_optimisation
from avatar_core.rigging.retarget import RiggedClip
from avatar_core.rigging.skinning import Skin
from avatar_core.stages.texturing_result import TexturedAvatar

CURVES, FILM = "learning.png", "optimisation.mp4"
PICTURES = ("preview.png", "turntable.mp4", "motion.mp4", "motion.webp", FILM, CURVES)
"""Names of the files that `pictures` makes."""


@dataclass(frozen=True)
class RiggedAvatar:
    """A skinned mesh with its clip: what every format is written from."""

    mesh: TriangleMesh
    skin: Skin
    clip: RiggedClip
    rig: Rig


class Steps:
    """Progress over a known number of steps, and the seconds of each part."""

    def __init__(self, stage: str, progress: Callable[[int, int, str], None], total: int) -> None:
        self._stage, self._progress, self._total, self._done = stage, progress, total, 0
        self.seconds: dict[str, float] = {}
        """By part, with the stage's name before it."""

    def advance(self, note: str) -> None:
        """Tell that another step is done."""
        self._done += 1
        self._progress(self._done, self._total, note)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Measure how long the block takes."""
        start = time.perf_counter()
        yield
        self.seconds[f"{self._stage}.{name}"] = round(time.perf_counter() - start, 3)


def pictures(
    avatar: RiggedAvatar,
    prompts: Mapping[str, str],
    textured: TexturedAvatar,
    config: MediaConfig,
    device: torch.device,
    steps: Steps,
) -> dict[str, bytes]:
    """Return the contents of PICTURES.

    Args:
        avatar: what is photographed.
        prompts: the row's texts, which the preview shows.
        textured: with the film and the history of its texturing.
        config: sizes.
        device: where to render.
        steps: is told each step: three, and the frames of turntable and motion.
    Raises:
        AvatarError: ffmpeg is missing.
    """
    with tempfile.TemporaryDirectory(prefix="avatar-") as scratch:
        _photograph(Path(scratch), avatar, prompts, config, device, steps)
        _tell_the_course(Path(scratch), textured, config, steps)
        return {path.name: path.read_bytes() for path in sorted(Path(scratch).iterdir())}


def _photograph(
    folder: Path,
    avatar: RiggedAvatar,
    prompts: Mapping[str, str],
    config: MediaConfig,
    device: torch.device,
    steps: Steps,
) -> None:
    mesh, skin, clip = avatar.mesh, avatar.skin, avatar.clip
    captions = [(name, prompts[name]) for name in ("shape", "appearance", "motion")]
    with steps.part("preview"):
        write_preview(folder / "preview.png", mesh, skin, clip, captions, config, device)
        steps.advance("preview")
    with steps.part("turntable"):
        write_turntable(folder / "turntable.mp4", mesh, config, device, lambda frame: steps.advance("turntable"))
    with steps.part("motion_film"):
        path = folder / "motion.mp4"
        write_motion(path, mesh, skin, clip, config, device, lambda frame: steps.advance("motion film"))


def _tell_the_course(folder: Path, textured: TexturedAvatar, config: MediaConfig, steps: Steps) -> None:
    """Write the film and the learning curves of texturing."""
    with steps.part("optimisation_film"):
        write_optimisation(folder / FILM, textured.film.frames, textured.film.labels, config.video_height)
        notes = [(event.step, event.told()) for event in textured.events]
        size = (config.curves_height, config.curves_width)
        learning_curves(textured.history, notes, size).save(folder / CURVES, format="PNG")
        steps.advance("optimisation film")
