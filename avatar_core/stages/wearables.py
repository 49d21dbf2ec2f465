"""What can be worn: how much of each vertex every garment covers, and how far it stands off the body."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from avatar_core.bodies.base import BodyModel
from avatar_core.stages.body_chart import (
    ARM_METRES,
    ARMS,
    EYE_ASIDE,
    HEAD,
    LEGS,
    TRUNK,
    TRUNK_METRES,
    BodyChart,
    all_of,
)
from avatar_core.stages.garment_shapes import (
    AFRO,
    BALL_GOWN,
    BRIMMED_HAT,
    CHEF_HAT,
    COAT,
    KNEE_DRESS,
    KNEE_SKIRT,
    POINTED_HAT,
    ROBE,
    TOP_HAT,
    WIDE_SKIRT,
    Shape,
)

BORDER = 0.03
"""Metres over which coverage falls from one to zero at a garment's border; wider than most edges of the mesh, so
that the line of equal shares runs straight through triangles."""
FINE_BORDER = 0.008
"""The same on the face, where triangles are small."""

CUT_BORDER = 0.1
"""Part of a border that is left where coverage is asked point by point, not interpolated from the body's vertices."""

MOUTH = -0.0722
"""Height of the line between the lips, from the eyes, metres."""

EYE_MIDDLE, EYE_HALF, EYE_LID = 0.0335, 0.0125, 0.0055
"""Middle of the opening between the lids, aside, half its width, and the height of the upper lid, metres."""

Cut = tuple[np.ndarray, float]
"""Signed reach (N,) in metres into what a garment covers, and the width of its border in metres."""


@dataclass(frozen=True)
class Wearable:
    """One kind of thing worn."""

    name: str
    slot: str
    """At most one wearable of a slot is worn."""
    cut: Callable[[BodyChart], Cut]
    thickness: float = 0.0
    """How far it stands off what is below, metres."""
    shape: Shape | None = None
    """What it encloses away from the body, if it does."""
    like: str | None = None
    """The plainer wearable that it is a kind of; it is worn only where a prompt names it."""


class Coverage:
    """How much of each vertex of a body every wearable covers.

    Args:
        body: any body model with SMPL's joints.
    """

    def __init__(self, body: BodyModel) -> None:
        self.shares: Tensor = coverage_of(BodyChart.of(body), range(len(WEARABLES)))
        """(V, K) in [0, 1], one column a wearable."""


def coverage_of(chart: BodyChart, wearables: Iterable[int], border: float = 1.0) -> Tensor:
    """Return how much (N, L), in [0, 1], some wearables cover of a chart's points; borders as wide as `border` times
    their own width."""
    cuts = (WEARABLES[index].cut(chart) for index in wearables)
    shares = np.stack([_ramp(reach, width * border) for reach, width in cuts], axis=1)
    return torch.from_numpy(shares.astype(np.float32))


def _ramp(reach: np.ndarray, border: float) -> np.ndarray:
    return np.clip(0.5 + reach / border, 0.0, 1.0)


def _skin(chart: BodyChart) -> Cut:
    return np.ones(len(chart)), BORDER


def _brows(chart: BodyChart) -> Cut:
    along = np.clip((chart.aside - 0.013) / 0.038, 0.0, 1.0)
    middle = 0.0195 + 0.0045 * np.sin(1.9 * along)
    blunt = np.sqrt(np.clip((chart.aside - 0.013) / 0.008, 0.15, 1.0))
    tapered = 0.0042 * (1.0 - 0.7 * along) * blunt - np.abs(chart.above - middle)
    ends = np.minimum(chart.aside - 0.013, 0.051 - chart.aside)
    return all_of(chart.head(), tapered, ends, chart.z - 0.08), 0.004


def _lips(chart: BodyChart) -> Cut:
    part = np.clip(chart.aside / 0.0255, 0.0, 1.0)
    upper = 0.0105 * (1.0 - part**2) - 0.0012 * np.exp(-((chart.aside / 0.004) ** 2))
    lower = 0.0140 * np.sqrt(1.0 - part**2) * (1.0 - 0.25 * part)
    above = chart.above - MOUTH
    return all_of(chart.head(), upper - above, above + lower, 0.0255 - chart.aside, chart.z - 0.11), 0.004


def _mouth_line(chart: BodyChart) -> Cut:
    part = np.clip(chart.aside / 0.0255, 0.0, 1.0)
    line = 0.0009 * (1.0 - 0.6 * part) - np.abs(chart.above - MOUTH)
    return all_of(chart.head(), line, 0.0235 - chart.aside, chart.z - 0.11), 0.0015


