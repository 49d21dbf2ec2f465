"""`avatars models`: body models that users bring, such as SMPL."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from flows.cli.errors import friendly
from flows.cli.library import JsonOption, print_json

if TYPE_CHECKING:
    from avatar_core.bodies.brought import ModelRecord

models = typer.Typer(
    no_args_is_help=True,
    help="Body models that you bring: add your registered download of SMPL, SMPL-H or SMPL-X, list and remove them.",
)
_DIGITS = 12


@models.command("add")
@friendly
def add(
    path: Annotated[Path, typer.Argument(help="A zip, folder, .npz or .pkl of SMPL, SMPL-H or SMPL-X.")],
    gender: Annotated[
        str | None, typer.Option("--gender", help="neutral, male or female. Default: as the files' names say.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check a download of SMPL, SMPL-H or SMPL-X and keep it as a safe file, for `--body` and the column `body`.

    Pickles are read as data: nothing in them is run, and one that asks for more than arrays is refused. The model goes
    to the folder AVATARS_MODELS, by default `~/.local/share/avatar-foundry/models`, and stays on this machine. Its own
    licence goes with it, and with what is made from it: non-commercial research only.

    Examples:

        avatars models add SMPL_python_v.1.1.0.zip

        avatars models add downloads/smplx

        avatars models add model.npz --gender female
    """
    from avatar_core.bodies.brought import add_models, models_root

    added = add_models(path, gender)
    if as_json:
        print_json({"models": [asdict(record) for record in added.records], "skipped": added.skipped})
        return
    console = Console(soft_wrap=True)
    for record in added.records:
        said = "replaces another model of that name" if record.name in added.replaced else "added"
        console.print(f"{record.name}: {said}", markup=False, highlight=False)
        _show(console, record)
    for reason in added.skipped.values():
        console.print(f"Left out: {reason}", style="yellow", markup=False, highlight=False)
    example = f'avatars make --body {added.records[0].name} --shape "a tall man" --appearance "..." --motion "walking"'
    console.print(f"They lie in {models_root()}. Use one: {example}", markup=False, highlight=False)


@models.command("list")
@friendly
def list_brought(as_json: JsonOption = False) -> None:
    """List the models that were added, with the licences that they come under.

    Example:

        avatars models list
    """
    from avatar_core.bodies.brought import ADD, list_models, models_root

    records = list_models()
    if as_json:
        print_json({"folder": str(models_root()), "models": [asdict(record) for record in records]})
        return
    console = Console(soft_wrap=True)
    if not records:
        console.print(f"There are none in {models_root()}; add one: {ADD}", markup=False, highlight=False)
        return
    for record in records:
        console.print(record.name, style="bold", markup=False, highlight=False)
        _show(console, record)


def _show(console: Console, record: "ModelRecord") -> None:
    facts = f"{record.vertices:,} vertices, {record.joints} joints, digest {record.digest[:_DIGITS]}"
    for line in (f"{facts}, from {record.source}", record.licence):
        console.print(f"  {line}", markup=False, highlight=False)


@models.command("remove")
@friendly
def remove(name: Annotated[str, typer.Argument(help="As `avatars models list` shows it: smpl-female.")]) -> None:
    """Delete a model from this machine; finished avatars stay.

    Example:

        avatars models remove smpl-female
    """
    from avatar_core.bodies.brought import remove_model

    record = remove_model(name)
    Console(soft_wrap=True).print(f"{record.name} is removed; it came from {record.source}.", markup=False)
