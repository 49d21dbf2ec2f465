"""What a run shows: progress bars on a terminal, plain lines elsewhere."""

import time
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from flows.cli.estimate import Estimate, clock
from tasks.work import Avatar, StageWork

TITLES = {
    "coarse_shape": "body shape",
    "implicit_init": "implicit body",
    "candidate_poses": "key poses",
    "motion": "motion",
    "texturing": "texturing",
    "export": "export",
}
"""The stages in words that fit beside a progress bar."""

LINE_SECONDS = 15.0


def progress_bars(console: Console, *, quiet: bool = False) -> Progress:
    """Return bars with a description, counts, a note (a field of every task) and the time.

    There are none off a terminal, nor where a command is to be quiet.
    """
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}", style="dim"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    )


class Display:
    """Shows the progress of stages; a context manager, and the reporter of the tasks."""

    def __init__(self, console: Console, left: Mapping[str, int], total: int) -> None:
        """Show the results that are `left`, by stage, for `total` avatars, numbered as they come."""
        self.console = console
        self.estimate = Estimate(left)
        self._numbers: dict[str, int] = {}
        self._total = total
        self._bars = progress_bars(console)
        self._overall = self._bars.add_task("all stages", total=self.estimate.count, note="")
        self._stage = self._bars.add_task("starting", total=None, note="")
        self._last_line = 0.0
        self._awaited = ""

    def __enter__(self) -> "Display":
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def preparing(self, what: str, seconds: float = 0.0) -> None:
        """Say what is being waited for before stages can begin, and for how long by now."""
        note = f"{seconds:.0f} s" if seconds else ""
        self._bars.update(self._stage, description=what, note=note)
        if what != self._awaited and not self.console.is_terminal:
            self.console.print(f"{what} …", markup=False, highlight=False)
        self._awaited = what

    def shard_started(self, shard: int, works: Sequence[StageWork]) -> None:
        """Say nothing: the bars count results."""

    def stage_started(self, work: StageWork, owner: Avatar) -> None:
        """Show the start of a stage."""
        self._last_line = time.monotonic()
        self.estimate.start(work)
        self._bars.reset(self._stage, total=None, description=f"{owner.avatar_id}: {TITLES[work.stage]}", note="")
        if not self.console.is_terminal:
            self._print(owner, f"{TITLES[work.stage]} begins")

    def stage_progress(self, work: StageWork, done: int, total: int, note: str) -> None:
        """Show a step of the running stage, with the time that is left."""
        self.estimate.step(done, total)
        left = self._left()
        text = ", ".join(part for part in (note, left) if part)
        self._bars.update(self._stage, completed=done, total=total, note=text)
        self._bars.update(self._overall, note=left)
        self._line(f"    {TITLES[work.stage]} {done}/{total}" + (f", {text}" if text else ""))

    def stage_finished(self, work: StageWork, owner: Avatar, seconds: float, computed: bool) -> None:
        """Show the end of a stage."""
        self.estimate.finish(work, seconds, computed)
        self._bars.update(self._overall, completed=self.estimate.finished, note=self._left())
        how = f"done in {seconds:.1f} s" if computed else "was there already"
        self._print(owner, f"{TITLES[work.stage]} {how}")

    def stage_failed(self, work: StageWork, owner: Avatar, error: Exception) -> None:
        """Show the failure of a stage."""
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        self._print(owner, f"{TITLES[work.stage]} failed: {first}", style="red")

    def _left(self) -> str:
        seconds = self.estimate.seconds_left()
        return "" if seconds is None else f"about {clock(seconds)} left"

    def _print(self, owner: Avatar, text: str, style: str | None = None) -> None:
        number = f"[{self._numbers.setdefault(owner.avatar_id, len(self._numbers) + 1)}/{self._total}]"
        self.console.print(f"{number} {owner.avatar_id}: {text}", style=style, markup=False, highlight=False)

    def _line(self, text: str) -> None:
        """Print a line where there are no bars, but not many."""
        now = time.monotonic()
        if not self.console.is_terminal and now - self._last_line >= LINE_SECONDS:
            self._last_line = now
            self.console.print(text, markup=False, highlight=False)