def _lid(chart: BodyChart) -> tuple[np.ndarray, np.ndarray]:
    """Place (N,) across an eye, -1 inner corner to 1 outer, and the height (N,) of its upper lid there, metres."""
    across = (chart.aside - EYE_MIDDLE) / EYE_HALF
    return across, EYE_LID * (1.0 - across**2)


def _eyes(chart: BodyChart) -> Cut:
    across, upper = _lid(chart)
    lower = 1.05 * upper
    return all_of(chart.head(), upper - chart.above, chart.above + lower, chart.z - 0.08, 1.0 - np.abs(across)), 0.002


def _iris_reach(chart: BodyChart, radius: float) -> Cut:
    away = np.hypot(chart.aside - EYE_ASIDE, chart.above + 0.0006)
    return all_of(_eyes(chart)[0], radius - away), 0.002


def _irises(chart: BodyChart) -> Cut:
    return _iris_reach(chart, 0.0056)


def _pupils(chart: BodyChart) -> Cut:
    return _iris_reach(chart, 0.0024)


def _glints(chart: BodyChart) -> Cut:
    # Light from one side: the same side in both eyes.
    away = np.minimum(*(np.hypot(chart.x - side * EYE_ASIDE - 0.0016, chart.above - 0.0014) for side in (-1, 1)))
    return all_of(_eyes(chart)[0], 0.0011 - away), 0.0012


def _lashes(chart: BodyChart) -> Cut:
    across, upper = _lid(chart)
    line = (0.0009 + 0.0003 * across) - np.abs(chart.above - upper)
    ends = np.minimum(across + 0.97, 1.1 - across) * EYE_HALF
    return all_of(chart.head(), line, ends, chart.z - 0.08), 0.0012


def _socks(chart: BodyChart) -> Cut:
    return chart.feet_up_to(1.55), BORDER


def _underwear(chart: BodyChart) -> Cut:
    return chart.bottom_to(0.15, 0.10), BORDER


def _shorts(chart: BodyChart) -> Cut:
    return chart.bottom_to(0.68, 0.16), BORDER


def _trousers(chart: BodyChart) -> Cut:
    return chart.bottom_to(1.9, 0.16), BORDER


def _skirt(chart: BodyChart) -> Cut:
    return chart.bottom_to(0.85, 0.17), BORDER


def _full_to(chart: BodyChart, sleeve: float | None, leg: float) -> np.ndarray:
    """Signed reach (N,) into one piece from the neckline down the legs to `leg`."""
    return np.maximum(chart.top_to(sleeve, -1.0, 0.97), chart.bottom_to(leg, 0.5))


def _dress(chart: BodyChart) -> Cut:
    return _full_to(chart, 0.35, 0.95), BORDER


def _ball_gown(chart: BodyChart) -> Cut:
    return _full_to(chart, 0.35, 1.7), BORDER


def _robe(chart: BodyChart) -> Cut:
    return _full_to(chart, 1.92, 1.8), BORDER


def _bodysuit(chart: BodyChart) -> Cut:
    return _full_to(chart, 1.95, 1.92), BORDER


def _swimsuit(chart: BodyChart) -> Cut:
    return np.maximum(chart.top_to(None, -1.0, 0.86), chart.bottom_to(0.1, 0.5)), BORDER


def _crop_top(chart: BodyChart) -> Cut:
    return chart.top_to(None, 0.52, 0.88), BORDER


def _tank_top(chart: BodyChart) -> Cut:
    return chart.top_to(None, 0.12, 0.88), BORDER


def _t_shirt(chart: BodyChart) -> Cut:
    return chart.top_to(0.72, 0.12, 0.99), BORDER


def _long_sleeved_shirt(chart: BodyChart) -> Cut:
    return chart.top_to(1.92, 0.12, 0.99), BORDER


def _open_jacket(chart: BodyChart) -> Cut:
    opening = np.where((chart.front > 0.1) & (chart.trunk() > 0), chart.aside - 0.04, 1.0)
    return np.minimum(chart.top_to(2.0, 0.10, 1.0), opening), BORDER


def _coat(chart: BodyChart) -> Cut:
    lapels = np.clip((chart.height - 0.55) * 0.13, 0.0, 0.05) * (chart.front > 0.1)
    opening = np.where(lapels > 0, chart.aside - lapels, 1.0)
    return np.minimum(_full_to(chart, 2.0, 0.8), opening), BORDER


def _vest(chart: BodyChart) -> Cut:
    lapels = np.clip((chart.height - 0.45) * 0.13, 0.0, 0.06) * (chart.front > 0.1)
    opening = np.where(lapels > 0, chart.aside - lapels, 1.0)
    return np.minimum(chart.top_to(None, 0.12, 0.97), opening), BORDER


