"""`avatars animate`: a motion of the user's on a finished avatar."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from flows.animating import Animated, AnimateRequest
from flows.animating import animate as carry_out
from flows.cli.errors import friendly


@friendly
def animate(
    avatar_id: Annotated[str, typer.Argument(help="Id of the avatar, as `avatars status` lists it.")],
    motion: Annotated[
        str, typer.Option("--motion", "-m", help="A .bvh, .npz (AMASS) or .glb file, or the id of another avatar.")
    ],
    library: Annotated[str, typer.Option("--library", "-l", help="Folder (or fsspec URL) of the library.")] = "library",
    clip: Annotated[str | None, typer.Option("--clip", help="Which clip of an avatar's. Default: its first.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Of the new clip. Default: the motion file's.")] = None,
    start: Annotated[float, typer.Option("--start", min=0, help="Where in the motion it begins, seconds.")] = 0.0,
    seconds: Annotated[
        float | None, typer.Option("--seconds", min=0.1, help="How long it lasts, at most 60. Default: to the end.")
    ] = None,
    out: Annotated[
        str | None, typer.Option("--out", "-o", help="Folder that gets a folder of the avatar's name.")
    ] = None,
    video: Annotated[bool, typer.Option("--video/--no-video", help="Film the motion, too.")] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object for scripts, and nothing else.")
    ] = False,
) -> None:
    """Put a motion of yours on a finished avatar.

    The motion is brought to the avatar's proportions: bones point where the recording's do, steps fit the length of the
    legs, feet that stand are held, and nothing sinks into the ground. It begins at the origin and faces forward.

    Joints are found by their names. BVH skeletons of CMU, Mixamo, 3ds Max biped, Xsens, Rokoko, DAZ, Unreal and SMPL
    are known (reading them needs `pip install pybvh`); AMASS files may be SMPL, SMPL-H or SMPL-X. Mind their licences:
    the clip is under the terms of the recording.

    `LIBRARY/avatars/ID/animations/` gets NAME.glb, the avatar with the new clip before those that it had, and NAME.mp4.
    When the avatar is made anew, its folder is too: keep what you need with --out.

    Examples:

        avatars animate knight --motion cmu/02_01.bvh --library library

        avatars animate knight -m dance.npz -l library --start 4 --seconds 10 --name "salsa" --out clips

        avatars animate knight -m dancer -l library

    Exit status: 0 when it was made, 2 for a motion or an avatar that cannot be used.
    """
    request = AnimateRequest(library, avatar_id, motion, clip, name, start, seconds, out, video)
    console = Console(soft_wrap=True)
    bar = Progress(
        TextColumn("filming"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=console, transient=True, disable=as_json or not console.is_terminal,
    )  # fmt: skip
    with bar:
        task = bar.add_task("film", total=None)
        made = carry_out(request, step=lambda done, total: bar.update(task, completed=done, total=total))
    if as_json:
        typer.echo(json.dumps(asdict(made), indent=2))
    else:
        _show(made, console)


def _show(made: Animated, console: Console) -> None:
    facts = made.facts
    console.print(
        f"{made.clip!r}: {facts.frames} frames, {facts.frames / facts.fps:.1f} s; standing feet slide "
        f"{facts.foot_skate_mm:.1f} mm a frame, the skin stretches {facts.worst_stretch:.1f} times at most.",
        markup=False, highlight=False,
    )  # fmt: skip
    for path in made.files:
        console.print(f"  {path}", markup=False, highlight=False)
