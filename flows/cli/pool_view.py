"""What `avatars run --pool` shows: how many shards wait, run and have ended on the fleet, and what they made."""

import time

from rich.console import Console

from flows import orchestrator, session
from flows.cli.display import progress_bars
from flows.cli.estimate import clock
from flows.cli.logs import log_to_file, quiet_prefect
from flows.cli.run_view import RunView
from flows.outcome import Outcome
from flows.run_progress import Pool, RunProgress

LINE_SECONDS = 15.0


def run_on_pool(view: RunView, pool: str, queue: str | None, window: int) -> int:
    """Plan here, have a work pool carry the shards out, and show how it goes; return the exit status.

    Raises ConfigError where Prefect is not configured for a server, or that does not know the pool.
    """
    run_id = session.new_run_id()
    session.check_catalog(view.request)
    orchestrator.require_server()
    log_to_file(session.log_path(view.request.library, run_id))
    planned = view.plan(run_id)
    view.show_plan(planned)
    if not planned.shards:
        return view.show_end(planned, Outcome())
    import prefect  # noqa: F401 - configures logging at import, so it comes before the next line

    quiet_prefect()
    avatars = sum(planned.run.shards[shard] for shard in planned.shards)
    with PoolDisplay(view.console, avatars) as display:
        place = Pool(pool, queue, window, view.request.device)
        outcome = session.carry_out_on(planned, place, display.show)
    return view.show_end(planned, outcome)


class PoolDisplay:
    """Shows the progress of a dispatched run: a bar on a terminal, lines elsewhere; a context manager."""

    def __init__(self, console: Console, avatars: int) -> None:
        self.console = console
        self._bar = progress_bars(console)
        self._task = self._bar.add_task("avatars", total=avatars, note="")
        self._avatars = avatars
        self._began = time.monotonic()
        self._last_line = 0.0
        self._last_text = ""

    def __enter__(self) -> "PoolDisplay":
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def show(self, progress: RunProgress) -> None:
        """Show how far the run is."""
        total = progress.total
        ended = total.done + total.failed
        parts = [f"{progress.waiting} shards wait", f"{progress.running} run", f"{progress.ended} ended"]
        parts += [f"{total.failed} avatars failed"] if total.failed else []
        if ended:
            seconds = (time.monotonic() - self._began) / ended * (self._avatars - ended)
            parts.append(f"about {clock(seconds)} left")
        text = ", ".join(parts)
        self._bar.update(self._task, completed=ended, note=text)
        now = time.monotonic()
        if not self.console.is_terminal and text != self._last_text and now - self._last_line >= LINE_SECONDS:
            self._last_line, self._last_text = now, text
            self.console.print(f"  {ended} of {self._avatars} avatars; {text}", markup=False, highlight=False)
