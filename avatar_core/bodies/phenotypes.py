"""Phenotypes of plausible people: what codebooks over the embedded body are sampled from."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from avatar_core.errors import BodyError

CORNERS = {
    "gender": (0.0, 1.0),
    "age": (1 / 3, 2 / 3, 1.0),
    "muscle": (0.0, 0.5, 1.0),
    "weight": (0.0, 0.5, 1.0),
    "height": (0.1, 0.4, 0.75),
    "proportions": (0.6,),
}
"""Every combination of these is an entry, so that the extremes which prompts name are there."""

AGES = ((0.15, 0.40, 0.18), (0.58, 0.80, 0.60), (0.85, 1.0, 0.22))
"""Child, adult and old: from, to, share of the entries."""


def sample_phenotypes(labels: tuple[str, ...], count: int, seed: int) -> NDArray[np.float64]:
    """Return shape vectors (count, S) of plausible people: all corners, then a scrambled Halton sequence.

    Adults dominate; gender gathers at both ends; heights gather about the real mean, with tall and short extremes.
    Raises BodyError when the body model has other phenotypes, ValueError when `count` is too small.
    """
    if set(labels) != set(CORNERS):
        raise BodyError(
            f"the shape codebook knows the phenotypes {', '.join(CORNERS)}, not {', '.join(labels)}"
        )
    corners = np.array(list(itertools.product(*(CORNERS[label] for label in labels))))
    if count <= len(corners):
        raise ValueError(f"{count} entries cannot hold the {len(corners)} corners; ask for more")
    unit = qmc.Halton(len(labels), scramble=True, rng=np.random.default_rng(seed)).random(count - len(corners))
    spread = {
        "gender": lambda u: np.where(
            u < 0.45, u / 0.45 * 0.1, np.where(u > 0.55, 1 - (1 - u) / 0.45 * 0.1, u)
        ),
        "age": _ages,
        "muscle": lambda u: 0.5 - 0.5 * np.cos(np.pi * u),
        "weight": lambda u: 0.5 - 0.5 * np.cos(np.pi * u),
        "height": lambda u: np.clip(0.4 + 0.35 * np.sign(u - 0.5) * np.abs(2 * u - 1) ** 1.4, 0.05, 0.8),
        "proportions": lambda u: 0.3 + 0.6 * u,
    }
    drawn = np.stack([spread[label](unit[:, column]) for column, label in enumerate(labels)], axis=1)
    return np.concatenate([corners, drawn])


def _ages(unit: NDArray[np.float64]) -> NDArray[np.float64]:
    """Map numbers in [0, 1) to ages by the shares of AGES."""
    ages, start = np.zeros_like(unit), 0.0
    for low, high, share in AGES:
        inside = (unit >= start) & (unit < start + share + 1e-12)
        ages[inside] = low + (high - low) * (unit[inside] - start) / share
        start += share
    return ages
