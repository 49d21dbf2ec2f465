"""`avatars export`: finished avatars in other formats."""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from avatar_core.errors import CatalogError, ConfigError
from flows.cli.errors import EXIT_FAILED, friendly, say_error
from flows.exporting import ExportOutcome, ExportRequest, export_all
from flows.finished import avatar_ids


@friendly
def export(
    ids: Annotated[list[str] | None, typer.Argument(help="Ids of avatars, as `avatars status` lists them.")] = None,
    formats: Annotated[
        str, typer.Option("--format", "-f", help="Names of formats, separated by commas; see above.")
    ] = "",
    library: Annotated[str, typer.Option("--library", "-l", help="Folder (or fsspec URL) of the library.")] = "library",
    everything: Annotated[bool, typer.Option("--all", help="Export every finished avatar of the library.")] = False,
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", help="Folder that gets a folder for each avatar. Default: the avatars' own."),
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Avatars exported at once.")] = os.cpu_count() or 1,
    force: Annotated[bool, typer.Option("--force", help="Write also what is up to date.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object for scripts, and nothing else.")
    ] = False,
) -> None:
    """Write finished avatars in other formats.

    Every avatar already has avatar.glb (Blender, Unity, Unreal, Godot, browsers) and avatar.ply. From avatar.glb this
    command makes, without computing anything again:

    - **vrm**: VRM 1.0 with its humanoid and licence, in the T-pose: VTubing, social VR, Unity, three.js

    - **usdz**, **usd**: skeleton, skin, clips and materials: AR Quick Look; Omniverse, Houdini, Maya
      (needs `pip install usd-core`)

    - **fbx**: Unity, Unreal, Maya, MotionBuilder (needs Blender: `blender` on PATH, or `pip install bpy`)

    - **bvh**, **npz**: the motion alone, for animation tools, and as AMASS stores it

    - **obj**, **ply**: the still mesh, with a texture, and with vertex colours

    - **lods**: GLBs of a half, a fifth and a twentieth of the triangles

    - **meshopt**, **draco**: compressed GLBs for the web (needs `npm install --global @gltf-transform/cli`)

    What was exported before from the same avatar is left alone, so a long export goes on where it was stopped. An
    avatar that cannot be exported is named at the end, and the others go on.

    Examples:

        avatars export knight --format vrm,usdz --library library

        avatars export knight dancer -f bvh -l library --out motions

        avatars export --all -f fbx -l library --out /srv/assets --jobs 8

    Exit status: 0 when everything was written, 1 when some avatars failed, 2 for mistakes in the command or a missing
    program, 130 when stopped.
    """
    requests = _requests(ids or [], everything, formats, library, out, force)
    console = Console(soft_wrap=True)
    outcomes = list(_watched(export_all(requests, jobs), len(requests), console, as_json))
    failed = [outcome for outcome in outcomes if outcome.failed]
    if as_json:
        typer.echo(json.dumps({"avatars": [asdict(outcome) for outcome in outcomes], "failed": len(failed)}, indent=2))
    else:
        _show(outcomes, failed, console)
    if failed:
        raise typer.Exit(EXIT_FAILED)


def _requests(
    ids: list[str], everything: bool, formats: str, library: str, out: str | None, force: bool
) -> list[ExportRequest]:
    """What is asked for; raises CatalogError and ConfigError for mistakes in the command."""
    from avatar_core.export.formats.registry import FORMATS, find_formats

    names = [name for part in formats.split(",") if (name := part.strip().lower())]
    if not names:
        raise ConfigError(f"Give the formats: --format {','.join(list(FORMATS)[:2])} (there are {', '.join(FORMATS)}).")
    wanted = tuple(entry.name for entry in find_formats(names))
    if everything == bool(ids):
        raise CatalogError("Give either ids of avatars or --all; `avatars status` lists the ids.")
    chosen = avatar_ids(library) if everything else list(dict.fromkeys(ids))
    return [ExportRequest(library, avatar_id, wanted, out, force) for avatar_id in chosen]


def _watched(
    outcomes: Iterator[ExportOutcome], total: int, console: Console, quiet: bool
) -> Iterator[ExportOutcome]:
    """Pass outcomes on, with a progress bar on a terminal."""
    bar = Progress(
        TextColumn("exporting"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}", style="dim"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    )
    with bar:
        task = bar.add_task("export", total=total, note="")
        for outcome in outcomes:
            bar.update(task, advance=1, note=outcome.avatar_id)
            yield outcome


def _show(outcomes: list[ExportOutcome], failed: list[ExportOutcome], console: Console) -> None:
    written = sum(len(outcome.written) for outcome in outcomes)
    kept = sum(len(outcome.kept) for outcome in outcomes)
    console.print(
        f"{len(outcomes)} avatars: {written} files or sets of files written, {kept} were up to date.",
        markup=False, highlight=False,
    )  # fmt: skip
    if len(outcomes) == 1:
        console.print(f"They are in {outcomes[0].folder}", markup=False, highlight=False)
    for outcome in failed:
        for name, reason in outcome.failed.items():
            say_error(f"{outcome.avatar_id}{': ' * bool(name)}{name}: {reason}")
