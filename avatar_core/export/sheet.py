"""Pictures side by side with captions, as one preview image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

PAPER, INK, FAINT = (250, 250, 251), (38, 40, 44), (118, 122, 128)
GAP, BORDER = 8, 20
LINE_HEIGHT = 1.45


@dataclass(frozen=True)
class Panel:
    """One picture (H, W, 3) uint8 and the words under it."""

    image: NDArray[np.uint8]
    label: str


def compose_sheet(
    rows: Sequence[Sequence[Panel]], captions: Sequence[tuple[str, str]], *, text_size: int
) -> Image.Image:
    """Lay out rows of panels over a block of captions.

    Args:
        rows: panels from left to right; panels of one row have one height.
        captions: (name, text) lines for the foot; a text that is too long for its line ends in an ellipsis.
        text_size: height of the captions' letters, pixels; labels are a little smaller.
    """
    font = ImageFont.load_default(size=text_size)
    small = ImageFont.load_default(size=max(10, int(text_size * 0.8)))
    label_height = int(text_size * 1.6)
    width = 2 * BORDER + max(sum(p.image.shape[1] for p in row) + GAP * (len(row) - 1) for row in rows)
    line = int(text_size * LINE_HEIGHT)
    heights = [row[0].image.shape[0] + label_height + GAP for row in rows]
    sheet = Image.new("RGB", (width, BORDER + sum(heights) + line * len(captions) + BORDER), PAPER)
    draw = ImageDraw.Draw(sheet)
    top = BORDER
    for row, height in zip(rows, heights):
        left = BORDER
        for panel in row:
            sheet.paste(Image.fromarray(panel.image), (left, top))
            middle = left + panel.image.shape[1] // 2
            draw.text((middle, top + panel.image.shape[0] + 4), panel.label, font=small, fill=FAINT, anchor="ma")
            left += panel.image.shape[1] + GAP
        top += height
    indent = max((draw.textlength(name, font=font) for name, _ in captions), default=0) + text_size
    for name, text in captions:
        draw.text((BORDER, top), name, font=font, fill=FAINT)
        room = width - 2 * BORDER - indent
        draw.text((BORDER + indent, top), fit_text(draw, text, font, room), font=font, fill=INK)
        top += line
    return sheet


def fit_text(
    draw: ImageDraw.ImageDraw, text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, room: float
) -> str:
    """Return `text` on one line, cut with an ellipsis so that it is at most `room` pixels wide."""
    text = " ".join(text.split())
    if draw.textlength(text, font=font) <= room:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if draw.textlength(text[:middle].rstrip() + "…", font=font) <= room:
            low = middle
        else:
            high = middle - 1
    return text[:low].rstrip() + "…"
