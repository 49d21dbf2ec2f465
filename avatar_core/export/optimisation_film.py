"""The film of an optimisation as a video: its pictures enlarged to the size of the other films, each with its name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from avatar_core.export.sheet import INK
from avatar_core.export.video import write_video

FPS = 24
SHOWN, HELD = 6, 18
"""How long a picture stays, in frames of the video: those on the way, and the first two and the last."""


def write_optimisation(path: Path, frames: Tensor, labels: Sequence[str], height: int) -> None:
    """Write pictures as an H.264 MP4, the first two and the last for longer than the others.

    Args:
        path: the MP4 to write.
        frames: (F, H, W, 3) uint8, sRGB.
        labels: what each of them shows, written into its corner.
        height: of the video, pixels, even; its width keeps the pictures' shape.
    Raises:
        ValueError: an odd height.
        AvatarError: ffmpeg is missing or cannot encode.
    """
    width = 2 * round(height * frames.shape[2] / frames.shape[1] / 2)

    def shown() -> Iterator[NDArray[np.uint8]]:
        for number, (frame, label) in enumerate(zip(frames, labels)):
            picture = captioned(frame.numpy(), label, (height, width))
            for _ in range(HELD if number < 2 or number == len(labels) - 1 else SHOWN):
                yield picture

    write_video(path, shown(), (height, width), FPS)


def captioned(picture: NDArray[np.uint8], label: str, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a picture (H, W, 3) resized to `size` (height, width) with its label in its upper left corner."""
    height, width = size
    large = Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS)
    font = ImageFont.load_default(size=max(8, height // 24))
    ImageDraw.Draw(large).text((height // 32, height // 16), label, font=font, fill=INK, anchor="ls")
    return np.asarray(large)
