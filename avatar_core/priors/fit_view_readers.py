"""Fit the view readers of an encoder: from pictures of plain grey bodies to directions in its text space.

    python -m avatar_core.priors.fit_view_readers

A reader is fitted on pictures of the codebooks' entries: shapes with words for their measures (sex, age, stature,
bulk, muscle), poses and key frames of motions with the captions of their clips. The readers depend on the text tower
of the encoder alone and are closed-form, so that fitting takes about two minutes, nearly all of it rendering.
"""

import argparse
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor
from torch.nn.functional import normalize

from avatar_core.bodies import BodyModel, load_body
from avatar_core.perception.prompts import motion_prompt, shape_prompt
from avatar_core.priors.features import codebook_views, log_progress
from avatar_core.priors.motion_vae import MotionCodebook
from avatar_core.priors.pose_vae import PoseCodebook
from avatar_core.priors.shape_codebook import load_shape_codebook
from avatar_core.priors.shape_words import describe_shape
from avatar_core.priors.view_encoders import (
    POSE_AZIMUTHS,
    THUMBNAIL,
    ReaderWeights,
    ThumbnailReader,
    random_features,
    reader_name,
    thumbnails,
)
from avatar_core.priors.weights import weights_folder
from avatar_core.seeds import numpy_generator, torch_generator
from avatar_core.storage.paths import write_atomic

if TYPE_CHECKING:
    from avatar_core.perception.encoder import Encoder

log = logging.getLogger(__name__)

Wording = Callable[[str], str]
_PERSON = "a person is "


@dataclass(frozen=True)
class ReaderSettings:
    """Settings of one reader."""

    components: int = 160
    """Principal components of the thumbnails that are kept."""
    random: int = 1600
    """Random features; none makes the reader linear."""
    bandwidth: float = 1.0
    """Standard deviation of the random features' frequencies, times the thumbnails' own spread."""
    ridge: float = 0.1
    """Ridge penalty, relative to the mean of the features' squares."""
    seed: int = 0
    """Seed of the random features."""


SHAPE_SETTINGS = ReaderSettings(random=0, ridge=0.02)
POSE_SETTINGS = ReaderSettings()


