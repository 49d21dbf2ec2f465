"""`avatars report` and `avatars licences`: how well a library turned out, and what may be done with it."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.cli.display import progress_bars
from flows.cli.errors import friendly
from flows.cli.library import JsonOption, LibraryOption, PriceOption, existing_library, print_json
from flows.cli.wording import count

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from avatar_core.licences import PackageFacts, Terms
    from avatar_core.reports.library import LibraryReport
    from flows.library_licences import LibraryLicences

STYLES = {"yes": "green", "conditions": "yellow", "unknown": "bold red", "no": "bold red"}
ANSWERS = {"yes": "yes", "conditions": "under conditions", "unknown": "unknown", "no": "no"}
SHOWN = 5


@friendly
def report(
    library: LibraryOption = "library",
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", help="Folder (or fsspec URL) of page and JSON. Default: LIBRARY/report."),
    ] = None,
    sample: Annotated[
        int, typer.Option("--sample", min=0, max=20_000, help="Avatars drawn for R-precision; 0 leaves it out.")
    ] = 1000,
    seed: Annotated[int, typer.Option("--seed", help="Of this draw.")] = 0,
    worst: Annotated[int, typer.Option("--worst", min=0, max=500, help="How many of the worst are shown.")] = 20,
    price: PriceOption = None,
    pages: Annotated[
        bool, typer.Option("--pages", help="Also write report.html of each avatar that has none, or an old one.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Roll the quality reports of a library's avatars up into one page, report.html, and report.json beside it.

    It has the numbers of avatars and failures by reason; how well they fit their prompts, by the guiding encoder and by
    one that did not guide; R-precision: how often that one finds an avatar's own prompt among those of others;
    geometry, texture, skinning and motion; time and cost by stage; licences; and the worst avatars, with what is bad
    about them.

    A report that cannot be read is named, and the others go on. Nothing is computed again.

    Examples:

        avatars report --library library

        avatars report -l s3://bucket/people --out report --sample 5000 --price 2.50

        avatars report -l library --json | jq .r_precision.at_1
    """
    from flows.library_report import JSON_NAME, PAGE_NAME, ReportOptions, report_on, write_report

    existing_library(library)
    console = Console(soft_wrap=True)
    options = ReportOptions(sample=sample, seed=seed, worst=worst, price=price, pages=pages)
    with progress_bars(console, quiet=as_json) as bars:
        found = report_on(library, options, _shown_on(bars))
    folder = write_report(found, out)
    if as_json:
        print_json(found.as_json())
        return
    for line in _summary(found):
        console.print(line, markup=False, highlight=False)
    place = folder.url.rstrip("/")
    console.print(f"Written: {place}/{PAGE_NAME} and {JSON_NAME}", markup=False, highlight=False)


def _shown_on(bars: Any) -> "Callable[[str, int, int], None]":
    """Return what shows steps on progress bars: a bar for each thing that is done."""
    tasks: dict[str, Any] = {}

    def show(what: str, done: int, total: int) -> None:
        if what not in tasks:
            tasks[what] = bars.add_task(what, total=total, note="")
        bars.update(tasks[what], completed=done, total=total)

    return show


def _summary(found: "LibraryReport") -> list[str]:
    lines = [f"{count(len(found.columns), 'avatar')} with a report."]
    if found.unreadable_count:
        named = "; ".join(f"{one.avatar_id}: {one.reason}" for one in found.unreadable[:SHOWN])
        more = " …" if found.unreadable_count > SHOWN else ""
        lines.append(f"Left out, for their report cannot be read: {found.unreadable_count:,} ({named}{more})")
    result = found.ranked.result
    if result is not None:
        lines.append(
            f"R-precision@1: {100 * result.at_1:.1f} % of {count(result.avatars, 'avatar')} among "
            f"{result.prompts:,} prompts (chance {100 * result.chance:.2g} %)"
        )
    else:
        why = "; ".join(f"{number:,}: {reason}" for reason, number in found.ranked.left_out.items())
        lines.append(f"R-precision cannot be told{f' ({why})' if why else ''}.")
    if found.worst:
        lines.append("The worst:")
    for bad in found.worst[:SHOWN]:
        lines.append(f"  {bad.avatar_id}: {'; '.join(reason.told for reason in bad.reasons)}")
    return lines


@friendly
def licences(
    avatar_id: Annotated[str | None, typer.Argument(metavar="ID", help="Of one avatar. Default: all.")] = None,
    library: LibraryOption = "library",
    as_json: JsonOption = False,
) -> None:
    """Say what the models, data and packages behind an avatar, or a whole library, allow.

    Models are known by the digest of their weights, which every report has. What is not known is said to be unknown.

    Examples:

        avatars licences red-shirt-walker --library library

        avatars licences -l library --json | jq .commercial
    """
    from flows.library_licences import licences_of

    location = existing_library(library)
    console = Console(soft_wrap=True)
    with progress_bars(console, quiet=as_json) as bars:
        found = licences_of(location, avatar_id, _shown_on(bars))
    if as_json:
        print_json(_as_json(found))
    else:
        _show(console, found)


def _as_json(found: "LibraryLicences") -> dict[str, Any]:
    return {
        "library": found.library,
        "avatar_id": found.avatar_id,
        "avatars": found.avatars,
        "unreadable": found.unreadable,
        "commercial": found.commercial,
        "models": [
            {"role": role, "avatars": found.counts.get(one.digest), **asdict(one)} for role, one in found.models
        ],
        "data": [asdict(one) for one in found.data],
        "packages": [asdict(one) for one in found.packages],
        "program": None if found.program is None else asdict(found.program),
    }


def _show(console: Console, found: "LibraryLicences") -> None:
    what = found.avatar_id or count(found.avatars, "avatar")
    said = Text.assemble(f"{what}: commercial use of all of it together: ", _answer(found.commercial))
    console.print(said)
    if found.unreadable:
        console.print(f"Left out, for their report cannot be read: {found.unreadable:,}", style="yellow")
    console.print(_terms_table("model", [(f"{one.title} ({role})", one) for role, one in found.models]))
    console.print(_terms_table("data that models come from", [(one.title, one) for one in found.data]))
    for one in found.data:
        if one.attribution:
            console.print(Text.assemble((f"{one.title}: ", "dim"), one.attribution))
    console.print(_package_table(found.packages, found.program))


def _terms_table(title: str, rows: "Sequence[tuple[str, Terms]]") -> Table:
    table = Table(title, "licence", "commercial use", "terms and origin")
    for name, one in rows:
        terms = " ".join(part for part in (one.conditions, one.note, one.source) if part and part != "unknown")
        table.add_row(Text(name), Text(one.licence), _answer(one.commercial), Text(terms))
    return table


def _package_table(packages: "Sequence[PackageFacts]", program: "PackageFacts | None") -> Table:
    """The packages that the project itself asks for, and of the others those that allow less."""
    title = f"{len(packages)} packages, of which those that the project asks for and those that are not simply free"
    table = Table("package", "version", "licence", "commercial use", title=title, title_justify="left")
    for one in packages:
        if one.direct or one.commercial != "yes":
            table.add_row(Text(one.name), one.version, Text(one.licence), _answer(one.commercial))
    if program is not None:
        table.add_section()
        table.add_row(Text(program.name), program.version, Text(program.licence), _answer(program.commercial))
    return table


def _answer(commercial: str) -> Text:
    return Text(ANSWERS[commercial], STYLES[commercial])
