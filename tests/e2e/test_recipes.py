"""The commands of docs/recipes.md do what the page says, one after the other, with a preset that is quick."""

import csv
import re

import pytest
from motion_files import RIGS, bvh_text, known_motion
from pages import ROOT, commands
from tiny_avatars import PEOPLE
from typer.testing import CliRunner

from flows.cli.app import app

PAGE = ROOT / "docs/recipes.md"
NOT_RUN = {
    "gallery": "serves until it is stopped; tests/e2e/test_gallery.py has it in a browser",
    "s3://bucket/people": "needs a bucket; tests/storage has a server of that protocol",
}
RECIPES = [
    words for words in commands(PAGE) if words[0] == "avatars" and not any(word in NOT_RUN for word in words)
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the files that the page speaks of."""
    folder = tmp_path_factory.mktemp("recipes")
    text = PAGE.read_text(encoding="utf-8")
    (guards,) = re.findall(r"```csv\n(.*?)```", text, re.DOTALL)
    (quick,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    (folder / "guards.csv").write_text(guards, encoding="utf-8")
    (folder / "tiniest.yaml").write_text("extends: tiny\ntexturing: { outfit_search: false }\n", encoding="utf-8")
    (folder / "quick.yaml").write_text(quick.replace("extends: draft", "extends: tiniest.yaml"), encoding="utf-8")
    with (folder / "people.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.DictWriter(file, ["id", "shape", "appearance", "motion"])
        rows.writeheader()
        rows.writerow({"id": "ada", **PEOPLE["ada"]})
    (folder / "walk.bvh").write_text(bvh_text(RIGS["cmu-inches"], *known_motion(30), 30))
    return folder


@pytest.mark.e2e
@pytest.mark.slow
def test_the_recipes_work_in_their_order(place, monkeypatch):
    monkeypatch.chdir(place)
    for words in RECIPES:
        quick = [] if words[1] not in ("run", "regenerate") or "--preset" in words else ["--preset", "tiniest.yaml"]
        done = CliRunner().invoke(app, [*words[1:], *quick])
        assert done.exit_code == 0, f"{' '.join(words)}: {done.output[-2000:]}"
    for avatar in ("guard-1", "guard-2", "ada"):
        assert (place / "library/avatars" / avatar / "avatar.glb").is_file()
    assert list((place / "engine").rglob("*.vrm"))
    assert (place / "library/avatars/ada/animations/walk.glb").is_file()
    assert (place / "trial/avatars/ada/avatar.glb").is_file()
