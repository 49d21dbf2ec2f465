"""What commands have in common that look at a library: their options, and how they answer scripts."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from avatar_core.errors import CatalogError
from avatar_core.storage import Location, open_location

LibraryOption = Annotated[str, typer.Option("--library", "-l", help="Folder (or fsspec URL) of the library.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object for scripts, and nothing else.")]
PriceOption = Annotated[
    float | None, typer.Option("--price", min=0, help="What an hour of computing costs, in your currency.")
]


def existing_library(library: str) -> Location:
    """Return the folder of a library; raises CatalogError where there is none on this machine's disk."""
    location = open_location(library)
    if location.is_local and not location.path().is_dir():
        raise CatalogError(f"There is no library at {library}; `avatars run` or `avatars make` makes one.")
    return location


def print_json(report: Mapping[str, Any]) -> None:
    """Print one JSON object; times are written as ISO 8601."""
    typer.echo(json.dumps(report, indent=2, default=str))
