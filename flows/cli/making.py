"""`avatars run` and `avatars make`: from prompts to avatars."""

import re
import shlex
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from avatar_core.errors import CatalogError
from flows.cli.errors import EXIT_FAILED, EXIT_INTERRUPTED, friendly, say_error

if TYPE_CHECKING:
    from flows.session import Request

LibraryOption = Annotated[
    str,
    typer.Option("--library", "-l", help="Folder (or fsspec URL) that avatars are made in.", show_default=True),
]
PresetOption = Annotated[
    str | None,
    typer.Option(
        "--preset",
        "-p",
        help="Effort: draft, standard, paper, or a YAML file of your own. Default: draft on a CPU, standard on a GPU.",
    ),
]
EncoderOption = Annotated[
    str,
    typer.Option(
        "--encoder",
        help="Vision-language model: the embedded bodyclip, a folder, a hub name "
        "(openai/clip-vit-base-patch32), or clip:NAME of OpenAI's own package.",
    ),
]
BodyOption = Annotated[
    str | None,
    typer.Option(
        "--body",
        help="Body of rows that name none: the embedded anny, or smpl, smplx-female, … that you added with "
        "`avatars models add`. Default: the preset's.",
    ),
]
FLEET = "On a fleet"
LIMITS = "When to stop, what to try again"
PoolOption = Annotated[
    str | None,
    typer.Option(
        "--pool",
        help="Work pool whose workers make the avatars (`avatars deploy` prepares it). Default: this process.",
        rich_help_panel=FLEET,
    ),
]
QueueOption = Annotated[
    str | None,
    typer.Option("--queue", help="Work queue of the pool: urgent, scheduled or backfill.", rich_help_panel=FLEET),
]
WindowOption = Annotated[
    int, typer.Option("--window", min=1, help="Shards submitted at a time.", rich_help_panel=FLEET)
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]


@friendly
def run(
    catalog: Annotated[str, typer.Argument(help="CSV with the columns shape, appearance, motion (path or URL).")],
    library: LibraryOption = "library",
    preset: PresetOption = None,
    encoder: EncoderOption = "bodyclip",
    body: BodyOption = None,
    device: DeviceOption = "auto",
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Make only the first N good rows.")] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Make only the row with this id; may be given several times.")
    ] = None,
    pool: PoolOption = None,
    queue: QueueOption = None,
    window: WindowOption = 8,
    shard_size: Annotated[int, typer.Option(min=1, help="Avatars of one flow run.", rich_help_panel=FLEET)] = 1000,
    micro_batch: Annotated[
        int | None,
        typer.Option(min=1, help="Avatars of one task; default: 1, 32 in large catalogs.", rich_help_panel=FLEET),
    ] = None,
    max_avatars: Annotated[
        int | None, typer.Option(min=1, help="Stop after so many avatars.", rich_help_panel=LIMITS)
    ] = None,
    max_hours: Annotated[
        float | None,
        typer.Option(min=0.001, help="Stop after so many hours of computing, of all devices.", rich_help_panel=LIMITS),
    ] = None,
    failure_fraction: Annotated[
        float,
        typer.Option(min=0.001, max=1.0, help="Stop when more than this share fails (of 20).", rich_help_panel=LIMITS),
    ] = 0.5,
    max_attempts: Annotated[
        int, typer.Option(min=1, help="Failed attempts before a row goes into quarantine.", rich_help_panel=LIMITS)
    ] = 3,
    min_score: Annotated[
        float | None,
        typer.Option(help="Least CLIP score; an avatar below it is made with other seeds.", rich_help_panel=LIMITS),
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, max=20, help="Seeds tried for one below --min-score.", rich_help_panel=LIMITS)
    ] = 3,
) -> None:
    """Make every avatar of a catalog.

    Each row holds three prompts; optional columns are `id`, `seed`, `preset`, `body` and `tags`. A bad row is
    reported with its line and what to do about it, and the others go on. Finished avatars lie in
    `LIBRARY/avatars/<id>/`: avatar.glb (for Blender, Unity, Unreal, Godot, a browser), avatar.ply, preview.png,
    turntable.mp4, motion.mp4, motion.webp, optimisation.mp4 and learning.png (how texturing went) and the quality
    report, report.html and report.json.

    The same command again computes only what is missing: after a crash, Ctrl-C, `kill -9`, or new rows in the CSV.

    Examples:

        avatars run configs/catalogs/demo.csv --library library

        avatars run people.csv -l library --only knight --only dancer

        avatars run people.csv -l s3://bucket/people --preset standard --device cuda:1

    On a fleet (after `avatars deploy`, with PREFECT_API_URL set):

        avatars run people.csv -l s3://bucket/people --preset standard --pool gpu

    Exit status: 0 when every row is an avatar, 1 when some failed or were rejected, 2 for mistakes in the command
    or a file that is no catalog, 130 when stopped.
    """
    from flows.options import Gate, RunOptions
    from flows.session import Request

    options = RunOptions(
        shard_size=shard_size,
        micro_batch=micro_batch,
        max_avatars=max_avatars,
        max_gpu_hours=max_hours,
        failure_fraction=failure_fraction,
        max_attempts=max_attempts,
        gate=None if min_score is None else Gate(minimum=min_score, attempts=seeds),
    )
    request = Request(
        library=library,
        catalog=catalog,
        preset=preset,
        encoder=encoder,
        device=device,
        only=tuple(only or ()),
        limit=limit,
        options=options,
        body=body,
    )
    make_request(request, pool, queue, window)


