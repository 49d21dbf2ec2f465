"""What `avatars status` shows of a library's numbers: once, or again and again while a run goes on."""

import time
from collections.abc import Callable
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from avatar_core.reports.reason import Reason
from flows.census import Census
from flows.cli.estimate import clock
from flows.cli.wording import count, near_duplicates, reviewed, shared_work
from flows.run_state import RunState

REFRESH_SECONDS = 2.0
REST = 4.0
MAX_REASONS = 12
MAX_MESSAGE = 160


def as_json(census: Census, price: float | None) -> dict[str, Any]:
    """Return the numbers that a census has beside those of single avatars, for scripts."""
    return {
        "quarantined": census.quarantined,
        "failures": [reason.__dict__ for reason in census.failures],
        "avatars_per_hour": round(census.per_hour, 2),
        "window_seconds": round(census.window.total_seconds(), 1),
        "seconds_left": None if census.seconds_left is None else round(census.seconds_left, 1),
        "gpu_hours": round(census.gpu_seconds / 3600, 4),
        "cost": None if price is None else round(census.price(price), 2),
        "run": None if census.run is None else _run_json(census, census.run),
    }


def _run_json(census: Census, run: RunState) -> dict[str, Any]:
    counts = run.plan.counts
    return {
        "run_id": run.plan.run_id,
        "catalog": run.plan.catalog,
        "begun_at": run.begun_at,
        "ended_at": run.ended_at,
        "stopped": run.stopped,
        "going": census.going,
        "avatars": run.avatars,
        "left": census.left,
        "shards": len(run.plan.shards),
        "shards_ended": run.shards_ended,
        "rows": counts.rows,
        "unique": dict(counts.unique),
        "near_duplicates": counts.near_duplicates,
    }


def overview(census: Census, library: str, price: float | None) -> RenderableType:
    """Return the numbers for a person."""
    parts: list[RenderableType] = [Text(line) for line in _lines(census, library, price)]
    if census.failures:
        parts.append(_failure_table(census.failures))
    return Group(*parts)


def _lines(census: Census, library: str, price: float | None) -> list[str]:
    lines = []
    if census.holder is not None:
        lines.append(f"A run is at work: process {census.holder.pid}, since {census.holder.started}.")
    lines.append(f"{library}: {_states(census)}; {_spent(census, price)}.")
    if census.reviews:
        said = ", ".join(f"{number:,} {reviewed(name)}" for name, number in census.reviews.items())
        lines.append(f"Reviews: {said}.")
    if census.run is not None:
        lines += _run_lines(census, census.run)
    return lines


def _states(census: Census) -> str:
    said = []
    for state, number in census.counts.items():
        if number:
            kept = f" ({census.quarantined:,} in quarantine)" if state == "failed" and census.quarantined else ""
            said.append(f"{number:,} {state}{kept}")
    return ", ".join(said) or "no avatars yet"


def _spent(census: Census, price: float | None) -> str:
    spent = f"{clock(census.seconds)} of computing"
    if census.gpu_seconds:
        spent += f", {census.gpu_seconds / 3600:,.2f} GPU-hours"
    if price is not None:
        spent += f", cost {census.price(price):,.2f} at {price:g} an hour"
    return spent


def _run_lines(census: Census, run: RunState) -> list[str]:
    counts = run.plan.counts
    lines = [f"Run {run.plan.run_id} of {run.plan.catalog or 'rows'}: {_how_it_goes(census, run)}."]
    if counts.rows:
        lines.append(f"  {shared_work(counts)}. {near_duplicates(counts)}".rstrip())
    return lines


def _how_it_goes(census: Census, run: RunState) -> str:
    shards = f"{run.shards_ended} of {count(len(run.plan.shards), 'shard')} ended"
    if run.ended_at is not None:
        return f"ended, {shards}" + (f"; it stopped: {run.stopped}" if run.stopped else "")
    if not census.going:
        return f"interrupted with {count(census.left, 'avatar')} left, {shards}; the same command again goes on"
    said = f"{count(census.left, 'avatar')} of {run.avatars:,} left, {shards}"
    minutes = clock(census.window.total_seconds())
    said += f"; {census.per_hour:,.1f} avatars/h in the last {minutes}"
    if census.seconds_left is not None:
        said += f", about {clock(census.seconds_left)} left"
    return said + (f"; asked to stop: {run.stopped}" if run.stopped else "")


def _failure_table(failures: tuple[Reason, ...]) -> Table:
    table = Table("stage", "error", "avatars", "example", "what to do", title="Failed, by reason", title_justify="left")
    for reason in failures[:MAX_REASONS]:
        first = (reason.message.splitlines() or [""])[0]
        said = first if len(first) <= MAX_MESSAGE else first[: MAX_MESSAGE - 1] + "…"
        example = Text(f"{reason.example}: {said}")
        table.add_row(reason.stage, reason.kind, f"{reason.avatars:,}", example, Text(reason.remedy))
    if len(failures) > MAX_REASONS:
        rest = sum(reason.avatars for reason in failures[MAX_REASONS:])
        table.add_row("…", f"{len(failures) - MAX_REASONS} more", f"{rest:,}", "", "")
    return table


def watch(
    console: Console,
    take: Callable[[Census | None], Census],
    show: Callable[[Census], RenderableType],
    wait: Callable[[float], object] = time.sleep,
) -> Census:
    """Show the numbers anew every REFRESH_SECONDS until no run is at work; return the last ones.

    `take` is given those that it returned before. Where it takes long, there is REST times as long between two of its
    calls, so that watching does not slow the run.
    """

    def timed(previous: Census | None) -> tuple[Census, float]:
        started = time.monotonic()
        return take(previous), time.monotonic() - started

    census, seconds = timed(None)
    with Live(show(census), console=console, auto_refresh=False) as live:
        while census.going:
            wait(max(REFRESH_SECONDS, REST * seconds))
            census, seconds = timed(census)
            live.update(show(census), refresh=True)
    return census
