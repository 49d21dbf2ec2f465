"""What `avatars run` says from beginning to end."""

import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from avatar_core.storage import open_location
from flows import orchestrator, session
from flows.cli.clock import STARTED
from flows.cli.display import Display
from flows.cli.estimate import clock
from flows.cli.logs import log_to_file, quiet_prefect, quiet_transformers
from flows.cli.wording import count, near_duplicates, shared_work
from flows.delivery import FOLDER as AVATARS_FOLDER
from flows.delivery import delivered_uri
from flows.lock import library_lock
from flows.outcome import Outcome
from tasks.log_context import working_on
from tasks.measuring import lifetime_peak_mb
from tasks.reporting import set_reporter

MAX_REJECTIONS = 50
MAX_SHOWN = 50


class RunView:
    """Carries out one request and tells a person about it."""

    def __init__(self, console: Console, request: session.Request) -> None:
        self.console = console
        self.request = request

    def run(self, command: str) -> int:
        """Return 0 if every row that was asked for is an avatar, else 1.

        Raises CatalogError, ConfigError, WeightsError, LibraryBusyError and OrchestratorError.
        """
        run_id = session.new_run_id()
        session.check_catalog(self.request)
        with library_lock(self.request.library, command), working_on(run_id=run_id):
            log_to_file(session.log_path(self.request.library, run_id))
            planned = self.plan(run_id)
            self.show_plan(planned)
            outcome = self._carry_out(planned) if planned.shards else Outcome()
            return self.show_end(planned, outcome)

    def plan(self, run_id: str) -> session.Session:
        """Read and plan, saying so."""
        with self.console.status("Reading and planning …") as status:
            if not self.console.is_terminal:
                self.console.print("Reading and planning …", style="dim")
            return session.prepare(
                self.request, run_id, lambda rows: status.update(f"Reading and planning … {rows:,} rows")
            )

    def _carry_out(self, planned: session.Session) -> Outcome:
        server = session.start_server(planned)
        with Display(self.console, planned.left, planned.run.avatars) as display:
            display.preparing("loading models")
            quiet_transformers()
            session.load_session_models(planned)
            orchestrator.connect(server, lambda seconds: display.preparing("starting Prefect's server", seconds))
            import prefect  # noqa: F401 - configures logging at import, so it comes before the next line

            quiet_prefect()
            set_reporter(display)
            return session.carry_out(planned)

    def show_plan(self, planned: session.Session) -> None:
        """Say what is to be made, and which rows are not."""
        counts = planned.run.counts
        if planned.planned.rejected:
            self.console.print(rejection_table(planned))
        if planned.planned.quarantined:
            self.console.print(quarantine_table(planned))
        if not counts.rows:
            return
        self._say(f"{shared_work(counts)} ({planned.preset} preset, {planned.device}).")
        if counts.near_duplicates:
            self._say(near_duplicates(counts))
        left, results = planned.left.total(), sum(counts.unique.values())
        if counts.done:
            self._say(f"{count(counts.done, 'avatar')} done already, by the manifest.")
        elif left and left < results:
            self._say(f"{results - left} of {results} results are in the library; {left} to compute.")

    def show_end(self, planned: session.Session, outcome: Outcome) -> int:
        """Say what came of it; return the exit status."""
        counts = planned.run.counts
        location = open_location(self.request.library)
        if outcome.failures:
            self.console.print(self._failure_table(outcome.failures))
        untried = planned.run.avatars - outcome.done - outcome.failed if outcome.stopped else 0
        failed = outcome.failed + counts.quarantined
        done = counts.rows - failed - untried
        undone = {*outcome.failures, *planned.planned.quarantined}
        shown = [name for name in planned.avatar_ids if name not in undone] if not outcome.stopped else []
        for avatar_id in shown[:MAX_SHOWN]:
            self.console.print(
                f"  {avatar_id}: {_shown(location, delivered_uri(avatar_id))}", markup=False, highlight=False
            )
        if done > MAX_SHOWN:
            self._say(f"  … all in {_shown(location, AVATARS_FOLDER)}")
        said = [f"{count(done, 'avatar')} done"]
        said += [f"{failed:,} failed"] if failed else []
        said += [f"{count(counts.rejected, 'row')} rejected"] if counts.rejected else []
        said += [f"{count(len(outcome.below_bar), 'avatar')} below the bar"] if outcome.below_bar else []
        work = f"{count(outcome.computed, 'result')} computed" if planned.shards else "nothing to compute"
        seconds = time.monotonic() - STARTED
        self._say(f"{', '.join(said)}; {work}; {clock(seconds)}, peak memory {lifetime_peak_mb() / 1024:.1f} GB.")
        if outcome.stopped:
            self._say(f"The run stopped: {outcome.stopped}.")
        if outcome.failed:
            self._say(f"Details of the failures: {planned.log_path}")
        return 1 if failed or untried or counts.rejected else 0

    def _failure_table(self, failed: dict) -> Table:
        table = Table("avatar", "stage", "reason", "what to do", title="Failed", title_justify="left")
        for avatar_id, failures in failed.items():
            for failure in failures:
                if not failure.skipped:
                    table.add_row(avatar_id, failure.stage, failure.message, failure.remedy)
        return table

    def _say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False)


def rejection_table(planned: session.Session) -> Table:
    """Return the rejected rows of a plan with line, field, reason and remedy."""
    rejected = planned.planned.rejected
    table = Table("line", "id", "field", "reason", "what to do", title="Rejected rows", title_justify="left")
    for row in rejected[:MAX_REJECTIONS]:
        table.add_row(str(row.line), row.id or "", row.field, row.reason, row.remedy)
    if len(rejected) > MAX_REJECTIONS:
        rest = planned.run.counts.rejected - MAX_REJECTIONS
        table.add_row("…", "", "", f"{rest} more", "`avatars status --json` lists all of them.")
    return table


def quarantine_table(planned: session.Session) -> Table:
    """Return the rows that were given up in earlier runs, with the reason."""
    table = Table("avatar", "reason", "what to do", title="In quarantine", title_justify="left")
    given_up = planned.planned.quarantined
    remedy = f"avatars retry --library {planned.request.library}, with --new-seed to draw anew"
    for avatar_id, reason in list(given_up.items())[:MAX_REJECTIONS]:
        table.add_row(avatar_id, reason, remedy)
    if planned.run.counts.quarantined > MAX_REJECTIONS:
        table.add_row("…", f"{planned.run.counts.quarantined - MAX_REJECTIONS} more", "")
    return table


def _shown(location: object, relative: str) -> str:
    """Return a path or URL of a folder in the library as users write it."""
    url = str(getattr(location, "url", ""))
    return f"{url.rstrip('/')}/{relative}" if "://" in url else str(Path(url) / relative)
