"""Frames into an H.264 MP4 that browsers and players show."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

from avatar_core.errors import AvatarError

QUALITY = 18
"""x264's constant rate factor: 18 is visually lossless, 23 its default."""


def write_video(path: Path, frames: Iterable[NDArray[np.uint8]], size: tuple[int, int], fps: int) -> int:
    """Encode frames (H, W, 3) as they come; returns how many.

    Args:
        path: the MP4 to write.
        frames: RGB images of one size.
        size: height and width, both even (the 4:2:0 colour format halves them).
        fps: frames a second.
    Raises:
        ValueError: an odd size.
        AvatarError: ffmpeg is missing or cannot encode.
    """
    height, width = size
    if height % 2 or width % 2:
        raise ValueError(f"a video is encoded in blocks of 2 by 2 pixels, got {width} x {height}")
    # One thread and no writer's name: the same frames give the same file.
    options = ["-crf", str(QUALITY), "-preset", "veryfast", "-threads", "1", "-movflags", "+faststart"]
    options += ["-fflags", "+bitexact", "-flags:v", "+bitexact", "-map_metadata", "-1"]
    count = 0
    try:
        writer = imageio_ffmpeg.write_frames(
            str(path),
            (width, height),
            fps=fps,
            codec="libx264",
            quality=None,
            macro_block_size=1,
            output_params=options,
            ffmpeg_log_level="error",
        )
        writer.send(None)
        for frame in frames:
            writer.send(np.ascontiguousarray(frame))
            count += 1
        writer.close()
    except (OSError, RuntimeError) as error:
        raise AvatarError(
            f"video {path.name}: ffmpeg cannot encode it ({error}); reinstall imageio-ffmpeg, or set "
            "IMAGEIO_FFMPEG_EXE to an ffmpeg with libx264"
        ) from error
    return count
