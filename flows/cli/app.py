"""The command's root: its subcommands and what all of them do about errors."""

import logging
import os
from enum import StrEnum
from typing import Annotated

import typer

from avatar_core import __version__
from flows.cli import (
    accounting,
    animating,
    deploy,
    doctor,
    exporting,
    fleet,
    gallery,
    importing,
    inspection,
    making,
    models,
    reports,
    upkeep,
)
from flows.cli.logs import LOG_VARIABLE

app = typer.Typer(
    name="avatars",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="""Turn text prompts into rigged, textured, animated 3D avatars.

A **catalog** is a CSV file with one avatar a row: what its body is like (`shape`), what it looks like and wears
(`appearance`), and what it does (`motion`). A **library** is the folder that they are made in. Everything that was
computed stays there, so the same command again only does what is missing.

Start with:

    avatars make --shape "a tall man" --appearance "a red shirt and blue trousers" --motion "walking"

    avatars run catalog.csv --library library
""",
)
app.command("run")(making.run)
app.command("make")(making.make)
app.command("retry")(fleet.retry)
app.command("cancel")(fleet.cancel)
app.command("regenerate")(fleet.regenerate)
app.command("status")(inspection.status)
app.command("show")(inspection.show)
app.command("gallery")(gallery.gallery)
app.command("costs")(accounting.costs)
app.command("metrics")(accounting.metrics)
app.command("report")(reports.report)
app.command("licences")(reports.licences)
app.command("compact")(upkeep.compact)
app.command("clean")(upkeep.clean)
app.command("export")(exporting.export)
app.command("animate")(animating.animate)
app.command("import-conf")(importing.import_conf)
app.command("deploy")(deploy.deploy)
app.command("doctor")(doctor.doctor)
app.add_typer(models.models, name="models")


class LogFormat(StrEnum):
    """How a run's log file is written."""

    TEXT = "text"
    JSON = "json"


def _version(value: bool) -> None:
    if value:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    log_format: Annotated[
        LogFormat,
        typer.Option(
            "--log-format", envvar=LOG_VARIABLE, help="Of log files; json: an object a line, with avatar and stage."
        ),
    ] = LogFormat.TEXT,
) -> None:
    """Hold the options that come before a subcommand."""
    os.environ[LOG_VARIABLE] = log_format.value


def main() -> None:
    """Run the command of this process's arguments."""
    # without any handler, logging's last resort prints to the screen; commands that log add a file
    logging.getLogger().addHandler(logging.NullHandler())
    app()