def _tie(chart: BodyChart) -> Cut:
    strip = np.minimum(0.022 - chart.aside, (chart.height - 0.3) * TRUNK_METRES)
    return all_of(chart.trunk(), strip, (chart.front - 0.2) * 0.05), 0.015


def _scarf(chart: BodyChart) -> Cut:
    return chart.joined((("neck",), np.ones(len(chart))), (TRUNK, (chart.height - 0.95) * TRUNK_METRES)), BORDER


def _belt(chart: BodyChart) -> Cut:
    return np.minimum(chart.trunk(), (0.036 - np.abs(chart.height - 0.155)) * TRUNK_METRES), 0.02


def _emblem(chart: BodyChart) -> Cut:
    away = np.hypot(chart.x, (chart.height - 0.73) * 0.6)
    return all_of(chart.trunk(), 0.07 - away, (chart.front - 0.2) * 0.05), 0.015


def _gloves(chart: BodyChart) -> Cut:
    return np.minimum(chart.region(*ARMS), (chart.arm - 1.95) * ARM_METRES), BORDER


def _long_gloves(chart: BodyChart) -> Cut:
    return np.minimum(chart.region(*ARMS), (chart.arm - 1.4) * ARM_METRES), BORDER


def _shoes(chart: BodyChart) -> Cut:
    return chart.feet_up_to(1.97), BORDER


def _boots(chart: BodyChart) -> Cut:
    return chart.feet_up_to(1.5), BORDER


def _cape(chart: BodyChart) -> Cut:
    behind = chart.joined((TRUNK, (1.0 - chart.height) * TRUNK_METRES), (LEGS, chart.along_legs(1.3)))
    return np.minimum((-0.2 - chart.front) * 0.06, behind), BORDER


_HAIRLINE = np.asarray([
    (-0.080, -0.075), (-0.025, -0.070), (-0.002, -0.064), (0.004, -0.040), (0.010, 0.004), (0.016, 0.013),
    (0.040, 0.013), (0.047, -0.014), (0.058, -0.016), (0.066, 0.012), (0.082, 0.048), (0.100, 0.063), (0.120, 0.068),
    (0.160, 0.066),
]).T  # fmt: skip
"""Where hair begins: depth z, back to front, and height over the eyes; past the nape, the ear, the sideburn and the
temple to the forehead, metres on the neutral bind pose."""


def _scalp(chart: BodyChart) -> np.ndarray:
    """Signed reach (N,) into where hair grows."""
    return all_of(chart.head(), chart.above - np.interp(chart.z, *_HAIRLINE), 0.010 - chart.region("ears"))


def _short_hair(chart: BodyChart) -> Cut:
    return _scalp(chart), 0.01


def _long_hair(chart: BodyChart) -> Cut:
    back = all_of((-0.1 - chart.front) * 0.06, (chart.height - 0.8) * TRUNK_METRES, 0.11 - chart.aside)
    behind = chart.joined(((*HEAD, "neck"), 0.018 - chart.z), (TRUNK, back))
    return np.maximum(_scalp(chart), behind), 0.012


def _mustache(chart: BodyChart) -> Cut:
    return all_of(chart.head(), 0.033 - chart.aside, 0.008 - np.abs(chart.above + 0.060), chart.z - 0.1), FINE_BORDER


def _beard(chart: BodyChart) -> Cut:
    jaw = np.maximum(-0.088 - chart.above, np.minimum(chart.aside - 0.033, -0.05 - chart.above))
    sideburns = np.minimum(chart.aside - 0.055, -0.01 - chart.above)
    cheeks = all_of(chart.region("face", "mouth", "head"), chart.z - 0.015, np.maximum(jaw, sideburns))
    return np.maximum(cheeks, _mustache(chart)[0]), 0.012


def _headband(chart: BodyChart) -> Cut:
    return np.minimum(chart.head(), 0.014 - np.abs(chart.above - 0.049)), 0.012


def _crown(chart: BodyChart) -> Cut:
    return np.minimum(chart.head(), 0.020 - np.abs(chart.above - 0.070)), 0.012


def _hat(chart: BodyChart) -> Cut:
    return np.minimum(chart.head(), chart.above - 0.043), 0.015


def _helmet(chart: BodyChart) -> Cut:
    shell = all_of(chart.head(), chart.around_face(), chart.above + 0.08)
    return np.maximum(shell, chart.region("scalp")), 0.015


def _hood(chart: BodyChart) -> Cut:
    return chart.joined((HEAD, chart.around_face()), (("neck",), np.ones(len(chart)))), 0.015


