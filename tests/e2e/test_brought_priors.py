"""An avatar on VPoser and AvatarCLIP's motion prior with the `tiny` preset, by the real command."""

import json

import pytest
from brought_priors import write_avatarclip, write_vposer

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_an_avatar_moves_by_brought_priors_and_its_files_say_under_which_terms(
    avatars, stage_artifacts, tmp_path, monkeypatch
):
    monkeypatch.setitem(avatars.environment, "AVATARS_MODELS", str(tmp_path / "models"))
    for download in (write_vposer(tmp_path), write_avatarclip(tmp_path / "data")):
        added = avatars("models", "add", download)
        assert added.returncode == 0, added.stderr
    preset = tmp_path / "reference.yaml"
    preset.write_text(
        "extends: tiny\n"
        "texturing: {outfit_search: false}\n"
        "candidate_poses: {prior: avatarclip}\n"
        "motion: {prior: avatarclip, search: false}\n"
    )
    texts = ("--shape", "a tall man", "--appearance", "a man in blue", "--motion", "walking", "--id", "tom")
    place = ("--library", tmp_path / "library", "--device", "cpu")
    made = avatars("make", *texts, *place, "--preset", preset)
    assert made.returncode == 0, made.stderr
    report = json.loads((tmp_path / "library/avatars/tom/report.json").read_bytes())
    brought = {"vposer", "avatarclip-poses", "avatarclip-motion"}
    assert brought <= set(report["weights"])
    assert not {"pose_vae", "motion_vae"} & set(report["weights"])
    licences = avatars.json("licences", "tom", "--library", tmp_path / "library")
    assert licences["commercial"] == "no"
    first = stage_artifacts(tmp_path / "library")
    assert avatars("make", *texts, *place, "--preset", preset).returncode == 0
    assert stage_artifacts(tmp_path / "library") == first
