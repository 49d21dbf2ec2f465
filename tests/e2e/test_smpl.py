"""From a pickled SMPL model to avatars on its bones with the `tiny` preset, by the real command."""

import json
import subprocess
from pathlib import Path

import pytest
from node_tools import glb_issues, require_packages
from synthetic_smpl import pickled

from avatar_core.bodies.smpl_kinds import KINDS
from avatar_core.export.bone_names import FILE_NAMES
from avatar_core.export.finished import read_finished

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture(scope="module")
def models(avatars, tmp_path_factory):
    """The command with a female model that was added from a pickle."""
    download = tmp_path_factory.mktemp("download") / "basicModel_f_lbs_10_207_0_v1.0.0.pkl"
    download.write_bytes(pickled())
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(avatars.environment, "AVATARS_MODELS", str(tmp_path_factory.mktemp("models")))
        added = avatars("models", "add", download)
        assert added.returncode == 0, added.stderr
        yield avatars


@pytest.fixture(scope="module")
def library(models, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("smpl") / "library"
    catalog = folder.parent / "people.csv"
    catalog.write_text(
        "id,shape,appearance,motion,body\n"
        "eva,a tall woman,a woman in a wide red skirt and a hat,walking,smpl-female\n"
        "ida,a tall woman,a woman in a wide red skirt and a hat,walking,\n"
        "tom,a tall man,a man in blue,walking,smplx\n"
    )
    made = models("run", catalog, "--library", folder, "--preset", "tiny", "--device", "cpu", "--only", "eva")
    assert made.returncode == 0, made.stderr
    return folder


def report(library: Path, name: str) -> dict:
    return json.loads((library / "avatars" / name / "report.json").read_bytes())


def test_the_avatar_has_smpls_bones_and_is_valid(library):
    path = library / "avatars/eva/avatar.glb"
    avatar = read_finished(path)
    assert [FILE_NAMES[name] for name in avatar.skeleton.names][:2] == ["Hips", "LeftUpLeg"]
    assert avatar.skeleton.names == KINDS["smpl"].joints
    assert len(avatar.skeleton.names) == 24
    assert avatar.skin.joints.max() < 24
    assert list(avatar.clips) == ["walking", "idle"]
    require_packages("gltf-validator")
    assert glb_issues(path)["numErrors"] == 0


def test_the_bodys_licence_goes_with_the_avatar(library):
    extras = read_finished(library / "avatars/eva/avatar.glb").extras
    for weights in (extras["weights"], report(library, "eva")["weights"]):
        assert weights["body"]["name"] == "smpl-female"
        assert "non-commercial" in weights["body"]["licence"]
        assert "shape_codebook" not in weights


def test_the_report_tells_the_shape_in_smpls_components_and_a_sound_motion(library):
    facts = report(library, "eva")
    assert set(facts["body"]) == {f"beta{number}" for number in range(10)}
    assert facts["skin"]["bones"] == 24
    assert facts["motion"]["ground_penetration_m"] < 0.001
    assert facts["motion"]["limb_direction_error_degrees"] < 10
    assert facts["mesh"]["watertight"]


def test_nothing_says_where_the_model_lies(library, models):
    folder = models.environment["AVATARS_MODELS"]
    for path in (library / "avatars/eva").iterdir():
        assert folder.encode() not in path.read_bytes()


def test_a_row_whose_model_is_not_here_says_which_command_adds_it(library, models):
    catalog = library.parent / "people.csv"
    made = models("run", catalog, "--library", library, "--preset", "tiny", "--device", "cpu", "--only", "tom")
    assert made.returncode != 0
    assert "avatars models add PATH" in made.stdout + made.stderr


def test_an_unknown_body_option_says_which_command_adds_it(library, models):
    prompts = ("--shape", "a man", "--appearance", "a man", "--motion", "walking")
    made = models("make", *prompts, "--body", "smplh", "--preset", "tiny", "--library", library)
    assert made.returncode == 2
    assert "avatars models add PATH" in made.stderr


def test_a_motion_of_the_users_goes_onto_the_avatar(library, models, tmp_path):
    done: subprocess.CompletedProcess[str] = models(
        "animate", "eva", "-m", library / "avatars/eva/avatar.glb", "--name", "again", "--no-video", "-l", library,
        "-o", tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert list(read_finished(tmp_path / "eva/animations/again.glb").clips) == ["again", "walking", "idle"]


def test_formats_are_written_from_smpls_bones(library, models, tmp_path):
    done = models("export", "eva", "--format", "vrm,bvh,npz,obj", "-l", library, "-o", tmp_path)
    assert done.returncode == 0, done.stderr
    found = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert {"avatar.vrm", "motion.bvh", "motion.npz", "avatar.obj"} <= found
