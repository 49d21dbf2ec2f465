"""The shapes of what stands away from the body: skirts about the legs, hats and big hair about the head.

The numbers are sizes on the neutral body; `worn_volumes` fits them to any other.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Hang:
    """A skirt of some kind: from `waist` along the trunk (0 hip joints, 1 neck) to `hem` along the legs (0 hip joints,
    1 knee, 2 ankle), at the hem `flare` times as wide as the legs need."""

    waist: float
    hem: float
    flare: float


@dataclass(frozen=True)
class Ring:
    """An ellipse about the head, metres: height over the eyes, half-width, half-depth, and how far its centre lies
    before the middle of the scalp."""

    above: float
    wide: float
    deep: float
    forward: float = 0.0


@dataclass(frozen=True)
class Cone:
    """The solid between two rings."""

    low: Ring
    high: Ring


@dataclass(frozen=True)
class Ellipsoid:
    """The solid about a ring, its half-height `tall` metres."""

    middle: Ring
    tall: float


@dataclass(frozen=True)
class Headpiece:
    """A hat or a head of hair, of solids that are joined."""

    solids: tuple[Cone | Ellipsoid, ...]


Shape = Hang | Headpiece

KNEE_SKIRT = Hang(0.12, 0.85, 1.45)
KNEE_DRESS = Hang(0.12, 0.95, 1.4)
COAT = Hang(0.14, 0.8, 1.45)
ROBE = Hang(0.15, 1.8, 1.35)
WIDE_SKIRT = Hang(0.14, 0.95, 2.4)
BALL_GOWN = Hang(0.16, 1.85, 2.3)

POINTED_HAT = Headpiece(
    (
        Cone(Ring(0.040, 0.190, 0.205), Ring(0.056, 0.176, 0.190)),
        Cone(Ring(0.045, 0.092, 0.106), Ring(0.200, 0.044, 0.048, -0.014)),
        Cone(Ring(0.195, 0.046, 0.050, -0.014), Ring(0.330, 0.010, 0.010, -0.050)),
    )
)
BRIMMED_HAT = Headpiece(
    (
        Cone(Ring(0.040, 0.185, 0.205), Ring(0.053, 0.180, 0.200)),
        Cone(Ring(0.045, 0.092, 0.107), Ring(0.150, 0.074, 0.088)),
    )
)
TOP_HAT = Headpiece(
    (
        Cone(Ring(0.040, 0.135, 0.155), Ring(0.053, 0.132, 0.152)),
        Cone(Ring(0.045, 0.090, 0.105), Ring(0.250, 0.096, 0.112)),
    )
)
CHEF_HAT = Headpiece(
    (
        Cone(Ring(0.040, 0.092, 0.107), Ring(0.165, 0.092, 0.107)),
        Ellipsoid(Ring(0.190, 0.128, 0.138), 0.068),
    )
)
AFRO = Headpiece((Ellipsoid(Ring(0.055, 0.165, 0.145, -0.045), 0.150),))