def fit_reader(pixels: Tensor, directions: Tensor, weights: Tensor, settings: ReaderSettings) -> ReaderWeights:
    """Fit one reader by weighted ridge regression; its `text_means` are left empty.

    pixels: (n, P) of `thumbnails`; directions: (n, D) in the text space; weights: (n,) of the rows.
    """
    mean = pixels.mean(0)
    centred = pixels - mean
    _, _, axes = torch.linalg.svd(centred[:: max(1, len(centred) // 2000)], full_matrices=False)
    components = (axes[: settings.components].mT / centred.std()).half().float()
    hidden = centred @ components
    generator = torch_generator(settings.seed, "view_reader")
    frequencies = torch.randn(hidden.shape[1], settings.random, generator=generator)
    frequencies = (frequencies * settings.bandwidth / pixels.shape[1] ** 0.5).half().float()
    phases = (torch.rand(settings.random, generator=generator) * 2 * torch.pi).half().float()
    if settings.random:
        hidden = random_features(hidden, frequencies, phases)
    root = (weights / weights.mean()).sqrt()[:, None]
    rows, goals = (hidden * root).double(), (directions * root).double()
    gram = rows.mT @ rows
    penalty = settings.ridge * gram.diagonal().mean()
    readout = torch.linalg.solve(gram + penalty * torch.eye(len(gram), dtype=gram.dtype), rows.mT @ goals)
    return ReaderWeights(mean, components, frequencies, phases, readout.float(), torch.zeros(0, directions.shape[1]))


class TextDirections:
    """Directions of texts away from the mean of all, for each of several wordings.

    texts: (n) lists of phrases that are true of item i; wordings: from a phrase to a prompt.
    """

    def __init__(self, texts: list[tuple[str, ...]], wordings: list[Wording], encoder: "Encoder") -> None:
        phrases = sorted({phrase for group in texts for phrase in group})
        place = {phrase: index for index, phrase in enumerate(phrases)}
        features = torch.stack([encoder.encode_texts([say(p) for p in phrases]).cpu() for say in wordings])
        share = torch.zeros(len(texts), len(phrases))
        for row, group in enumerate(texts):
            for phrase in group:
                share[row, place[phrase]] += 1 / len(group)
        used = share.sum(0) > 0
        self.means = features[:, used].mean(1)
        directions = normalize(features - self.means[:, None], dim=-1).mean(0)
        self.goals = normalize(share @ directions, dim=-1)


def rendered_thumbnails(kind: str, body: BodyModel) -> Tensor:
    """Return thumbnails (entries times frames, P) of a codebook."""
    source, found = codebook_views(kind, body), []
    with torch.no_grad():
        for done, images in enumerate(source.images(body, 2 * THUMBNAIL, POSE_AZIMUTHS), start=1):
            found.append(thumbnails(images[None])[0])
            log_progress(done, source.count * source.frames, f"pictures of the {kind} codebook")
    return torch.stack(found)


def shape_texts(body: BodyModel) -> list[tuple[str, ...]]:
    """Return what is true of each entry of the shape codebook."""
    betas = load_shape_codebook().betas
    return [describe_shape(body, body.shape(beta.to(body.template.device))) for beta in betas]


def action_texts(labels: tuple[str, ...], captions: tuple[tuple[str, ...], ...], frames: int) -> list[tuple[str, ...]]:
    """Return the label and captions of each entry, less "a person is", repeated for each of its frames."""
    return [
        tuple(dict.fromkeys([label, *(caption.removeprefix(_PERSON) for caption in said)]))
        for label, said in zip(labels, captions)
        for _ in range(frames)
    ]


def spoken(text: str) -> str:
    """The prompt of an action that a user writes as a sentence."""
    return motion_prompt(_PERSON + text)


def retrieval(pixels: Tensor, goals: Tensor, labels: list[str], groups: np.ndarray, seed: int) -> float:
    """Share of the three best held-out pictures that show the action asked for, when a fifth of the clips is held out.

    pixels: (n, P) of `thumbnails`; goals: (n, D) text directions; groups: (n,) the clip of each row. Only labels with
    three held-out rows count.
    """
    clips = np.unique(groups)
    held = np.isin(groups, numpy_generator(seed, "readers_held_out").choice(clips, len(clips) // 5, replace=False))
    rows = torch.from_numpy(~held)
    fitted = fit_reader(pixels[rows], goals[rows], torch.ones(int(rows.sum())), POSE_SETTINGS)
    read = ThumbnailReader(fitted, "held out").read(pixels[~rows])
    shown = np.array(labels)[held]
    found = []
    for label in sorted(set(shown)):
        if (shown == label).sum() >= 3:
            goal = goals[labels.index(label)]
            found.append((shown[(read @ goal).topk(3).indices.numpy()] == label).mean())
    return float(np.mean(found))


def main(arguments: list[str] | None = None) -> None:
    """Fit the readers of the default encoder and put them in place of the old ones."""
    from avatar_core.perception.encoder import load_encoder

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="bodyclip", help="name or folder of the encoder")
    parser.add_argument("--out", type=Path, default=weights_folder("view_readers"))
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    body, encoder = load_body(), load_encoder(options.encoder)
    shapes = TextDirections(shape_texts(body), [shape_prompt], encoder)
    pixels = rendered_thumbnails("shape", body)
    fitted = {"shape": fit_reader(pixels, shapes.goals, torch.ones(len(pixels)), SHAPE_SETTINGS)}
    poses, motions = PoseCodebook.load(), MotionCodebook.load()
    frames = codebook_views("motion", body).frames
    actions = TextDirections(
        action_texts(poses.labels, poses.captions, 1) + action_texts(motions.labels, motions.captions, frames),
        [motion_prompt, spoken],
        encoder,
    )
    labels = [*poses.labels, *(label for label in motions.labels for _ in range(frames))]
    counts = {label: labels.count(label) for label in set(labels)}
    pixels = torch.cat([rendered_thumbnails("pose", body), rendered_thumbnails("motion", body)])
    rare = torch.tensor([counts[label] ** -0.5 for label in labels])
    fitted["pose"] = fit_reader(pixels, actions.goals, rare, POSE_SETTINGS)
    options.out.mkdir(parents=True, exist_ok=True)
    written: set[Path] = set()
    for kind, texts in (("shape", shapes), ("pose", actions)):
        weights = vars(fitted[kind]) | {"text_means": texts.means}
        path = options.out / reader_name(kind, encoder.digest)
        write_atomic(path, save({name: value.half().contiguous() for name, value in weights.items()}))
        path.chmod(0o644)
        written.add(path)
        log.info("wrote %s", path)
    for old in set(options.out.glob("reader-*.safetensors")) - written:
        old.unlink()
    clips = json.loads((weights_folder("pose_vae") / "codebook.json").read_text(encoding="utf-8"))["clip"]
    measures = {
        "encoder": encoder.digest,
        "held_out_precision_at_3": retrieval(
            pixels[: len(poses)], actions.goals[: len(poses)], list(poses.labels), np.array(clips), POSE_SETTINGS.seed
        ),
    }
    (options.out / "measures.json").write_text(json.dumps(measures, indent=2) + "\n", encoding="utf-8")
    log.info("measures: %s", measures)


if __name__ == "__main__":
    main()
