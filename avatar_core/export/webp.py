"""A film as an animated WebP that loops: what web pages and chats play without a player."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

EFFORT = 3
"""libwebp's method, 0 to 6: higher ones take longer and save next to nothing on films of avatars."""


class AnimatedWebp:
    """Gathers pictures of a film, fewer and smaller than the film has, and writes them as one file."""

    def __init__(self, fps: int, target_fps: int, height: int) -> None:
        """Take pictures at `fps` a second, keep at most `target_fps` a second of them, `height` pixels high."""
        self._fps, self._target, self._height = fps, min(fps, target_fps), height
        self._pictures: list[Image.Image] = []
        self._frames: list[int] = []
        self._seen = 0

    def take(self, picture: NDArray[np.uint8]) -> None:
        """Look at the film's next picture (H, W, 3), and keep it if it is due."""
        if not self._frames or self._due(self._seen) != self._due(self._seen - 1):
            width = max(1, round(self._height * picture.shape[1] / picture.shape[0]))
            self._pictures.append(Image.fromarray(picture).resize((width, self._height), Image.Resampling.LANCZOS))
            self._frames.append(self._seen)
        self._seen += 1

    def save(self, path: Path, quality: int) -> None:
        """Write what was kept; equal pictures give equal bytes. Raises ValueError where nothing was."""
        if not self._pictures:
            raise ValueError("an animation needs at least one picture")
        edges = [round(1000 * frame / self._fps) for frame in (*self._frames, self._seen)]
        self._pictures[0].save(
            path,
            format="WEBP",
            save_all=True,
            append_images=self._pictures[1:],
            duration=[end - start for start, end in pairwise(edges)],
            loop=0,
            quality=quality,
            method=EFFORT,
        )

    def _due(self, frame: int) -> int:
        return frame * self._target // self._fps
