"""`avatars compact` and `avatars clean`: keeping a library quick to read, and free of what nobody needs."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from avatar_core.storage.garbage import GRACE_HOURS
from avatar_core.wording import size
from flows.cli.errors import friendly
from flows.cli.library import JsonOption, LibraryOption, existing_library, print_json
from flows.cli.wording import count

if TYPE_CHECKING:
    from avatar_core.storage.garbage import Garbage

MAX_ITEMS = 20


@friendly
def compact(library: LibraryOption = "library", as_json: JsonOption = False) -> None:
    """Merge the manifest's many small files into a few, which makes it quick to read; safe while runs go on.

    Runs do so by themselves now and then.

    Example:

        avatars compact --library library
    """
    from avatar_core.manifest import compact_all

    existing_library(library)
    done = compact_all(library, minimum_parts=2)
    if as_json:
        print_json(done.__dict__)
        return
    merged = f"{count(done.merged_files, 'file')} merged to {count(done.records, 'record')}"
    said = merged if done.merged_files else "Nothing to merge"
    if done.deleted_files:
        said += f", {count(done.deleted_files, 'file')} deleted that had been replaced"
    Console(soft_wrap=True).print(f"{said}.", markup=False, highlight=False)


@friendly
def clean(
    library: LibraryOption = "library",
    grace_hours: Annotated[
        float, typer.Option("--grace-hours", min=0, help="What is younger stays: a run may be about to record it.")
    ] = GRACE_HOURS,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete. Without it, only say what would go.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Find, and with --yes delete, what no avatar of the manifest needs, and what killed runs left behind.

    Examples:

        avatars clean --library library

        avatars clean --library library --yes
    """
    from avatar_core.manifest import references
    from avatar_core.storage.garbage import collect_garbage

    existing_library(library)
    garbage = collect_garbage(
        library, referenced=references(library), grace_seconds=grace_hours * 3600, dry_run=not yes
    )
    if as_json:
        print_json({"deleted": yes, "counts": dict(garbage.counts), "bytes": dict(garbage.bytes), "uris": garbage.uris})
    else:
        _show(Console(soft_wrap=True), garbage, deleted=yes)


def _show(console: Console, garbage: "Garbage", *, deleted: bool) -> None:
    if not garbage.items:
        console.print("There is nothing to clean.")
        return
    table = Table("kind", "number", "size", title="Deleted" if deleted else "Would be deleted", title_justify="left")
    for kind, number in sorted(garbage.counts.items()):
        table.add_row(kind, f"{number:,}", size(garbage.bytes[kind]))
    console.print(table)
    for item in garbage.items[:MAX_ITEMS]:
        console.print(Text(f"  {item.uri} ({size(item.bytes)})"))
    if len(garbage.items) > MAX_ITEMS:
        console.print(f"  … and {len(garbage.items) - MAX_ITEMS:,} more; --json lists all of them.")
    if not deleted:
        console.print("Nothing was deleted: give --yes to do so.")
