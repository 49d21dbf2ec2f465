"""A motion of the user's on a finished avatar, by the command."""

import json
from pathlib import Path

import pytest
from motion_files import write_bvh
from typer.testing import CliRunner

from avatar_core.export.finished import read_finished
from flows.animating import file_stem
from flows.cli.app import app


def animate(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["animate", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


def test_a_bvh_becomes_a_clip_before_those_that_the_avatar_had(tiny_library: Path, tmp_path: Path) -> None:
    take = write_bvh(tmp_path / "take 3.bvh", fps=60, seconds=2)
    code, out, err = animate(
        "ada", "-m", take, "-l", tiny_library, "-o", tmp_path / "out", "--seconds", 1, "--no-video", "--json"
    )
    assert code == 0, err
    made = json.loads(out)
    model = tmp_path / "out/ada/animations/take-3.glb"
    assert made["files"] == [str(model)]
    assert made["facts"]["frames"] == 31
    avatar = read_finished(model)
    assert list(avatar.clips) == ["take 3", "walking", "idle"]
    assert len(avatar.clips["take 3"]) == 31


@pytest.mark.slow
def test_another_avatar_s_motion_is_filmed(tiny_library: Path, tmp_path: Path) -> None:
    code, out, err = animate(
        "bob", "-m", "ada", "--name", "ada's walk", "--seconds", 0.2, "-l", tiny_library, "-o", tmp_path
    )
    assert code == 0, err
    assert "7 frames" in out
    assert (tmp_path / "bob/animations/ada-s-walk.mp4").read_bytes()[4:8] == b"ftyp"
    assert next(iter(read_finished(tmp_path / "bob/animations/ada-s-walk.glb").clips)) == "ada's walk"


@pytest.mark.parametrize(
    ("avatar", "motion", "words"),
    [
        ("ada", "missing.bvh", "no such file"),
        ("ada", "nobody", "neither a .bvh, .npz or .glb file nor a finished avatar"),
        ("nobody", "ada", "not finished"),
        ("../ada", "ada", "no id"),
    ],
)
def test_mistakes_are_told_in_one_message(tiny_library: Path, avatar: str, motion: str, words: str) -> None:
    code, out, err = animate(avatar, "-m", motion, "-l", tiny_library)
    assert code == 2
    assert words in err
    assert "Traceback" not in out + err


@pytest.mark.parametrize(
    ("title", "stem"), [("walk", "walk"), ("take 3", "take-3"), ("../../etc/passwd", "etc-passwd"), ("ß…", "clip")]
)
def test_clips_names_become_names_of_files(title: str, stem: str) -> None:
    assert file_stem(title) == stem
