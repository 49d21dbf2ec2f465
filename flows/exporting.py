"""Finished avatars in other formats: one after the other or many at once, each format only where it is out of date."""

import hashlib
import json
import logging
import multiprocessing
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from avatar_core.documents import read_json
from avatar_core.errors import AvatarError, ConfigError
from flows.finished import MODEL, FinishedFolder, finished_folder

RECORD = "exports.json"
"""Lies beside exported files and says what each was made from."""
AHEAD = 2
"""Avatars that wait for each process."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExportRequest:
    """What is wanted of one avatar."""

    library: str
    avatar_id: str
    formats: tuple[str, ...]
    out: str | None = None
    """Folder that gets a folder for each avatar; None: the avatar's own folder."""
    force: bool = False
    """Write also what is up to date."""


@dataclass
class ExportOutcome:
    """What became of one avatar."""

    avatar_id: str
    folder: str
    written: list[str] = field(default_factory=list)
    """Formats that were written now."""
    kept: list[str] = field(default_factory=list)
    """Formats that were up to date."""
    failed: dict[str, str] = field(default_factory=dict)
    """Why others could not be written, by format; under "" why the avatar could not be read."""


def export_all(requests: Sequence[ExportRequest], processes: int) -> Iterator[ExportOutcome]:
    """Yield what became of each avatar as it is done, in no order.

    A failure of one avatar is part of its outcome and stops nothing. Raises ConfigError where a program or package is
    missing, which would be the same for all of them, and AvatarError where a process died.
    """
    if processes == 1 or len(requests) == 1:
        yield from map(export_one, requests)
        return
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(processes, len(requests)), mp_context=spawn, initializer=_one_thread)
    try:
        waiting: set[Future[ExportOutcome]] = set()
        for request in requests:
            waiting.add(pool.submit(export_one, request))
            if len(waiting) >= AHEAD * processes:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    except BrokenProcessPool as error:
        raise AvatarError(
            "A process that exported avatars died, most likely for lack of memory. Nothing that was written is lost: "
            "give the same command again with a smaller --jobs."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def export_one(request: ExportRequest) -> ExportOutcome:
    """Write one avatar's formats; raises ConfigError where a program or package is missing."""
    folder = finished_folder(request.library, request.avatar_id, request.out)
    outcome = ExportOutcome(request.avatar_id, folder.target.url)
    try:
        _export(folder, request, outcome)
    except ConfigError:
        raise
    except (AvatarError, OSError) as error:
        logger.info("%s cannot be exported", request.avatar_id, exc_info=error)
        outcome.failed[""] = str(error)
    return outcome


def _export(folder: FinishedFolder, request: ExportRequest, outcome: ExportOutcome) -> None:
    from avatar_core.export.finished import read_finished
    from avatar_core.export.formats.registry import find_formats

    with folder.local(MODEL) as local:
        digest = hashlib.sha256((local / MODEL).read_bytes()).hexdigest()
        record, present = read_record(folder), folder.target.files()
        wanted = []
        for entry in find_formats(request.formats):
            fresh = record.get(entry.name) == {"source": digest, "version": entry.version}
            if fresh and set(entry.files) <= present.keys() and not request.force:
                outcome.kept.append(entry.name)
            else:
                wanted.append(entry)
        if not wanted:
            return
        avatar = read_finished(local / MODEL, name=request.avatar_id)
        for entry in wanted:
            try:
                _write(avatar, entry, folder)
            except ConfigError:
                raise
            except Exception as error:  # whatever a format's library raises, the other formats are not its victims
                logger.error("%s cannot be written as %s", request.avatar_id, entry.name, exc_info=error)
                outcome.failed[entry.name] = str(error) or type(error).__name__
                continue
            outcome.written.append(entry.name)
            record[entry.name] = {"source": digest, "version": entry.version}
            folder.target.write(RECORD, (json.dumps(record, indent=2, sort_keys=True) + "\n").encode())


def _write(avatar: Any, entry: Any, folder: FinishedFolder) -> None:
    """Write one format aside, then put its files in their place."""
    from avatar_core.export.formats.registry import writer

    with tempfile.TemporaryDirectory(prefix="avatar-") as scratch:
        writer(entry)(avatar, Path(scratch))
        for path in sorted(Path(scratch).iterdir()):
            folder.target.upload(path, path.name)


def read_record(folder: FinishedFolder) -> dict[str, Any]:
    """Return what the target folder's files were made from, by format; nothing where that is not known."""
    try:
        record = read_json(folder.target.read(RECORD))
    except (FileNotFoundError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _one_thread() -> None:
    """Keep each process to one core: there are as many processes as cores."""
    import torch

    torch.set_num_threads(1)
