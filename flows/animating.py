"""A motion of the user's on a finished avatar: a GLB with the clip, and a film of it."""

import contextlib
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from avatar_core.documents import read_json
from avatar_core.errors import ArtifactError, CatalogError
from flows.finished import MODEL, REPORT, finished_folder

if TYPE_CHECKING:
    from avatar_core.bodies import BodyModel
    from avatar_core.export.clip_facts import ClipFacts
    from avatar_core.export.finished import FinishedAvatar
    from avatar_core.rigging.clip import Clip

FOLDER = "animations"
"""Below the avatar's folder."""


@dataclass(frozen=True)
class AnimateRequest:
    """What is wanted."""

    library: str
    avatar_id: str
    motion: str
    """A .bvh, .npz or .glb file, or the id of another avatar of the library."""
    clip: str | None = None
    """Which clip of an avatar's; None: its first."""
    name: str | None = None
    """Of the new clip; None: the file's."""
    start: float = 0.0
    seconds: float | None = None
    out: str | None = None
    """Folder that gets a folder for the avatar; None: the avatar's own folder."""
    video: bool = True


@dataclass(frozen=True)
class Animated:
    """What was made."""

    files: tuple[str, ...]
    """Paths or URLs."""
    clip: str
    facts: "ClipFacts"


def animate(request: AnimateRequest, device: str = "cpu", step: Callable[[int, int], None] | None = None) -> Animated:
    """Carry out a request; `step` is told the frames that are filmed and their number.

    Raises MotionDataError for a motion that cannot be used, and CatalogError and ArtifactError for such an avatar.
    """
    from avatar_core.export.clip_facts import clip_facts
    from avatar_core.export.finished import read_finished
    from avatar_core.export.recorded_motion import fit_motion, read_motion, rig_of

    folder = finished_folder(request.library, request.avatar_id, request.out)
    with folder.local(MODEL, REPORT) as local:
        avatar, betas = read_finished(local / MODEL, name=request.avatar_id), _betas(local / REPORT)
    with _motion_file(request) as path:
        motion = read_motion(path, request.clip)
    body = _body(avatar)
    clip = fit_motion(
        request.motion, motion, avatar, body, rig_of(avatar, body, betas), start=request.start, seconds=request.seconds
    )
    title = request.name or request.clip or Path(request.motion).stem
    others = {name: other for name, other in avatar.clips.items() if name != title}
    with tempfile.TemporaryDirectory(prefix="avatar-") as scratch:
        stem = Path(scratch) / file_stem(title)
        stem.with_name(f"{stem.name}.glb").write_bytes(replace(avatar, clips={title: clip, **others}).to_glb())
        if request.video:
            _film(stem.with_name(f"{stem.name}.mp4"), avatar, clip, device, step or (lambda done, total: None))
        names = sorted(path.name for path in Path(scratch).iterdir())
        for name in names:
            folder.target.upload(Path(scratch) / name, f"{FOLDER}/{name}")
    files = tuple(f"{folder.target.url.rstrip('/')}/{FOLDER}/{name}" for name in names)
    return Animated(files, title, clip_facts(avatar, clip))


def file_stem(title: str) -> str:
    """Return a clip's name as the name of a file on any system."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", title).strip("-.")[:80] or "clip"


@contextlib.contextmanager
def _motion_file(request: AnimateRequest) -> Iterator[Path]:
    """Yield the file that holds the motion: the path that was given, else the model of the avatar of that name."""
    path = Path(request.motion).expanduser()
    if path.is_file() or path.suffix.lower() in (".bvh", ".npz", ".glb"):
        yield path
        return
    try:
        with finished_folder(request.library, request.motion).local(MODEL) as local:
            yield local / MODEL
    except CatalogError as error:
        raise CatalogError(
            f"--motion {request.motion}: neither a .bvh, .npz or .glb file nor a finished avatar of {request.library}."
        ) from error


def _betas(report: Path) -> dict[str, float]:
    """Return the shape vector that a report tells, by its labels."""
    try:
        return {str(label): float(value) for label, value in read_json(report.read_bytes())["body"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{report}: tells no body shape ({error}); make the avatar again") from error


def _body(avatar: "FinishedAvatar") -> "BodyModel":
    """Load the body model that an avatar was made with."""
    from avatar_core.bodies import load_body

    try:
        return load_body(str(avatar.extras["weights"]["body"]["name"]))
    except (KeyError, TypeError) as error:
        raise ArtifactError(f"{avatar.name}: its file does not name its body model; make the avatar again") from error


def _film(
    path: Path, avatar: "FinishedAvatar", clip: "Clip", device: str, step: Callable[[int, int], None]
) -> None:
    import torch

    from avatar_core.export.media import MediaConfig, write_motion

    write_motion(
        path, avatar.mesh, avatar.skin, clip, MediaConfig(), torch.device(device),
        lambda done: step(done, len(clip)),
    )  # fmt: skip
