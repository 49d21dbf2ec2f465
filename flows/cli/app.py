"""The command's root: its subcommands and what all of them do about errors."""

import logging

import typer

from avatar_core import __version__
from flows.cli import animating, doctor, exporting, inspection, making

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
app.command("status")(inspection.status)
app.command("show")(inspection.show)
app.command("export")(exporting.export)
app.command("animate")(animating.animate)
app.command("doctor")(doctor.doctor)


def _version(value: bool) -> None:
    if value:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    """Hold the options that come before a subcommand."""


def main() -> None:
    """Run the command of this process's arguments."""
    # without any handler, logging's last resort prints to the screen; commands that log add a file
    logging.getLogger().addHandler(logging.NullHandler())
    app()
