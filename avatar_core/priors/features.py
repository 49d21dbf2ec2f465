"""Picture features of the codebooks: shipped for the default encoder, else computed once and cached.

After a change of the default encoder, body or a codebook, write the shipped files again with

    python -m avatar_core.priors.fit_view_readers
    python -m avatar_core.priors.features
"""

import argparse
import hashlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from avatar_core.bodies import EMBEDDED, BodyModel, ShapedBody, load_body
from avatar_core.errors import ConfigError, WeightsError
from avatar_core.priors.choices import EMBEDDED as EMBEDDED_PRIOR
from avatar_core.priors.choices import (
    load_motion_codebook,
    load_motion_model,
    load_pose_codebook,
    load_pose_model,
    load_shapes,
)
from avatar_core.priors.kinematics import without_heading
from avatar_core.priors.motion_prior import MotionModel
from avatar_core.priors.motion_vae import MotionCodebook
from avatar_core.priors.pose_prior import PoseModel
from avatar_core.priors.pose_vae import PoseCodebook
from avatar_core.priors.view_encoders import ViewEncoder, load_view_encoder, shape_views
from avatar_core.priors.views import GreyViews, pose_body
from avatar_core.priors.weights import weights_folder
from avatar_core.rendering.backends import DEFAULT_RENDERER, RendererName
from avatar_core.storage.paths import cache_root, write_atomic

if TYPE_CHECKING:
    from avatar_core.perception.encoder import Encoder

log = logging.getLogger(__name__)

VERSION = 1
"""Of the views below; goes into the key of every features file."""
KEY_FRAMES = (6, 18, 30, 42, 54)
"""Frames of a motion that are looked at."""

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class CodebookViews:
    """One codebook as pictures: where its weights lie, how many entries and frames an entry, and the views."""

    folder: str
    count: int
    digest: str
    frames: int
    images: Callable[[BodyModel, int, tuple[float, ...]], Iterator[Tensor]]
    """From body, edge in pixels and azimuths to the views (V, 3, H, W) of each frame of each entry, in order."""


def codebook_features(
    kind: str, encoder: "Encoder", body: BodyModel, *, prior: str = EMBEDDED_PRIOR,
    renderer: RendererName = DEFAULT_RENDERER, progress: Progress | None = None,
) -> Tensor:  # fmt: skip
    """Return unit features of a codebook's entries: (N, D) of "shape" and "pose", (N, K, D) of "motion".

    Shapes are those of `body`; poses and motions are shown by the embedded body (see `judged_body`). A motion has one
    for each of its K key frames. They are looked for beside the shipped weights, then in the cache; else computed and
    cached, with `progress(done, total, note)`. Rank them with `load_view_encoder(kind).search`. `prior` says whose
    codebook it is (see `priors.choices`), and `renderer` who draws its entries.

    Raises ConfigError for an unknown kind or a prior that is not here, WeightsError when the codebook is missing.
    """
    body = judged_body(kind, body)
    source, view = codebook_views(kind, body, prior, renderer), load_view_encoder(kind, encoder, body, renderer)
    name = f"features-{features_digest(source.digest, view.digest, body.digest, renderer)[:12]}.safetensors"
    cached = cache_root() / "features" / kind / name
    for path in (weights_folder(source.folder) / name, cached):
        found = _read(path, source.count)
        if found is not None:
            return found.to(encoder.device)
    features = compute_features(kind, view, body, prior=prior, renderer=renderer, progress=progress)
    write_atomic(cached, save({"features": features.half().contiguous()}))
    log.info("features of the %s codebook are kept in %s", kind, cached)
    return features.half().float().to(encoder.device)


def judged_body(kind: str, body: BodyModel) -> BodyModel:
    """Return the body that a codebook's pictures show: `body` for shapes, the embedded one for poses and motions.

    What a pose looks like at a reader's few pixels hangs on the pose, not on whose body is in it; so bodies that users
    bring need no pictures of 9,000 poses before their first avatar.
    """
    if kind == "shape" or body.name == EMBEDDED:
        return body
    return load_body(EMBEDDED, body.template.device)


def features_digest(codebook: str, view: str, body: str, renderer: RendererName = DEFAULT_RENDERER) -> str:
    """Key of a features file, 64 hex characters, from the digests of what it depends on, and who drew."""
    drawn = "" if renderer == DEFAULT_RENDERER else f"\x1f{renderer}"  # files are older than the choice
    return hashlib.sha256(f"{VERSION}\x1f{codebook}\x1f{view}\x1f{body}{drawn}".encode()).hexdigest()


