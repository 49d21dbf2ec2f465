"""`avatars status` and `avatars show`: what a library holds, without loading any model."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from avatar_core.errors import CatalogError
from avatar_core.manifest import avatar_states, read_history, read_latest, read_states, read_summary
from avatar_core.storage import Location, open_location
from flows.cli.errors import EXIT_FAILED, friendly
from flows.cli.estimate import clock
from flows.delivery import FILES, delivered_uri
from flows.lock import running
from tasks.work import STAGES

LibraryOption = Annotated[str, typer.Option("--library", "-l", help="Folder (or fsspec URL) of the library.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object for scripts, and nothing else.")]

MAX_ROWS = 40


@friendly
def status(library: LibraryOption = "library", as_json: JsonOption = False) -> None:
    """Say what a library holds: avatars done, failed and unfinished, rejected rows, cost.

    Examples:

        avatars status --library library

        avatars status -l library --json | jq .counts
    """
    location = _existing(library)
    summary = read_summary(library)
    table = read_states(library)
    states = (table if as_json else table.slice(0, MAX_ROWS)).to_pylist()
    holder = running(library)
    for state in states:
        if state["state"] == "running" and holder is None:
            state["state"] = "unfinished"
    rejected = [_rejection(row) for row in summary.rejected.to_pylist()]
    counts = _counted(summary.states, holder is None)
    report = {
        "library": library,
        "running": None if holder is None else holder.__dict__,
        "counts": {**counts, "rejected": len(rejected)},
        "stages": summary.statuses,
        "seconds": round(summary.seconds, 1),
        "avatars": states,
        "rejected": rejected,
    }
    if as_json:
        _print_json(report)
    else:
        _show_status(report, location, table.num_rows - len(states))


def _counted(counts: Mapping[str, int], idle: bool) -> dict[str, int]:
    return {("unfinished" if idle and state == "running" else state): count for state, count in counts.items()}


def _rejection(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "catalog": row["catalog"],
        "line": row["line"],
        "field": row["error_field"],
        "reason": row["error_message"],
        "remedy": row["remedy"],
    }


def _show_status(report: Mapping[str, Any], location: Location, unlisted: int) -> None:
    console = Console(soft_wrap=True)
    if report["running"]:
        console.print(f"A run is at work: process {report['running']['pid']}, since {report['running']['started']}.")
    counts = ", ".join(f"{count} {state}" for state, count in report["counts"].items() if count)
    console.print(f"{location.url}: {counts or 'no avatars yet'}; {clock(report['seconds'])} of computing.")
    if report["avatars"]:
        table = Table("avatar", "state", "stages", "time", "reason", "what to do")
        for row in report["avatars"]:
            stages = f"{row['stages_done']}/{len(STAGES)}"
            reason = f"{row['error_stage']}: {row['error_message']}" if row["error_message"] else ""
            table.add_row(row["avatar_id"], row["state"], stages, clock(row["seconds"]), reason, row["remedy"] or "")
        console.print(table)
        if unlisted:
            console.print(f"… and {unlisted} more; --json lists all of them.")
    if report["rejected"]:
        table = Table("catalog", "line", "field", "reason", "what to do", title="Rejected rows", title_justify="left")
        for row in report["rejected"][:MAX_ROWS]:
            table.add_row(row["catalog"], str(row["line"]), row["field"], row["reason"], row["remedy"])
        console.print(table)


@friendly
def show(
    avatar_id: Annotated[str, typer.Argument(help="Id of the avatar, as `avatars status` lists it.")],
    library: LibraryOption = "library",
    as_json: JsonOption = False,
) -> None:
    """Say everything about one avatar: prompts, files, scores, what each stage cost, what failed.

    Example:

        avatars show red-shirt-walker --library library
    """
    location = _existing(library)
    latest = read_latest(library, avatar_ids=[avatar_id]).to_pylist()
    if not latest:
        raise CatalogError(f"The library {library} has no avatar {avatar_id!r}; `avatars status` lists those it has.")
    report = _avatar_report(location, library, avatar_id, latest)
    if as_json:
        _print_json(report)
    else:
        _show_avatar(report)
    if report["state"] == "failed":
        raise typer.Exit(EXIT_FAILED)


def _avatar_report(location: Location, library: str, avatar_id: str, latest: list[dict[str, Any]]) -> dict[str, Any]:
    state = avatar_states(read_latest(library, avatar_ids=[avatar_id])).to_pylist()[0]
    newest = max(latest, key=lambda row: row["recorded_at"])
    by_stage = {row["stage"]: row for row in latest}
    folder = delivered_uri(avatar_id)
    sizes = location.files(folder)
    fields = ("status", "key", "uri", "bytes", "seconds", "peak_mb", "score", "seed", "error_message", "remedy")
    report_path = f"{folder}/report.json"
    return {
        "avatar_id": avatar_id,
        "state": state["state"],
        **{
            name: newest[name]
            for name in ("shape", "appearance", "motion", "preset", "body", "tags", "catalog", "line")
        },
        "extra": json.loads(newest["extra"]) if newest["extra"] else {},
        "folder": f"{location.url.rstrip('/')}/{folder}",
        "files": {name: sizes[name] for name in FILES if name in sizes},
        "stages": {stage: {name: by_stage[stage][name] for name in fields} for stage in STAGES if stage in by_stage},
        "records": read_history(library, avatar_id).num_rows,
        "report": json.loads(location.read(report_path)) if "report.json" in sizes else None,
    }


def _show_avatar(report: Mapping[str, Any]) -> None:
    console = Console(soft_wrap=True)
    console.print(f"{report['avatar_id']}: {report['state']}", style="bold", markup=False)
    for name in ("shape", "appearance", "motion", "preset"):
        console.print(f"  {name:<11}{report[name]}", markup=False, highlight=False)
    if report["files"]:
        console.print(f"  folder     {report['folder']}", markup=False, highlight=False)
        listing = ", ".join(f"{name} ({size / 1e6:.1f} MB)" for name, size in report["files"].items())
        console.print(f"  files      {listing}", markup=False, highlight=False)
    table = Table("stage", "status", "seconds", "peak MB", "score", "seed", "key")
    table.columns[0].no_wrap = True
    for stage, row in report["stages"].items():
        table.add_row(
            stage,
            row["status"],
            _number(row["seconds"], 1),
            _number(row["peak_mb"], 0),
            _number(row["score"], 3),
            str(row["seed"]),
            (row["key"] or "")[:8],
        )
    console.print(table)
    for stage, row in report["stages"].items():
        if row["error_message"]:
            console.print(f"{stage}: {row['error_message']} {row['remedy']}", style="red", markup=False)


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _existing(library: str) -> Location:
    location = open_location(library)
    if location.is_local and not location.path().is_dir():
        raise CatalogError(f"There is no library at {library}; `avatars run` or `avatars make` makes one.")
    return location


def _print_json(report: Mapping[str, Any]) -> None:
    typer.echo(json.dumps(report, indent=2, default=str))
