"""`avatars run` and `avatars make`: from prompts to avatars."""

import re
import shlex
import sys
from typing import Annotated

import typer
from rich.console import Console

from avatar_core.errors import CatalogError
from flows.cli.errors import EXIT_FAILED, EXIT_INTERRUPTED, friendly, say_error

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
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]


@friendly
def run(
    catalog: Annotated[str, typer.Argument(help="CSV with the columns shape, appearance, motion (path or URL).")],
    library: LibraryOption = "library",
    preset: PresetOption = None,
    encoder: EncoderOption = "bodyclip",
    device: DeviceOption = "auto",
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Make only the first N good rows.")] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Make only the row with this id; may be given several times.")
    ] = None,
) -> None:
    """Make every avatar of a catalog.

    Each row holds three prompts; optional columns are `id`, `seed`, `preset`, `body` and `tags`. A bad row is
    reported with its line and what to do about it, and the others go on. Finished avatars lie in
    `LIBRARY/avatars/<id>/`: avatar.glb (for Blender, Unity, Unreal, Godot, a browser), avatar.ply, preview.png,
    turntable.mp4, motion.mp4, optimisation.mp4 and learning.png (how texturing went) and report.json.

    The same command again computes only what is missing: after a crash, Ctrl-C, `kill -9`, or new rows in the CSV.

    Examples:

        avatars run configs/catalogs/demo.csv --library library

        avatars run people.csv -l library --only knight --only dancer

        avatars run people.csv -l s3://bucket/people --preset standard --device cuda:1

    Exit status: 0 when every row is an avatar, 1 when some failed or were rejected, 2 for mistakes in the command
    or a file that is no catalog, 130 when stopped.
    """
    from flows.session import Request

    request = Request(
        library=library,
        catalog=catalog,
        preset=preset,
        encoder=encoder,
        device=device,
        only=tuple(only or ()),
        limit=limit,
    )
    _make(request)


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
        library=library, catalog="avatars make", rows=(row,), preset=preset, encoder=encoder, device=device
    )
    _make(request)


def _make(request: "object") -> None:
    """Carry out a request on the screen, and exit with the status that says how it went."""
    from flows.cli.run_view import RunView

    view = RunView(Console(soft_wrap=True), request)  # type: ignore[arg-type]
    try:
        status = view.run(command_line())
    except KeyboardInterrupt:
        say_error(f"Stopped. Nothing that was finished is lost; to go on:\n  {command_line()}")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    if status:
        raise typer.Exit(EXIT_FAILED)


def command_line() -> str:
    """Return this process's command as one would type it."""
    program = re.sub(r".*[/\\]", "", sys.argv[0]) or "avatars"
    name = "avatars" if program in ("__main__.py", "-c") else program
    return shlex.join([name, *sys.argv[1:]])