@torch.no_grad()
def compute_features(
    kind: str, view: ViewEncoder, body: BodyModel, *,
    prior: str = EMBEDDED_PRIOR, renderer: RendererName = DEFAULT_RENDERER,
    progress: Progress | None = None, batch: int = 32,
) -> Tensor:  # fmt: skip
    """Render and encode every entry of a codebook; the result is as that of `codebook_features`, on the CPU."""
    source = codebook_views(kind, body, prior, renderer)
    total = source.count * source.frames
    pending: list[Tensor] = []
    features: list[Tensor] = []
    for done, images in enumerate(source.images(body, view.image_size, view.azimuths), start=1):
        pending.append(images)
        if len(pending) == batch or done == total:
            features.append(view.encode(torch.stack(pending)).float().cpu())
            pending = []
            if progress is not None:
                progress(done // source.frames, source.count, f"features of the {kind} codebook")
    found = torch.cat(features)
    return found.unflatten(0, (source.count, source.frames)) if kind == "motion" else found


def neutral_body(body: BodyModel) -> ShapedBody:
    """The body on which poses and motions are judged."""
    return body.shape(body.neutral_shape)


def codebook_views(
    kind: str, body: BodyModel, prior: str = EMBEDDED_PRIOR, renderer: RendererName = DEFAULT_RENDERER
) -> CodebookViews:
    """Return a prior's codebook called `kind` as pictures, that of shapes for `body`; raises ConfigError when there is
    none of that name."""
    views = partial(GreyViews, renderer=renderer)
    if kind == "shape":
        book = load_shapes(body, prior)
        return CodebookViews(
            "shape_codebook", len(book), book.digest, 1, lambda b, s, _: _shapes(views(b, s), book.betas)
        )
    if kind == "pose":
        poses, vae = load_pose_codebook(prior), load_pose_model(prior)
        return CodebookViews(
            "pose_vae", len(poses), poses.digest + vae.digest, 1, lambda b, s, a: _poses(views(b, s), a, poses, vae)
        )
    if kind == "motion":
        motions, motion_vae = load_motion_codebook(prior), load_motion_model(prior)
        return CodebookViews(
            "motion_vae",
            len(motions),
            motions.digest + motion_vae.digest,
            len(KEY_FRAMES),
            lambda b, s, a: _motions(views(b, s), a, motions, motion_vae),
        )
    raise ConfigError(f"{kind!r} is no codebook; there are shape, pose and motion")


def _shapes(views: GreyViews, betas: Tensor) -> Iterator[Tensor]:
    for beta in betas.to(views.body.template.device):
        yield shape_views(views, views.body.shape(beta))


def _poses(
    views: GreyViews, azimuths: tuple[float, ...], book: PoseCodebook, vae: PoseModel
) -> Iterator[Tensor]:
    body, shaped = views.body, neutral_body(views.body)
    for index in torch.arange(len(book)).split(16):
        rotations = book.rotations(vae, index).to(body.template.device)
        for vertices in pose_body(body, shaped, rotations):
            yield views.framed(vertices, azimuths)


def _motions(
    views: GreyViews, azimuths: tuple[float, ...], book: MotionCodebook, vae: MotionModel
) -> Iterator[Tensor]:
    body, shaped = views.body, neutral_body(views.body)
    for index in torch.arange(len(book)).split(8):
        rotations, _ = vae.decode(book.latents[index])
        for motion in rotations[:, list(KEY_FRAMES)].to(body.template.device):
            for vertices in pose_body(body, shaped, without_heading(motion)):
                yield views.framed(vertices, azimuths)


def _read(path: Path, count: int) -> Tensor | None:
    if not path.is_file():
        return None
    try:
        features = load_file(path)["features"].float()
    except (OSError, SafetensorError, KeyError) as error:
        log.warning("%s cannot be read (%s): its features are computed again", path, error)
        return None
    return features if len(features) == count else None


def main(arguments: list[str] | None = None) -> None:
    """Compute the features of the shipped codebooks and put them in place of the old ones."""
    from avatar_core.perception.encoder import load_encoder

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", default=["shape", "pose", "motion"], help="codebooks to do")
    parser.add_argument("--encoder", default="bodyclip", help="name or folder of the encoder")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    body, encoder = load_body(), load_encoder(options.encoder)
    for kind in options.kinds:
        source, view = codebook_views(kind, body), load_view_encoder(kind, encoder, body)
        folder = weights_folder(source.folder)
        if not folder.is_dir():
            raise WeightsError(f"{folder}: no such folder; build the {kind} codebook first")
        features = compute_features(kind, view, body, progress=log_progress)
        name = f"features-{features_digest(source.digest, view.digest, body.digest)[:12]}.safetensors"
        write_atomic(folder / name, save({"features": features.half().contiguous()}))
        (folder / name).chmod(0o644)
        for old in set(folder.glob("features-*.safetensors")) - {folder / name}:
            old.unlink()
        log.info("wrote %s", folder / name)


def log_progress(done: int, total: int, note: str) -> None:
    """Log every hundredth entry."""
    if done % 100 == 0 or done == total:
        log.info("%s: %d of %d", note, done, total)


if __name__ == "__main__":
    main()
