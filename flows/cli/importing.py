"""`avatars import-conf`: AvatarCLIP's configuration files as presets."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from avatar_core.errors import ConfigError
from flows.cli.errors import friendly
from flows.cli.library import JsonOption, print_json

if TYPE_CHECKING:
    from avatar_core.avatarclip.importing import Imported, Note

LONGEST = 60
"""Characters that are shown of a value."""
STYLES = {"corrected": "yellow", "unknown": "red", "ignored": "dim", "mapped": ""}
"""Fates in the order in which they are shown."""


@friendly
def import_conf(
    file: Annotated[Path, typer.Argument(help="A .conf of AppearanceGen/confs or AvatarAnimate/confs.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The preset. Default: FILE's name, .yaml.")] = None,
    catalog: Annotated[
        Path | None, typer.Option("--catalog", help="Write the file's prompts as a catalog of one row, too.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Read one of AvatarCLIP's configuration files into a preset.

    Says of every key what becomes of it: mapped to a setting here, corrected (a trap of AvatarCLIP's code left out),
    ignored (and why), or unknown. The preset is a short YAML of differences from `paper`. Prompts are no settings: they
    are shown as the row of a catalog, or written with `--catalog`.

    Nothing but FILE is read: includes and substitutions in it are refused. Files that are there are not written over.

    Examples:

        avatars import-conf confs/examples/firefighter.conf --out firefighter.yaml --catalog firefighter.csv

        avatars run firefighter.csv --preset firefighter.yaml --encoder openai/clip-vit-base-patch32
    """
    from avatar_core.avatarclip import import_conf as read

    imported = read(file)
    preset = out or Path(f"{file.stem}.yaml")
    if preset.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"--out: {preset}: presets end in .yaml; give {preset.with_suffix('.yaml')}.")
    files = {"--out": (preset, imported.yaml())}
    if catalog is not None:
        files["--catalog"] = (catalog, imported.row.csv())
    _write_new(files)
    if as_json:
        print_json(_facts(imported, preset))
        return
    console = Console(soft_wrap=True)
    _tell(console, imported)
    _say(console, f"Preset ({imported.kind}): {preset}")
    _say(console, imported.yaml())
    _say(console, f"Catalog: {catalog or 'not written without --catalog'}")
    _say(console, imported.row.csv())
    if imported.row.filled_in:
        _say(console, f"The file says nothing of {' and '.join(imported.row.filled_in)}: write what you want there.")
    named = catalog or "CATALOG.csv"
    encoder = "--encoder openai/clip-vit-base-patch32"
    _say(console, f"With AvatarCLIP's encoder: avatars run {named} --preset {preset} {encoder}")


def _write_new(files: Mapping[str, tuple[Path, str]]) -> None:
    """Write files by the option that names each; none where one is there already."""
    for option, (path, _) in files.items():
        if path.exists():
            raise ConfigError(f"{path} is there already: remove it, or give another {option}.")
    for option, (path, text) in files.items():
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise ConfigError(f"{path} cannot be written ({error.strerror}): give another {option}.") from error


def _tell(console: Console, imported: "Imported") -> None:
    """Show what becomes of the keys: what asks for attention first, keys with one fate and reason together."""
    fates = [note.fate.value for note in imported.notes]
    table = Table(title=imported.source, title_justify="left")
    for name in ("key", "what becomes of it", "here"):
        table.add_column(name, overflow="fold")
    alike: dict[tuple[str, str], list[str]] = {}
    for note in sorted(imported.notes, key=lambda note: list(STYLES).index(note.fate.value)):
        alike.setdefault((note.fate.value, _here(note)), []).append(_written(note))
    for (fate, here), keys in alike.items():
        cells = ("\n".join(keys), fate, here)
        table.add_row(*(Text(_printable(cell), style=STYLES[fate]) for cell in cells))
    console.print(table)
    _say(console, ", ".join(f"{fates.count(fate)} {fate}" for fate in STYLES) + ".")


def _written(note: "Note") -> str:
    value = note.value if len(note.value) <= LONGEST else f"{note.value[:LONGEST]}…"
    return f"{note.key} = {value}" if value else note.key


def _here(note: "Note") -> str:
    return "\n".join([*(f"{path}: {value}" for path, value in note.settings.items()), note.reason]).strip()


def _printable(text: str) -> str:
    """Text of a file that nobody vouches for, without what would steer a terminal."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text)


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False)


def _facts(imported: "Imported", preset: Path) -> dict:
    return {
        "source": imported.source,
        "kind": imported.kind,
        "preset": str(preset),
        "differences": imported.differences,
        "row": dict(imported.row.fields),
        "filled_in": list(imported.row.filled_in),
        "keys": [
            {
                "key": note.key,
                "value": note.value,
                "fate": note.fate.value,
                "settings": dict(note.settings),
                "reason": note.reason,
            }
            for note in imported.notes
        ],
    }
