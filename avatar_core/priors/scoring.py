"""Scores of pictures against a text: centred cosine, directions away from neutral, AvatarCLIP's direction score."""

import torch
from torch import Tensor
from torch.nn.functional import normalize


def centred_scores(features: Tensor, target: Tensor) -> Tensor:
    """Cosine (...) of image features with a text feature, after taking out what all the images share.

    Pictures of one grey body are alike, and a few of them are near every text; without the mean, what is left is how
    they differ. features: (..., D) unit; target: (D,) unit.
    """
    return normalize(features - features.flatten(0, -2).mean(0), dim=-1) @ target


def direction_scores(features: Tensor, neutral: Tensor, target: Tensor, neutral_target: Tensor) -> Tensor:
    """Cosine (...) between the image's and the text's direction away from neutral (Hong et al. 2022, AvatarCLIP).

    features: (..., D) unit image features; neutral: (D,) that of the neutral image.
    target, neutral_target: (D,) unit text features.
    """
    return normalize(features - neutral, dim=-1) @ normalize(target - neutral_target, dim=-1)


def away_from_neutral(target: Tensor, neutrals: Tensor) -> Tensor:
    """Unit direction (D,) of a unit text feature (D,) away from the mean of prompts of its form.

    neutrals: (K, D) mean features of each form of prompts; the one most like the target is taken.
    """
    neutrals = neutrals.to(target)
    return normalize(target - neutrals[(normalize(neutrals, dim=-1) @ target).argmax()], dim=-1)


def soft_top(scores: Tensor, count: int, temperature: float) -> tuple[Tensor, Tensor]:
    """Indices (count,) of the best scores (N,), best first, and their weights (count,), which add up to one.

    temperature: difference of score at which a weight falls by e; zero gives all weight to the best.
    """
    best = scores.topk(min(count, len(scores)))
    if temperature == 0:
        weights = torch.zeros_like(best.values)
        weights[0] = 1
        return best.indices, weights
    return best.indices, torch.softmax(best.values / temperature, dim=0)
