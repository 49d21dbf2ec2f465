"""Motion clips of actions that are written as key poses, in the layout of captured clips.

python -m avatar_core.priors.authored --out FOLDER [--data MOTION_FOLDER] [--variants N] [--seed S] [--sheet FILE.png]
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from avatar_core.priors.action_scripts import Action, load_actions
from avatar_core.priors.authored_files import write_folder
from avatar_core.priors.authored_motion import AuthoredClip, draw_clip
from avatar_core.priors.authored_sheet import write_sheet
from avatar_core.seeds import numpy_generator

log = logging.getLogger(__name__)


def draw_clips(actions: tuple[Action, ...], variants: int, seed: int) -> list[AuthoredClip]:
    """Draw `variants` clips of every action; each depends on the seed, the action and its number alone."""
    return [
        draw_clip(action, numpy_generator(seed, "authored", action.name, str(number)))
        for action in actions
        for number in range(variants)
    ]


def main(arguments: list[str] | None = None) -> None:
    """Write a folder of clips, a sheet of pictures, or both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder that receives clips.npz and clips.csv")
    parser.add_argument("--data", type=Path, help="folder of captured clips, which come first")
    parser.add_argument("--variants", type=int, default=4, help="clips of each action")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sheet", type=Path, help="picture of three moments of every action")
    parser.add_argument("--actions", type=Path, help="YAML file of actions instead of the package's")
    parser.add_argument("--only", nargs="*", help="names of the actions to take")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    actions = load_actions(options.actions)
    if options.only:
        actions = tuple(action for action in actions if action.name in options.only)
    if options.sheet:
        write_sheet(options.sheet, actions)
    if options.out:
        clips = draw_clips(actions, options.variants, options.seed)
        write_folder(options.out, clips, options.data)
        log.info("%d actions, %d clips, %d frames", len(actions), len(clips), sum(len(c.poses) for c in clips))


if __name__ == "__main__":
    main()
