"""`avatars retry`, `avatars cancel` and `avatars regenerate`: what is done about runs, once they were begun."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from avatar_core.errors import CatalogError
from flows.cli.errors import EXIT_FAILED, friendly
from flows.cli.library import LibraryOption, existing_library
from flows.cli.making import (
    BodyOption,
    DeviceOption,
    EncoderOption,
    PoolOption,
    PresetOption,
    QueueOption,
    WindowOption,
    carry_out_request,
    make_request,
)
from flows.cli.wording import count

if TYPE_CHECKING:
    from flows.session import Request

MAX_SEEDS = 10


@friendly
def retry(
    avatar_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="Avatars to make again. Default: all such.")
    ] = None,
    library: LibraryOption = "library",
    new_seed: Annotated[bool, typer.Option("--new-seed", help="Draw anew: take the next seed.")] = False,
    requested: Annotated[
        bool,
        typer.Option("--requested", help="Not what failed: what reviewers want from a new seed (`avatars gallery`)."),
    ] = False,
    preset: Annotated[
        str | None, typer.Option("--preset", "-p", help="Other effort than in the run before.")
    ] = None,
    encoder: Annotated[
        str | None, typer.Option("--encoder", help="Another encoder than in the run before.")
    ] = None,
    device: DeviceOption = "auto",
    pool: PoolOption = None,
    queue: QueueOption = None,
    window: WindowOption = 8,
) -> None:
    """Make avatars again that failed, those in quarantine too, as in the runs in which they failed; or, with
    --requested, those that reviewers want from another seed.

    Needs no catalog: the manifest has the rows. What they have finished is not computed again.

    Examples:

        avatars retry --library library

        avatars retry red-shirt-walker --library library --new-seed

        avatars retry --requested --library library

    Exit status: as `avatars run`.
    """
    from flows.retry import Choices, retry_requests

    existing_library(library)
    console = Console(soft_wrap=True)
    requests = retry_requests(library, avatar_ids or (), Choices(preset, encoder, device, new_seed, requested))
    if not requests:
        nothing = f"Nobody asked for a new seed in {library}." if requested else f"Nothing failed in {library}."
        console.print(nothing, markup=False, highlight=False)
        return
    statuses = [carry_out_request(request, pool, queue, window) for request in requests]
    if new_seed or requested:
        _say_seeds(console, requests)
    if any(statuses):
        raise typer.Exit(EXIT_FAILED)


def _say_seeds(console: Console, requests: "list[Request]") -> None:
    """Say what the catalog has to be changed to: its rows decide in the next run of it."""
    seeds = [f"{row.id} {row.seed}" for request in requests for row in request.rows]
    shown = ", ".join(seeds[:MAX_SEEDS]) + (f" and {len(seeds) - MAX_SEEDS:,} more" if len(seeds) > MAX_SEEDS else "")
    console.print(
        f"New seeds: {shown}. Write them into the catalog's column `seed`; else its next run goes by the old ones.",
        markup=False,
        highlight=False,
    )


@friendly
def cancel(
    run_id: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="Id of the run. Default: the newest that has not ended.")
    ] = None,
    library: LibraryOption = "library",
) -> None:
    """Ask a run to stop, wherever it goes on: what is in hand is finished and kept, nothing new begins.

    On a fleet (PREFECT_API_URL), shards that no worker has begun are taken off their queue.

    Examples:

        avatars cancel --library library

        avatars cancel 20260102-030405-678901-1a2b --library s3://bucket/people
    """
    from flows.limits import ask_to_stop
    from flows.orchestrator import configured_api_url, require_server
    from flows.run_state import newest_unended, read_state

    existing_library(library)
    console = Console(soft_wrap=True)
    state = read_state(library, run_id) if run_id else newest_unended(library)
    if state is None:
        raise CatalogError(f"No run of {library} goes on: all that were begun have ended.")
    name = state.plan.run_id
    if state.ended_at is not None:
        raise CatalogError(f"Run {name} has ended already, at {state.ended_at:%Y-%m-%d %H:%M} UTC.")
    ask_to_stop(library, name, "it was cancelled (avatars cancel)")
    said = f"Run {name} is asked to stop: every worker finishes the avatars that it has in hand, and begins no others."
    if configured_api_url() is not None:
        require_server()
        from flows.cancel import cancel_waiting

        said += f" {count(cancel_waiting(name), 'shard')} that waited for a worker will not begin."
    console.print(said, markup=False, highlight=False)
    console.print(
        "What is finished stays. To go on, give the run's command again; `avatars status` shows what is left.",
        markup=False,
        highlight=False,
    )


@friendly
def regenerate(
    catalog: Annotated[str, typer.Argument(help="CSV with the columns shape, appearance, motion (path or URL).")],
    library: LibraryOption = "library",
    older_than_days: Annotated[
        float | None, typer.Option("--older-than-days", min=0, help="Also make again what is older than that.")
    ] = None,
    min_score: Annotated[
        float | None, typer.Option("--min-score", help="Also make again, with other seeds, what scores less than that.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=20, help="Seeds tried for one below --min-score.")] = 3,
    preset: PresetOption = None,
    encoder: EncoderOption = "bodyclip",
    body: BodyOption = None,
    device: DeviceOption = "auto",
    pool: PoolOption = None,
    queue: QueueOption = None,
    window: WindowOption = 8,
) -> None:
    """Bring a library up to date: with changed rows, with this release, these settings and weights, and what
    failed and is not in quarantine.

    Only the stages that are concerned are computed again, and those that read them. What is up to date stays. On a
    schedule, `avatars deploy` does the same.

    Examples:

        avatars regenerate people.csv --library library

        avatars regenerate people.csv --library library --older-than-days 30 --min-score 0.25

    Exit status: as `avatars run`.
    """
    from flows.options import Gate, RunOptions, days_ago
    from flows.session import Request

    gate = None if min_score is None else Gate(minimum=min_score, attempts=seeds)
    options = RunOptions(remake_before=days_ago(older_than_days), gate=gate)
    request = Request(library, catalog, (), preset, encoder, device, options=options, body=body)
    make_request(request, pool, queue, window)