def _sunglasses(chart: BodyChart) -> Cut:
    lens = 1.0 - np.hypot((chart.aside - EYE_ASIDE) / 0.026, chart.above / 0.018)
    bar = np.minimum(0.004 - np.abs(chart.above), 0.08 - chart.aside)
    return all_of(chart.head(), chart.z - 0.03, np.maximum(lens * 0.02, bar)), FINE_BORDER


def _eye_mask(chart: BodyChart) -> Cut:
    band = 0.022 - np.abs(chart.above)
    return all_of(chart.head(), -chart.region("eyes"), chart.z - 0.03, band), FINE_BORDER


def _face_mask(chart: BodyChart) -> Cut:
    return all_of(chart.head(), chart.z - 0.04, -0.025 - chart.above), 0.012


def _full_mask(chart: BodyChart) -> Cut:
    return all_of(chart.head(), -chart.region("eyes"), chart.z - 0.03), 0.012


WEARABLES: tuple[Wearable, ...] = (
    Wearable("skin", "skin", _skin),
    Wearable("brows", "brows", _brows, 0.001),
    Wearable("lips", "lips", _lips),
    Wearable("mouth line", "mouth line", _mouth_line),
    Wearable("eyes", "eyes", _eyes),
    Wearable("irises", "irises", _irises),
    Wearable("pupils", "pupils", _pupils),
    Wearable("glints", "glints", _glints),
    Wearable("lashes", "lashes", _lashes),
    Wearable("socks", "socks", _socks, 0.002),
    Wearable("underwear", "bottom", _underwear, 0.002),
    Wearable("shorts", "bottom", _shorts, 0.006),
    Wearable("trousers", "bottom", _trousers, 0.006),
    Wearable("skirt", "bottom", _skirt, 0.006, KNEE_SKIRT),
    Wearable("wide skirt", "bottom", _skirt, 0.006, WIDE_SKIRT, "skirt"),
    Wearable("tank top", "top", _tank_top, 0.003),
    Wearable("crop top", "top", _crop_top, 0.003, like="tank top"),
    Wearable("t-shirt", "top", _t_shirt, 0.005),
    Wearable("long-sleeved shirt", "top", _long_sleeved_shirt, 0.005),
    Wearable("dress", "full", _dress, 0.006, KNEE_DRESS),
    Wearable("ball gown", "full", _ball_gown, 0.006, BALL_GOWN, "dress"),
    Wearable("robe", "full", _robe, 0.010, ROBE),
    Wearable("bodysuit", "full", _bodysuit, 0.004),
    Wearable("swimsuit", "full", _swimsuit, 0.003, like="bodysuit"),
    Wearable("open jacket", "jacket", _open_jacket, 0.010),
    Wearable("vest", "jacket", _vest, 0.008, like="open jacket"),
    Wearable("coat", "jacket", _coat, 0.012, COAT, "open jacket"),
    Wearable("tie", "neck", _tie, 0.004),
    Wearable("scarf", "neck", _scarf, 0.012),
    Wearable("belt", "belt", _belt, 0.006),
    Wearable("emblem", "emblem", _emblem),
    Wearable("gloves", "hands", _gloves, 0.003),
    Wearable("long gloves", "hands", _long_gloves, 0.004),
    Wearable("shoes", "feet", _shoes, 0.008),
    Wearable("boots", "feet", _boots, 0.010),
    Wearable("cape", "cape", _cape, 0.014),
    Wearable("short hair", "hair", _short_hair, 0.012),
    Wearable("afro", "hair", _short_hair, 0.016, AFRO, "short hair"),
    Wearable("long hair", "hair", _long_hair, 0.016),
    Wearable("mustache", "beard", _mustache, 0.005),
    Wearable("beard", "beard", _beard, 0.009),
    Wearable("headband", "head", _headband, 0.006),
    Wearable("crown", "head", _crown, 0.010),
    Wearable("hat", "head", _hat, 0.018),
    Wearable("pointed hat", "head", _hat, 0.012, POINTED_HAT, "hat"),
    Wearable("brimmed hat", "head", _hat, 0.012, BRIMMED_HAT, "hat"),
    Wearable("top hat", "head", _hat, 0.012, TOP_HAT, "hat"),
    Wearable("chef hat", "head", _hat, 0.012, CHEF_HAT, "hat"),
    Wearable("helmet", "head", _helmet, 0.020),
    Wearable("hood", "head", _hood, 0.016),
    Wearable("sunglasses", "face", _sunglasses, 0.005),
    Wearable("eye mask", "face", _eye_mask, 0.003),
    Wearable("face mask", "face", _face_mask, 0.006),
    Wearable("full mask", "face", _full_mask, 0.006),
)
"""Everything that can be worn, in the order in which it is put on."""
INDEX: dict[str, int] = {wearable.name: index for index, wearable in enumerate(WEARABLES)}
