"""The report of a whole library: gathers what its avatars' reports and its manifest say, and writes page and JSON."""

import base64
import contextlib
import io
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from PIL import Image

from avatar_core.errors import ArtifactError, CatalogError
from avatar_core.export.view_features import MAX_BYTES, ViewFeatures
from avatar_core.export.view_features import NAME as FEATURES
from avatar_core.manifest import cost, read_costs, roll_up
from avatar_core.pictures import PictureError, open_png
from avatar_core.reports.columns import Columns
from avatar_core.reports.library import LibraryReport, Ranked, Unreadable
from avatar_core.reports.library_page import Portrait, library_page
from avatar_core.reports.measures import STAGES
from avatar_core.reports.worst import worst
from avatar_core.storage import Location, open_location
from flows.census import take_census
from flows.delivery import FOLDER, PAGE, write_page
from flows.finished import finished_ids
from flows.reading_reports import drawn, read_one, read_reports

if TYPE_CHECKING:
    from avatar_core.reports.precision import Candidates

PAGE_NAME, JSON_NAME = "report.html", "report.json"
OUT = "report"
"""Folder of the report in its library, where nothing else is asked for."""
SAMPLE = 1000
WORST = 20
NAMED = 100
"""Unreadable reports that are named; all are counted."""
THUMBNAIL = (560, 420)
"""Width and height that a preview is fitted into, pixels."""
MAX_PIXELS = 50_000_000
"""Of a preview that is opened."""
QUALITY = 80
PROMPTS = ("shape", "appearance", "motion")

OnStep = Callable[[str, int, int], object]
"""Is told what is being done, how much of it is done, and how much there is."""


@dataclass(frozen=True)
class ReportOptions:
    """How a library is reported on."""

    sample: int = SAMPLE
    """Avatars at most that R-precision ranks; 0: none."""
    seed: int = 0
    """Of the draw of these."""
    worst: int = WORST
    """How many of the worst are shown."""
    price: float | None = None
    """Of an hour of computing."""
    pages: bool = False
    """Whether avatars without an up-to-date page of their report get one."""


@dataclass
class _Gathered:
    """What one reading of all reports leaves behind."""

    columns: Columns = field(default_factory=Columns)
    appearances: dict[str, str] = field(default_factory=dict)
    """Appearance prompts of the drawn avatars, by id."""
    unreadable: list[Unreadable] = field(default_factory=list)
    unreadable_count: int = 0


def report_on(library: str, options: ReportOptions, on_step: OnStep = lambda what, done, total: None) -> LibraryReport:
    """Return the report of a library, which may hold any number of avatars.

    An avatar whose report cannot be read is named and left out. Raises CatalogError where the library holds nothing,
    ManifestError, and ConfigError for a location that cannot be used.
    """
    location = open_location(library)
    ids = finished_ids(location)
    census = take_census(library)
    if not ids and not any(census.counts.values()):
        raise CatalogError(f"{library} holds no avatars; `avatars make` or `avatars run` makes some.")
    sample = drawn(ids, options.sample, options.seed)
    gathered = _gather(location, ids, set(sample), options.pages, on_step)
    ranked = _ranked(location, sample, gathered.appearances, options.seed, on_step)
    known = read_costs(library)
    costs, total = (_priced(table, options.price) for table in (roll_up(known, ["stage"]), roll_up(known)))
    return LibraryReport(
        library=location.url,
        taken_at=datetime.now(UTC),
        counts=census.counts,
        columns=gathered.columns,
        ranked=ranked,
        failures=census.failures,
        costs=sorted(costs, key=lambda row: STAGES.index(row["stage"]) if row["stage"] in STAGES else len(STAGES)),
        total=total[0],
        price=options.price,
        worst=worst(gathered.columns, options.worst),
        unreadable=gathered.unreadable,
        unreadable_count=gathered.unreadable_count,
    )


def _priced(table: Any, price: float | None) -> list[dict[str, Any]]:
    return (table if price is None else cost(table, price)).to_pylist()


def _gather(library: Location, ids: list[str], sample: set[str], pages: bool, on_step: OnStep) -> _Gathered:
    gathered = _Gathered()
    for number, read in enumerate(read_reports(library, ids), 1):
        on_step("reading reports", number, len(ids))
        if read.report is None:
            gathered.unreadable_count += 1
            if len(gathered.unreadable) < NAMED:
                gathered.unreadable.append(Unreadable(read.avatar_id, read.reason))
            continue
        gathered.columns.add(read.avatar_id, read.report)
        if read.avatar_id in sample:
            gathered.appearances[read.avatar_id] = _prompts(read.report).get("appearance", "")
        if pages:
            write_page(library, read.avatar_id)
    return gathered


