"""A sheet of pictures of authored actions: three moments of each, on the neutral body."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image, ImageDraw

from avatar_core.bodies import load_body
from avatar_core.bodies.rotations import axis_angle_to_matrix
from avatar_core.priors.action_scripts import Action
from avatar_core.priors.authored_motion import draw_clip
from avatar_core.priors.motion_data import FPS
from avatar_core.priors.views import GreyViews, pose_body
from avatar_core.seeds import numpy_generator

MOMENTS = 3
_TITLE = 14  # pixels above each picture


def write_sheet(
    path: Path, actions: tuple[Action, ...], tile: int = 160, columns: int = 12, azimuth: float = 0.5
) -> None:
    """Draw three key poses of every action in the middle of its ranges, and write the picture to `path`.

    tile: pixels a side of a picture; columns: pictures in a row; azimuth: of the camera, radians, 0 in front.
    """
    body = load_body()
    shaped, views = body.shape(body.neutral_shape), GreyViews(body, tile)
    rows = -(-len(actions) * MOMENTS // columns)
    sheet = Image.new("RGB", (columns * tile, rows * (tile + _TITLE)), "white")
    pen = ImageDraw.Draw(sheet)
    for number, action in enumerate(actions):
        clip = draw_clip(action, numpy_generator(0, "sheet", action.name), spread=0.0)
        for moment, frame in enumerate(_moments(action, len(clip.poses))):
            pose = torch.from_numpy(clip.poses[[frame]])
            with torch.no_grad():
                vertices = pose_body(body, shaped, axis_angle_to_matrix(pose))[0]
                image = views.framed(vertices, [azimuth])[0]
            row, column = divmod(number * MOMENTS + moment, columns)
            pixels = (image.permute(1, 2, 0).clamp(0, 1) * 255).byte().numpy()
            sheet.paste(Image.fromarray(pixels), (column * tile, row * (tile + _TITLE) + _TITLE))
            if moment == 0:
                pen.text((column * tile + 2, row * (tile + _TITLE) + 1), action.name, fill="black")
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)


def _moments(action: Action, frames: int) -> list[int]:
    """Frames of three keys: the first, the middle one and the last."""
    keys = action.keys
    chosen = (keys[0], keys[len(keys) // 2], keys[-1])
    return [min(round(key.time * FPS), frames - 1) for key in chosen]
