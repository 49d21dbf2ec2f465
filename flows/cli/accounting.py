"""`avatars costs` and `avatars metrics`: what avatars cost, and a library's numbers for Prometheus."""

from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from avatar_core.wording import size
from flows.cli.errors import friendly
from flows.cli.library import JsonOption, LibraryOption, PriceOption, existing_library, print_json


class Criterion(StrEnum):
    """What costs are told apart by."""

    STAGE = "stage"
    DEVICE = "device"
    RUN = "run"
    CATALOG = "catalog"


COLUMNS = {"run": "run_id"}
"""Columns of the manifest that are called otherwise than their criterion."""


@friendly
def costs(
    library: LibraryOption = "library",
    by: Annotated[
        list[Criterion] | None, typer.Option("--by", help="Tell apart by this; may be given several times.")
    ] = None,
    price: PriceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Sum up what the avatars of a library cost: computations, hours, GPU-hours, memory, bytes, and money.

    Every computation counts whose result was kept, those too that were made anew since; what failed does not.

    Examples:

        avatars costs --library library --by stage --price 2.50

        avatars costs -l library --by catalog --by device --json
    """
    existing_library(library)
    criteria = [criterion.value for criterion in by or [Criterion.STAGE]]
    rows, total = _rolled_up(library, criteria, price)
    if as_json:
        print_json({"library": library, "by": criteria, "price": price, "costs": rows, "total": total})
    else:
        Console(soft_wrap=True).print(_table(criteria, rows, total))


def _rolled_up(library: str, criteria: list[str], price: float | None) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the costs by `criteria`, and in all, with the column `cost` where there is a price."""
    from avatar_core.manifest import cost, read_costs, roll_up

    known = read_costs(library)
    tables = [roll_up(known, [COLUMNS.get(name, name) for name in criteria]), roll_up(known)]
    rows, total = [(table if price is None else cost(table, price)).to_pylist() for table in tables]
    return [{_criterion(name): value for name, value in row.items()} for row in rows], total[0]


def _criterion(column: str) -> str:
    return next((name for name, known in COLUMNS.items() if known == column), column)


def _table(criteria: list[str], rows: list[dict[str, Any]], total: dict[str, Any]) -> Table:
    priced = ["cost"] if "cost" in total else []
    table = Table(*criteria)
    for name in ("computations", "hours", "GPU-hours", "peak memory", "size", *priced):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*[Text(row[name] or "?") for name in criteria], *_figures(row))
    table.add_section()
    table.add_row("all", *[""] * (len(criteria) - 1), *_figures(total), style="bold")
    return table


def _figures(row: dict[str, Any]) -> list[str]:
    figures = [
        f"{row['computations']:,}",
        f"{row['seconds'] / 3600:,.3f}",
        f"{row['gpu_seconds'] / 3600:,.3f}",
        size((row["peak_mb"] or 0.0) * 2**20),
        size(row["bytes"]),
    ]
    return [*figures, f"{row['cost']:,.2f}"] if "cost" in row else figures


@friendly
def metrics(
    library: LibraryOption = "library",
    listen: Annotated[
        str | None,
        typer.Option(
            "--listen", metavar="[HOST:]PORT", help="Serve them at /metrics until Ctrl-C; without a host on 127.0.0.1."
        ),
    ] = None,
) -> None:
    """Print a library's numbers in Prometheus' text format, or serve them.

    Examples:

        avatars metrics --library library > /var/lib/node_exporter/avatars.prom

        avatars metrics --library library --listen 9105
    """
    from flows.metrics import PATH, exposition, serve

    existing_library(library)
    if listen is None:
        typer.echo(exposition(library), nl=False)
        return
    with serve(library, listen) as server:
        host, port = map(str, server.server_address[:2])
        Console(soft_wrap=True).print(f"Metrics of {library}: http://{host}:{port}{PATH} (Ctrl-C ends it)")
        server.serve_forever()
