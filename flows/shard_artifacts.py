"""What a shard shows on Prefect's pages: how far it is, a table of what became of it, and a picture.

Three artifacts a shard, not one an avatar, so that a million avatars do not weigh on the server's database.
"""

import base64
import contextlib
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import cast
from uuid import UUID

import httpx
from prefect.artifacts import (
    create_image_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    update_progress_artifact,
)
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectException

from avatar_core.storage import open_location
from flows.contact_sheet import contact_sheet
from flows.outcome import Outcome
from flows.run_plan import RunPlan, run_folder
from tasks.work import STAGES, Avatar

logger = logging.getLogger(__name__)

SHEET_AVATARS = 24
MAX_REASONS = 20
MAX_MESSAGE = 200


class ShardArtifacts:
    """Publishes the artifacts of the flow run at hand; does nothing outside of flow runs.

    The avatars are what counts: where an artifact cannot be made, the log says so and the shard goes on.
    """

    def __init__(self, run: RunPlan, shard: int, avatars: Sequence[Avatar]) -> None:
        self._run, self._shard = run, shard
        self._ids = [avatar.avatar_id for avatar in avatars]
        self._progress: UUID | None = None
        self._active = FlowRunContext.get() is not None
        self._key = f"shard-{run.run_id}-{shard:05d}".lower()

    def update(self, outcome: Outcome) -> None:
        """Show how far the shard is."""
        if not self._active:
            return
        ended = outcome.done + outcome.failed
        percent = 100.0 * ended / len(self._ids) if self._ids else 100.0
        said = f"{ended} of {len(self._ids)} avatars, {outcome.failed} failed, {outcome.seconds:.0f} s of computing"
        with _told("progress"):
            if self._progress is None:
                created = create_progress_artifact(percent, key=f"{self._key}-progress", description=said)
                self._progress = cast(UUID, created)  # a coroutine only where a loop runs, which no flow here has
            else:
                update_progress_artifact(self._progress, percent, description=said)

    def finish(self, outcome: Outcome) -> None:
        """Show what became of the shard, and the first previews, which also lie in the run's folder."""
        if not self._active:
            return
        self.update(outcome)
        place = ""
        with _told("picture"):
            place = self._show_previews()
        text = report(self._run, self._shard, len(self._ids), outcome, place)
        with _told("table"):
            create_markdown_artifact(text, key=f"{self._key}-report")

    def _show_previews(self) -> str:
        """Return where the sheet of the first previews lies; empty where there is none."""
        sheet = contact_sheet(open_location(self._run.library), self._ids, SHEET_AVATARS)
        if sheet is None:
            return ""
        folder, name = run_folder(self._run.library, self._run.run_id), f"sheets/{self._shard:05d}.jpg"
        folder.write(name, sheet)
        place = f"{folder.url.rstrip('/')}/{name}"
        picture = f"data:image/jpeg;base64,{base64.b64encode(sheet).decode()}"
        create_image_artifact(picture, key=f"{self._key}-previews", description=f"The first previews: {place}")
        return place


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """Let trouble with an artifact pass, the server's or the disk's, and have the log tell it."""
    try:
        yield
    except (httpx.HTTPError, PrefectException, OSError) as error:
        logger.warning("The %s of the shard does not show in Prefect: %s", what, error)


def report(run: RunPlan, shard: int, avatars: int, outcome: Outcome, sheet: str) -> str:
    """Return what became of a shard, as Markdown."""
    lines = [
        f"## Shard {shard} of run {run.run_id}",
        "",
        f"{outcome.done} of {avatars} avatars done, {outcome.failed} failed; {outcome.computed} results computed.",
        "",
        f"Library: {_linked(run.library)}",
        "",
        "| stage | seconds |",
        "|---|---:|",
    ]
    for stage in STAGES:
        if stage in outcome.stage_seconds:
            lines.append(f"| {stage} | {outcome.stage_seconds[stage]:.1f} |")
    lines.append(f"| all | {outcome.seconds:.1f} |")
    if outcome.failures:
        lines += ["", "| failed in | error | avatars | example |", "|---|---|---:|---|", *_reasons(outcome)]
    if outcome.stopped:
        lines += ["", f"It stopped: {_cell(outcome.stopped)}"]
    if sheet:
        lines += ["", f"Previews: {_linked(sheet)}"]
    return "\n".join(lines)


def _reasons(outcome: Outcome) -> list[str]:
    """Return the rows of the table of failures, the most frequent first."""
    causes = {name: next((f for f in failures if not f.skipped), None) for name, failures in outcome.failures.items()}
    known = {name: cause for name, cause in causes.items() if cause is not None}
    kinds = Counter((cause.stage, cause.kind) for cause in known.values())
    rows = []
    for (stage, kind), number in kinds.most_common(MAX_REASONS):
        name, cause = next((n, c) for n, c in known.items() if (c.stage, c.kind) == (stage, kind))
        rows.append(f"| {stage} | {_cell(kind)} | {number} | {_cell(name)}: {_cell(cause.message)} |")
    return rows


def _cell(text: str) -> str:
    """Return text that neither ends its cell nor is taken for Markdown or HTML."""
    one_line = " ".join(text.split())[:MAX_MESSAGE]
    return "".join(f"\\{letter}" if letter in "\\|`*_[]<>!#" else letter for letter in one_line)


def _linked(url: str) -> str:
    """Return a link where browsers can follow it, else the place as code."""
    return f"<{url}>" if url.startswith(("http://", "https://")) else f"`{url}`"
