"""What `avatars run` says from beginning to end."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from avatar_core.storage import open_location
from flows import orchestrator, session
from flows.cli.clock import STARTED
from flows.cli.display import Display
from flows.cli.estimate import clock
from flows.cli.logs import log_to_file, quiet_prefect, quiet_transformers
from flows.delivery import delivered_uri
from flows.lock import library_lock
from tasks.measuring import lifetime_peak_mb
from tasks.reporting import set_reporter
from tasks.work import STAGES

if TYPE_CHECKING:
    from flows.generate import Outcome

MAX_REJECTIONS = 50


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
        with library_lock(self.request.library, command):
            log_to_file(session.log_path(self.request.library, run_id))
            self.console.print("Reading and planning …", style="dim")
            planned = session.prepare(self.request, run_id)
            self._show_plan(planned)
            outcome = self._carry_out(planned) if planned.left else None
            return self._show_end(planned, outcome)

    def _carry_out(self, planned: session.Session) -> "Outcome":
        order = {avatar.avatar_id: number for number, avatar in enumerate(planned.plan.avatars, start=1)}
        server = session.start_server(planned)
        with Display(self.console, planned.left, order, len(order)) as display:
            display.preparing("loading models")
            quiet_transformers()
            session.load_session_models(planned)
            orchestrator.connect(server, lambda seconds: display.preparing("starting Prefect's server", seconds))
            import prefect  # noqa: F401 - configures logging at import, so it comes before the next line

            quiet_prefect()
            set_reporter(display)
            return session.carry_out(planned)

    def _show_plan(self, planned: session.Session) -> None:
        plan = planned.plan
        if plan.rejected:
            self.console.print(rejection_table(planned))
        if not plan.avatars:
            return
        unique = ", ".join(f"{plan.count(stage)} {stage}" for stage in STAGES)
        left = len(planned.left)
        self._say(f"{_count(len(plan.avatars), 'avatar')} ({planned.preset} preset, {planned.device}): {unique}.")
        if left and left < len(plan.works):
            self._say(f"{len(plan.works) - left} of {len(plan.works)} results are in the library; {left} to compute.")

    def _show_end(self, planned: session.Session, outcome: "Outcome | None") -> int:
        failed = outcome.failed if outcome is not None else {}
        done = [avatar for avatar in planned.plan.avatars if avatar.avatar_id not in failed]
        location = open_location(self.request.library)
        if failed:
            self.console.print(self._failure_table(failed))
        for avatar in done:
            self.console.print(
                f"  {avatar.avatar_id}: {_shown(location, delivered_uri(avatar.avatar_id))}",
                markup=False,
                highlight=False,
            )
        rejected = len(planned.plan.rejected)
        counts = [f"{_count(len(done), 'avatar')} done"]
        counts += [f"{len(failed)} failed"] if failed else []
        counts += [f"{_count(rejected, 'row')} rejected"] if rejected else []
        computed = outcome.computed if outcome is not None else 0
        work = f"{_count(computed, 'result')} computed" if outcome is not None else "nothing to compute"
        seconds = time.monotonic() - STARTED
        self._say(f"{', '.join(counts)}; {work}; {clock(seconds)}, peak memory {lifetime_peak_mb() / 1024:.1f} GB.")
        if failed:
            self._say(f"Details of the failures: {planned.log_path}")
        return 1 if failed or rejected else 0

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
    rejected = planned.plan.rejected
    table = Table("line", "id", "field", "reason", "what to do", title="Rejected rows", title_justify="left")
    for row in rejected[:MAX_REJECTIONS]:
        table.add_row(str(row.line), row.id or "", row.field, row.reason, row.remedy)
    if len(rejected) > MAX_REJECTIONS:
        rest = len(rejected) - MAX_REJECTIONS
        table.add_row("…", "", "", f"{rest} more", "`avatars status --json` lists all of them.")
    return table


def _shown(location: object, relative: str) -> str:
    """Return a path or URL of a folder in the library as users write it."""
    url = str(getattr(location, "url", ""))
    return f"{url.rstrip('/')}/{relative}" if "://" in url else str(Path(url) / relative)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