def _prompts(report: dict[str, Any]) -> dict[str, str]:
    """The texts of a report by column, as far as they are texts."""
    said = report.get("prompts")
    found = said if isinstance(said, dict) else {}
    return {name: found[name] for name in PROMPTS if isinstance(found.get(name), str) and found[name].strip()}


def _ranked(
    library: Location, sample: list[str], appearances: dict[str, str], seed: int, on_step: OnStep
) -> Ranked:
    """Ask the judge about the sampled avatars; models are loaded only where there is anything to show them."""
    from avatar_core.reports.precision import Candidates

    candidates = Candidates()
    for number, avatar_id in enumerate(sample, 1):
        on_step("reading features", number, len(sample))
        _show(library, avatar_id, appearances.get(avatar_id), candidates)
    result = None
    if candidates.features:
        from avatar_core.perception.encoder import load_encoder
        from avatar_core.perception.held_out import JUDGE
        from avatar_core.reports.precision import precision

        on_step("asking the second encoder", 0, 1)
        judge = load_encoder(JUDGE)
        candidates.keep_those_of(judge)
        result = precision(candidates, judge)
        on_step("asking the second encoder", 1, 1)
    return Ranked(result, len(sample), seed, dict(candidates.left_out))


def _show(library: Location, avatar_id: str, appearance: str | None, candidates: "Candidates") -> None:
    if appearance is None:
        candidates.left_out["their report cannot be read"] += 1
        return
    if not appearance:
        candidates.left_out["their report has no appearance prompt"] += 1
        return
    relative = f"{FOLDER}/{avatar_id}/{FEATURES}"
    try:
        if (library.size(relative) or 0) > MAX_BYTES:
            raise ArtifactError(f"{relative} is too large")
        candidates.add(avatar_id, appearance, ViewFeatures.from_bytes(library.read(relative)))
    except FileNotFoundError:
        candidates.left_out[f"they have no {FEATURES}, as avatars of earlier versions"] += 1
    except (OSError, ArtifactError):
        candidates.left_out[f"their {FEATURES} cannot be read"] += 1


def write_report(report: LibraryReport, out: str | None = None) -> Location:
    """Write page and JSON into the folder `out`, by default one in the library; return the folder.

    Raises StorageError and OSError where it cannot be written.
    """
    library = open_location(report.library)
    folder = library.child(OUT) if out is None else open_location(out)
    missed = report.ranked.result.missed if report.ranked.result else ()
    portraits = dict(_portraits(library, folder, [bad.avatar_id for bad in report.worst], pictures=True))
    portraits |= _portraits(library, folder, [one for one in missed if one not in portraits], pictures=False)
    folder.write(PAGE_NAME, library_page(report, portraits).encode())
    text = json.dumps(report.as_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    folder.write(JSON_NAME, text.encode())
    return folder


def _portraits(
    library: Location, folder: Location, ids: Iterable[str], *, pictures: bool
) -> Iterable[tuple[str, Portrait]]:
    for avatar_id in ids:
        picture = _thumbnail(library, avatar_id) if pictures else ""
        report = read_one(library, avatar_id).report if pictures else None
        prompts = _prompts(report) if report is not None else {}
        yield avatar_id, Portrait(picture, _link(library, folder, avatar_id), prompts)


def _thumbnail(library: Location, avatar_id: str) -> str:
    """The avatar's preview, small, as a data URI; empty where there is none that can be opened."""
    with contextlib.suppress(OSError, PictureError):
        small = open_png(library.read(f"{FOLDER}/{avatar_id}/preview.png"), MAX_PIXELS)
        small.thumbnail(THUMBNAIL, Image.Resampling.LANCZOS)
        sink = io.BytesIO()
        small.save(sink, "JPEG", quality=QUALITY)
        return f"data:image/jpeg;base64,{base64.b64encode(sink.getvalue()).decode()}"
    return ""


def _link(library: Location, folder: Location, avatar_id: str) -> str:
    """Where an avatar's own page is, seen from the report's folder; empty where no browser could follow that."""
    if library.size(f"{FOLDER}/{avatar_id}/{PAGE}") is None:
        return ""
    if library.is_local and folder.is_local:
        relative = os.path.relpath(library.path(FOLDER, avatar_id, PAGE), folder.path())
        return quote(Path(relative).as_posix())
    inside = folder.url.rstrip("/") == library.child(OUT).url.rstrip("/")
    return quote(f"../{FOLDER}/{avatar_id}/{PAGE}") if inside else ""
