"""What the pose flow learns from: latents of poses, with directions in text space of their pictures and captions.

Nothing outside the package is needed: the poses are those of the pose codebook and frames of the motion codebook.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from avatar_core.bodies import BodyModel
from avatar_core.perception.prompts import motion_prompt
from avatar_core.priors.features import KEY_FRAMES, codebook_features
from avatar_core.priors.fit_view_readers import action_texts, spoken
from avatar_core.priors.motion_vae import MotionCodebook, MotionVAE
from avatar_core.priors.pose_vae import PoseCodebook, PoseVAE
from avatar_core.seeds import numpy_generator

if TYPE_CHECKING:
    from avatar_core.perception.encoder import Encoder

WORDINGS = (motion_prompt, spoken)
"""Forms of prompts that captions are put into: "running", and "a person is running"."""
FRAMES = tuple(range(0, 60, 6))
"""Frames of each motion that are taken; the key frames, which have pictures' features, are among them."""
BATCH = 64


@dataclass(frozen=True, eq=False)
class FlowData:
    """N poses of G groups; the poses of a group have the same P_g phrases, of P in all."""

    latents: Tensor
    """(N, 32) of the pose VAE."""
    weights: Tensor
    """(N,) shares in which poses are drawn: a label with n poses counts as its root."""
    groups: Tensor
    """(N,) group of each pose."""
    pictures: Tensor
    """(N, D) unit directions of the poses' pictures, less the mean of all; zero where there is no picture."""
    texts: Tensor
    """(W, P, D) unit directions of the phrases in each wording, away from the wording's mean."""
    text_means: Tensor
    """(W, D) mean features of the wordings."""
    phrase_start: Tensor
    """(G,) first phrase of each group in `phrases`."""
    phrase_count: Tensor
    """(G,) number of its phrases."""
    phrases: Tensor
    """(sum of P_g,) places in `texts` of the groups' phrases, group by group."""

    def rows(self, chosen: Tensor) -> "FlowData":
        """Return the data of the poses `chosen` (n,) alone, with all phrases."""
        picked = {name: getattr(self, name)[chosen] for name in ("latents", "weights", "groups", "pictures")}
        return FlowData(**{**vars(self), **picked})

    def directions(self, index: Tensor, picture_share: float, generator: torch.Generator) -> Tensor:
        """Draw a unit direction (n, D) for each of the poses `index` (n,): of its picture or of one of its phrases.

        picture_share: how often the picture is taken where there is one.
        """
        group = self.groups[index]
        draw = torch.rand(len(index), 3, generator=generator)
        phrase = self.phrases[self.phrase_start[group] + (draw[:, 0] * self.phrase_count[group]).long()]
        wording = (draw[:, 1] * len(self.texts)).long()
        pictures = self.pictures[index]
        seen = (pictures.square().sum(-1) > 0) & (draw[:, 2] < picture_share)
        return torch.where(seen[:, None], pictures, self.texts[wording, phrase])


def flow_data(encoder: "Encoder", body: BodyModel) -> FlowData:
    """Collect the poses of the shipped codebooks with the directions of their pictures and captions."""
    vae, poses, motions = PoseVAE.load(), PoseCodebook.load(), MotionCodebook.load()
    stills = codebook_features("pose", encoder, body).cpu()
    frames = codebook_features("motion", encoder, body).cpu()
    moving = torch.zeros(len(motions), len(FRAMES), frames.shape[-1])
    moving[:, [FRAMES.index(frame) for frame in KEY_FRAMES]] = _centred(frames)
    texts = action_texts(poses.labels, poses.captions, 1)
    texts += action_texts(motions.labels, motions.captions, len(FRAMES))
    labels = [*poses.labels, *(label for label in motions.labels for _ in FRAMES)]
    return pair_up(
        latents=torch.cat([poses.latents, _motion_latents(vae, motions)]),
        labels=labels,
        texts=texts,
        pictures=torch.cat([_centred(stills), moving.flatten(0, 1)]),
        encoder=encoder,
    )


def pair_up(
    latents: Tensor, labels: list[str], texts: list[tuple[str, ...]], pictures: Tensor, encoder: "Encoder"
) -> FlowData:
    """Put poses and what is known of them together.

    latents: (N, 32); labels: N, by which rare actions count more; texts: N tuples of phrases, as "running" for "a
    person is running"; pictures: (N, D) unit directions or zeros.
    """
    known = sorted(set(texts))
    place = {group: index for index, group in enumerate(known)}
    phrases = sorted({phrase for group in known for phrase in group})
    number = {phrase: index for index, phrase in enumerate(phrases)}
    features = torch.stack(
        [
            torch.cat([encoder.encode_texts(part).cpu() for part in _parts([say(p) for p in phrases])])
            for say in WORDINGS
        ]
    )
    counts = torch.tensor([len(group) for group in known])
    means = features.mean(1)
    return FlowData(
        latents=latents,
        weights=torch.tensor([labels.count(label) ** -0.5 for label in sorted(set(labels))])[
            torch.tensor([sorted(set(labels)).index(label) for label in labels])
        ],
        groups=torch.tensor([place[group] for group in texts]),
        pictures=pictures,
        texts=normalize(features - means[:, None], dim=-1),
        text_means=means,
        phrase_start=counts.cumsum(0) - counts,
        phrase_count=counts,
        phrases=torch.tensor([number[phrase] for group in known for phrase in group]),
    )


def split_groups(data: FlowData, share: float, seed: int) -> tuple[FlowData, FlowData]:
    """Return the data without and with only a `share` of the groups, so that no held-out caption was trained on."""
    count = len(data.phrase_count)
    held = numpy_generator(seed, "real_nvp_held_out").choice(count, max(1, int(share * count)), replace=False)
    out = torch.from_numpy(np.isin(data.groups.numpy(), held))
    return data.rows(~out), data.rows(out)


def _motion_latents(vae: PoseVAE, motions: MotionCodebook) -> Tensor:
    """Pose latents (motions times frames, 32), motion by motion."""
    model, found = MotionVAE.load(), []
    with torch.no_grad():
        for part in motions.latents.split(BATCH):
            rotations, _ = model.decode(part)
            found.append(vae.encode_rotations(rotations[:, list(FRAMES), 1:].flatten(0, 1)))
    return torch.cat(found)


def _centred(features: Tensor) -> Tensor:
    """Unit directions (..., D) of features away from the mean of all."""
    return normalize(features - features.flatten(0, -2).mean(0), dim=-1)


def _parts(texts: list[str]) -> list[list[str]]:
    return [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]
