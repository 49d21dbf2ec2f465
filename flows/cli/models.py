"""`avatars models`: body models and priors that users bring, such as SMPL and VPoser."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from flows.cli.errors import friendly
from flows.cli.library import JsonOption, print_json

if TYPE_CHECKING:
    from avatar_core.bodies.brought import Added, ModelRecord
    from avatar_core.priors.brought import AddedPriors, PriorRecord

models = typer.Typer(
    no_args_is_help=True,
    help="Body models and priors that you bring: add your registered download of SMPL, SMPL-H or SMPL-X, of VPoser or "
    "AvatarCLIP's own files, or priors that you trained; list and remove them.",
)
_DIGITS = 12


@models.command("add")
@friendly
def add(
    path: Annotated[
        Path,
        typer.Argument(
            help="A zip, folder, .npz or .pkl of SMPL, SMPL-H or SMPL-X; a zip, folder, .ckpt or .pth of VPoser or "
            "AvatarCLIP; or the folder that training a prior wrote."
        ),
    ],
    gender: Annotated[
        str | None, typer.Option("--gender", help="neutral, male or female. Default: as the files' names say.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check a download of a body model or of priors and keep it as safe files.

    Pickles are read as data: nothing in them is run, and one that asks for more than arrays is refused. The model goes
    to the folder AVATARS_MODELS, by default `~/.local/share/avatar-foundry/models`, and stays on this machine. Its own
    licence goes with it, and with what is made from it: non-commercial research only.

    Bodies are chosen by `--body` and the column `body`, priors by a preset: `candidate_poses.prior: vposer`.

    Examples:

        avatars models add SMPL_python_v.1.1.0.zip

        avatars models add model.npz --gender female

        avatars models add V02_05

        avatars models add AvatarAnimate/data/motion_vae.pth
    """
    from avatar_core.bodies.brought import add_models, models_root
    from avatar_core.priors.brought import add_priors, holds_priors

    added: Added | AddedPriors
    use: str
    if holds_priors(path):
        priors = added = add_priors(path)
        use = "; ".join(dict.fromkeys(record.use for record in priors.records))
    else:
        bodies = added = add_models(path, gender)
        name = bodies.records[0].name
        use = f'avatars make --body {name} --shape "a tall man" --appearance "..." --motion "walking"'
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
    console.print(f"They lie in {models_root()}. Use one: {use}", markup=False, highlight=False)


@models.command("list")
@friendly
def list_brought(as_json: JsonOption = False) -> None:
    """List the models that were added, with the licences that they come under.

    Example:

        avatars models list
    """
    from avatar_core.bodies.brought import ADD, list_models, models_root
    from avatar_core.priors.brought import list_priors

    records: list[ModelRecord | PriorRecord] = [*list_models(), *list_priors()]
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


def _show(console: Console, record: "ModelRecord | PriorRecord") -> None:
    facts = f"{record.contents}, digest {record.digest[:_DIGITS]}"
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
    from avatar_core.priors.brought import PRIOR_NAMES, remove_prior

    record = remove_prior(name) if name in PRIOR_NAMES else remove_model(name)
    Console(soft_wrap=True).print(f"{record.name} is removed; it came from {record.source}.", markup=False)
