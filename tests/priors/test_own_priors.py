"""From motion capture to poses and motions by priors that a user trained: the commands of docs/training.md."""

import json

import pytest
import torch
from motion_files import write_amass, write_bvh

from avatar_core.bodies import load_body
from avatar_core.errors import WeightsError
from avatar_core.licences.terms import terms_of_weights
from avatar_core.perception.encoder import load_encoder
from avatar_core.priors import import_motions, train_motion_vae, train_pose_vae
from avatar_core.priors.brought import add_priors, holds_priors, load_prior, prior_folder
from avatar_core.stages import candidate_poses, motion
from avatar_core.stages.base import StageContext


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folders that importing and training wrote, from AMASS with HumanML3D's captions."""
    folder = tmp_path_factory.mktemp("own")
    for take in range(6):
        write_amass(folder / "AMASS" / "KIT" / str(take) / "kick_poses.npz")
    texts = folder / "HumanML3D" / "texts"
    texts.mkdir(parents=True)
    (texts / "000000.txt").write_text("a man kicks.#a/DET man/NOUN#0.0#0.0\n", encoding="utf-8")
    index = "source_path,start_frame,end_frame,new_name\n./pose_data/KIT/0/kick_poses.npy,0,9,000000.npy\n"
    (folder / "HumanML3D" / "index.csv").write_text(index, encoding="utf-8")
    clips = str(folder / "motions")
    source = [str(folder / "AMASS"), "--out", clips, "--kind", "amass", "--captions", str(folder / "HumanML3D")]
    assert import_motions.main(source) == 0
    few = ["--data", clips, "--steps", "3", "--batch", "8"]
    train_pose_vae.main([*few, "--out", str(folder / "pose_vae"), "--codebook", "12"])
    small = ["--latent", "24", "--width", "32", "--layers", "1", "--cosines", "8"]
    train_motion_vae.main([*few, *small, "--out", str(folder / "motion_vae"), "--codebook", "3"])
    return folder


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("AVATARS_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("AVATARS_CACHE", str(tmp_path / "cache"))


def copied(trained, tmp_path, name, **replaced):
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in (trained / name).iterdir():
        (folder / path.name).write_bytes(replaced.get(path.name.replace(".", "_"), path.read_bytes()))
    return folder


def test_what_was_trained_is_added_and_chosen_by_the_settings(trained):
    for name in ("pose_vae", "motion_vae"):
        assert holds_priors(trained / name)
        (record,) = add_priors(trained / name).records
        assert terms_of_weights(record.name, record.digest, record.licence).licence == "LicenseRef-AMASS"
        assert terms_of_weights(record.name, record.digest, record.licence).commercial == "no"
    context = StageContext(load_body(), load_encoder("bodyclip"))
    config = candidate_poses.Config(prior="own", count=2, least_share=0)
    poses = candidate_poses.run("kicking", config=config, seed=0, context=context)
    assert max(poses.entries) < 12
    settings = motion.Config(prior="own", steps=1, starts=1, clip_frames=1)
    made = motion.run(poses, "kicking", config=settings, seed=0, context=context)
    assert made.poses.shape == (60, 22, 3)
    assert torch.isfinite(made.poses).all()
    assert [name for name, _, _ in made.brought] == ["own-poses", "own-motion"]


def test_bvh_takes_keep_the_terms_that_were_given(tmp_path):
    write_bvh(tmp_path / "takes" / "kick.bvh", seconds=3)
    source = [str(tmp_path / "takes"), "--out", str(tmp_path / "motions"), "--kind", "bvh", "--licence", "our own"]
    assert import_motions.main(source) == 0
    few = ["--data", str(tmp_path / "motions"), "--steps", "1", "--batch", "4", "--codebook", "5"]
    train_pose_vae.main([*few, "--out", str(tmp_path / "pose_vae")])
    assert add_priors(tmp_path / "pose_vae").records[0].licence == "as its authors say: our own"


def test_a_folder_that_is_not_whole_is_refused(trained, tmp_path):
    folder = copied(trained, tmp_path, "pose_vae")
    (folder / "codebook.json").unlink()
    with pytest.raises(WeightsError, match=r"codebook\.json: no plain file"):
        add_priors(folder)


def test_sizes_beyond_any_prior_are_refused_before_anything_is_made_of_them(trained, tmp_path):
    config = json.dumps({"kind": "pose_vae", "latent": 32, "hidden": 10**9}).encode()
    with pytest.raises(WeightsError, match="hidden is 1000000000"):
        add_priors(copied(trained, tmp_path, "pose_vae", config_json=config))


def test_weights_of_another_size_are_refused(trained, tmp_path):
    config = json.dumps({"kind": "pose_vae", "latent": 16, "hidden": 512}).encode()
    with pytest.raises(WeightsError, match="no weights of this pose VAE"):
        add_priors(copied(trained, tmp_path, "pose_vae", config_json=config))


def test_an_altered_file_is_told(trained):
    (record,) = add_priors(trained / "pose_vae").records
    _, folder = prior_folder("own-poses")
    (folder / "codebook.json").write_text("{}")
    with pytest.raises(WeightsError, match="was altered"):
        load_prior(record.name)