@friendly
def make(
    shape: Annotated[str, typer.Option("--shape", help='The body, such as "a tall and fat man".')],
    appearance: Annotated[str, typer.Option("--appearance", help='Looks and clothes, such as "a man in a red shirt".')],
    motion: Annotated[str, typer.Option("--motion", help='What it does, such as "walking".')],
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Another seed, another variant.")] = None,
    name: Annotated[str | None, typer.Option("--id", help="Name of the avatar; default: from the prompts.")] = None,
    library: LibraryOption = "library",
    preset: PresetOption = None,
    encoder: EncoderOption = "bodyclip",
    body: BodyOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Make one avatar from three prompts.

    Example:

        avatars make --shape "a slim woman" --appearance "a woman in a purple jacket" --motion "dancing salsa" --id ada
    """
    import csv
    import io

    from avatar_core.catalog import RejectedRow, read_catalog
    from flows.session import Request

    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["id", "shape", "appearance", "motion", "seed"])
    writer.writerow([name or "", shape, appearance, motion, "" if seed is None else seed])
    row = next(read_catalog(io.BytesIO(text.getvalue().encode())))
    if isinstance(row, RejectedRow):
        raise CatalogError(f"--{row.field}: {row.reason}; {row.remedy}.")
    request = Request(
        library=library,
        catalog="avatars make",
        rows=(row,),
        preset=preset,
        encoder=encoder,
        device=device,
        body=body,
    )
    make_request(request)


def make_request(request: "Request", pool: str | None = None, queue: str | None = None, window: int = 8) -> None:
    """Carry out a request on the screen, here or on a work pool, and exit with the status that says how it went."""
    if carry_out_request(request, pool, queue, window):
        raise typer.Exit(EXIT_FAILED)


def carry_out_request(request: "Request", pool: str | None, queue: str | None, window: int) -> int:
    """Carry out a request on the screen, here or on a work pool; return 0 if every row is an avatar, else 1."""
    from flows.cli.run_view import RunView

    console = Console(soft_wrap=True)
    try:
        if pool is None:
            return RunView(console, request).run(command_line())
        from flows.cli.pool_view import run_on_pool
        from flows.session import shared_library

        shared = replace(request, library=shared_library(request.library))
        return run_on_pool(RunView(console, shared), pool, queue, window)
    except KeyboardInterrupt:
        say_error(f"Stopped. Nothing that was finished is lost; to go on:\n  {command_line()}")
        raise typer.Exit(EXIT_INTERRUPTED) from None


def command_line() -> str:
    """Return this process's command as one would type it."""
    program = re.sub(r".*[/\\]", "", sys.argv[0]) or "avatars"
    name = "avatars" if program in ("__main__.py", "-c") else program
    return shlex.join([name, *sys.argv[1:]])
