"""`avatars status` and `avatars show`: what a library holds, without loading any model."""

import contextlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import pyarrow as pa
import pyarrow.compute as pc
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from avatar_core.errors import CatalogError
from avatar_core.manifest import avatar_states, read_history, read_latest, read_states
from avatar_core.manifest.schema import REVIEW_STAGE
from avatar_core.reports.avatar_page import read_report
from avatar_core.storage import Location
from flows.cli.errors import EXIT_FAILED, friendly
from flows.cli.estimate import clock
from flows.cli.library import JsonOption, LibraryOption, PriceOption, existing_library, print_json
from flows.cli.wording import reviewed
from flows.delivery import FILES, delivered_uri
from tasks.work import STAGES

if TYPE_CHECKING:
    from rich.console import RenderableType

    from flows.census import Census

MAX_ROWS = 40


@friendly
def status(
    library: LibraryOption = "library",
    as_json: JsonOption = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it anew until the run ends, or Ctrl-C.")] = False,
    price: PriceOption = None,
) -> None:
    """Say what a library holds and how its newest run goes: states, failures by reason, rate, time left, cost.

    Examples:

        avatars status --library library --watch --price 2.50

        avatars status -l library --json | jq .counts
    """
    from flows.census import take_census
    from flows.cli import status_view

    location = existing_library(library)
    console = Console(soft_wrap=True)
    if as_json:
        print_json(_status_report(library, take_census(library), price))
        return
    if watch:

        def show(census: "Census") -> "RenderableType":
            return status_view.overview(census, location.url, price)

        with contextlib.suppress(KeyboardInterrupt):  # the usual way to stop watching; the run goes on
            status_view.watch(console, lambda previous: take_census(library, previous=previous), show)
        return
    census = take_census(library)
    console.print(status_view.overview(census, location.url, price))
    _show_avatars(console, library, census)


def _status_report(library: str, census: "Census", price: float | None) -> dict[str, Any]:
    from flows.cli import status_view

    states = read_states(library).to_pylist()
    for state in states:
        if state["state"] == "running" and not census.going:
            state["state"] = "unfinished"
    return {
        "library": library,
        "running": None if census.holder is None else census.holder.__dict__,
        "counts": census.counts,
        "stages": census.statuses,
        "reviews": census.reviews,
        "seconds": round(census.seconds, 1),
        **status_view.as_json(census, price),
        "avatars": states,
        "rejected": [_rejection(row) for row in census.rejected.to_pylist()],
    }


def _rejection(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "catalog": row["catalog"],
        "line": row["line"],
        "field": row["error_field"],
        "reason": row["error_message"],
        "remedy": row["remedy"],
    }


def _show_avatars(console: Console, library: str, census: "Census") -> None:
    """List some avatars, what failed first, and some of the rejected rows."""
    total = sum(number for state, number in census.counts.items() if state != "rejected")
    if total:
        table = Table("avatar", "state", "stages", "time", "reason")
        for row in _some_states(library):
            state = "unfinished" if row["state"] == "running" and not census.going else row["state"]
            reason = f"{row['error_stage']}: {row['error_message']}" if row["error_message"] else ""
            stages = f"{row['stages_done']}/{len(STAGES)}"
            table.add_row(row["avatar_id"], state, stages, clock(row["seconds"]), Text(reason))
        console.print(table)
        if total > MAX_ROWS:
            console.print(f"… and {total - MAX_ROWS:,} more; --json lists all of them.")
    if census.rejected.num_rows:
        table = Table("catalog", "line", "field", "reason", "what to do", title="Rejected rows", title_justify="left")
        for row in map(_rejection, census.rejected.slice(0, MAX_ROWS).to_pylist()):
            table.add_row(row["catalog"], str(row["line"]), row["field"], Text(row["reason"]), row["remedy"])
        console.print(table)


def _some_states(library: str) -> list[dict[str, Any]]:
    """Return the first MAX_ROWS avatars: failed, then begun, then the others, each by id."""
    known = read_states(library, columns=("avatar_id", "state"))
    ids: list[str] = []
    for states in (("failed",), ("running",), ("accepted", "done")):
        chosen = known.filter(pc.is_in(known["state"], value_set=pa.array(states)))["avatar_id"]
        smallest = pc.select_k_unstable(chosen, k=MAX_ROWS, sort_keys=[("", "ascending")])
        ids += chosen.take(smallest).to_pylist()
    places = {avatar_id: place for place, avatar_id in enumerate(ids[:MAX_ROWS])}
    rows = read_states(library, avatar_ids=list(places)).to_pylist()
    return sorted(rows, key=lambda row: places[row["avatar_id"]])


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
    location = existing_library(library)
    latest = read_latest(library, avatar_ids=[avatar_id]).to_pylist()
    if not latest:
        raise CatalogError(f"The library {library} has no avatar {avatar_id!r}; `avatars status` lists those it has.")
    report = _avatar_report(location, library, avatar_id, latest)
    if as_json:
        print_json(report)
    else:
        _show_avatar(report)
    if report["state"] == "failed":
        raise typer.Exit(EXIT_FAILED)


def _avatar_report(location: Location, library: str, avatar_id: str, latest: list[dict[str, Any]]) -> dict[str, Any]:
    state = avatar_states(read_latest(library, avatar_ids=[avatar_id])).to_pylist()[0]
    made = [row for row in latest if row["stage"] != REVIEW_STAGE]
    newest = max(made or latest, key=lambda row: row["recorded_at"])
    by_stage = {row["stage"]: row for row in latest}
    folder = delivered_uri(avatar_id)
    sizes = location.files(folder)
    fields = ("status", "key", "uri", "bytes", "seconds", "peak_mb", "score", "seed", "error_message", "remedy")
    report_path = f"{folder}/report.json"
    return {
        "avatar_id": avatar_id,
        "state": state["state"],
        **{name: state[name] for name in ("review", "reviewed_at")},
        **{
            name: newest[name]
            for name in ("shape", "appearance", "motion", "preset", "body", "tags", "catalog", "line")
        },
        "extra": json.loads(newest["extra"]) if newest["extra"] else {},
        "folder": f"{location.url.rstrip('/')}/{folder}",
        "files": {name: sizes[name] for name in FILES if name in sizes},
        "stages": {stage: {name: by_stage[stage][name] for name in fields} for stage in STAGES if stage in by_stage},
        "records": read_history(library, avatar_id).num_rows,
        "report": read_report(location.read(report_path)) if "report.json" in sizes else None,
    }


def _show_avatar(report: Mapping[str, Any]) -> None:
    console = Console(soft_wrap=True)
    console.print(f"{report['avatar_id']}: {report['state']}", style="bold", markup=False)
    if report["review"]:
        console.print(f"  review     {reviewed(report['review'])}", markup=False, highlight=False)
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
