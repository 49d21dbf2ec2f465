"""Files of every kind that AvatarCLIP has become presets that load again, and every key's fate is told."""

from pathlib import Path

import pytest
from avatarclip_confs import CONFS, animation, appearance

from avatar_core.avatarclip import Imported, import_conf
from avatar_core.avatarclip.rules import Fate
from avatar_core.catalog import CatalogRow, read_catalog
from avatar_core.config import load_preset
from avatar_core.errors import ConfigError

PAPER = load_preset("paper")


@pytest.fixture
def imported(tmp_path):
    """A function: text of a file -> what is made of it."""

    def read(text: str) -> Imported:
        path = tmp_path / "mine.conf"
        path.write_text(text)
        return import_conf(path)

    return read


def note(result: Imported, key: str):
    return next(one for one in result.notes if one.key == key)


@pytest.mark.parametrize("name", CONFS)
def test_every_kind_of_file_is_a_preset_that_loads_again(name, imported, tmp_path):
    result = imported(CONFS[name])
    path = tmp_path / "mine.yaml"
    path.write_text(result.yaml())
    loaded = load_preset(path)
    assert loaded.model_copy(update={"description": ""}) == result.preset
    assert len(result.yaml().splitlines()) < 15
    assert not [one.key for one in result.notes if one.fate is Fate.UNKNOWN]
    assert all(one.reason or one.settings for one in result.notes)


@pytest.mark.parametrize("name", CONFS)
def test_every_kind_of_file_is_a_row_of_a_catalog(name, imported, tmp_path):
    path = tmp_path / "people.csv"
    path.write_text(imported(CONFS[name]).row.csv())
    (row,) = read_catalog(path)
    assert isinstance(row, CatalogRow)
    assert row.id


def test_the_papers_settings_are_the_papers_preset(imported):
    assert imported(appearance("full", end_iter=30000)).differences == {}
    assert imported(CONFS["motion/base"]).differences == {}


def test_sizes_of_networks_and_samples_are_taken_over(imported):
    small = imported(CONFS["examples_small/gardener"])
    sizes = small.preset.implicit_init.field.positional
    assert (sizes.sdf_width, sizes.sdf_layers, sizes.color_width, sizes.color_layers) == (128, 3, 128, 1)
    assert small.preset.texturing.intervals == 64
    assert small.preset.texturing.resolutions == (145,)
    assert imported(CONFS["base_models/strong_small"]).preset.implicit_init.field.positional == sizes


def test_losses_schedule_and_views_are_taken_over(imported):
    changed = imported(
        appearance(
            "full", learning_rate="1e-3", learning_rate_alpha=0.1, warm_up_end=0, end_iter=2000, save_freq=50,
            igr_weight=0.2, clip_weight=2.0, use_face_prompt=False, seed=7,
        )
    ).preset  # fmt: skip
    texturing = changed.texturing
    assert {*texturing.rates.model_dump().values()} == {1e-3}
    assert (texturing.final_rate, texturing.warmup_steps, texturing.steps) == (0.1, 1, 2000)
    assert texturing.checkpoint_every == 50
    assert (texturing.losses.eikonal, texturing.losses.lit, texturing.losses.clay) == (0.2, 2.0, 2.0)
    assert texturing.views.face_share == 0.0
    assert changed.seed == 7


def test_the_ablation_turns_off_what_can_be_turned_off_and_says_what_cannot(imported):
    bare = imported(CONFS["ablation/gardener_0"])
    assert bare.preset.texturing.losses.clay == 0.0
    assert bare.preset.texturing.views.face_share == 0.0
    for key in ("train.texture_cast_light", "train.use_back_prompt", "train.use_bg_aug"):
        assert note(bare, key).fate is Fate.IGNORED
        assert note(imported(CONFS["ablation/gardener_4"]), key).fate is Fate.MAPPED


def test_a_silent_file_means_what_avatarclip_takes_then(imported):
    result = imported("train { clip_weight = 1.0 }\nclip { prompt = a 3D rendering of a king in unreal engine }")
    assert result.preset.texturing.losses.clay == 0.0
    assert result.preset.texturing.views.face_share == 0.0
    assert "default" in note(result, "train.use_face_prompt").value


def test_the_traps_are_corrected_and_named(imported):
    result = imported(CONFS["examples/gardener"])
    assert result.preset.texturing.steps == 100_000
    assert "30,010" in note(result, "train.end_iter").reason
    assert "hats" in note(result, "train.mask_weight").reason
    assert {one.key for one in result.notes if one.fate is Fate.CORRECTED} >= {"train.end_iter", "train.mask_weight"}
    assert any("nearest" in one.reason for one in imported(CONFS["motion/base"]).notes if one.fate is Fate.CORRECTED)


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("pose_optimizer", "pose_optimizer"), ("vposer_codebook", "codebook"), ("vposer_optimizer", "latent_optimizer"),
        ("vposer_realnvp", "realnvp"),
    ],
)  # fmt: skip
def test_ways_to_poses_are_methods_here(name, method, imported):
    assert imported(CONFS[f"pose_ablation/{name}"]).preset.candidate_poses.method == method


def test_ways_to_motions_are_methods_here(imported):
    assert imported(CONFS["motion/base"]).preset.motion == PAPER.motion
    assert imported(CONFS["motion_ablation/interpolation"]).preset.motion.method == "interpolation"
    baseline = imported(CONFS["motion_ablation/baseline"])
    assert baseline.preset.motion.method == "baseline"
    assert "only the first" in note(baseline, "motion_generator.recon_coef").reason


def test_settings_of_poses_and_motions_are_taken_over(imported):
    text = animation(
        "motion", "PoseOptimizer", "MotionOptimizer", num_frame=90, num_iteration=10, clip_num_part=30, clip_coef=0.1,
        delta_coef=0.2, recon_coef="[2, 1.6, 1.2, 0.8, 0.4]", optim_cfg="{ lr = 0.5 }", latent_dim=256,
    )  # fmt: skip
    pose = "topk = 7\n num_iteration = 9\n optim_cfg { lr = 0.3 }"
    text = text.replace("type = PoseOptimizer", f"type = PoseOptimizer\n {pose}")
    preset = imported(text).preset
    motion, poses = preset.motion, preset.candidate_poses
    assert (motion.frames, motion.steps, motion.clip_frames, motion.learning_rate) == (90, 10, 3, 0.5)
    assert (motion.clip_weight, motion.movement_weight, motion.pose_weight) == (0.1, 0.2, 2.0)
    assert (poses.count, poses.pose_optimizer.starts) == (7, 7)
    assert (poses.pose_optimizer.steps, poses.pose_optimizer.learning_rate) == (9, 0.3)
    codebook = "pose_generator { type = VPoserCodebook, pre_topk = 20, filter_threshold = 0.14 }"
    assert imported(codebook).preset.candidate_poses.codebook.top == 20
    assert imported(codebook).preset.candidate_poses.least_angle == pytest.approx(0.3)


def test_prompts_become_the_row(imported):
    assert imported(CONFS["ablation/gardener_4"]).row.fields == {
        "id": "gardener_4", "shape": "a person", "appearance": "a gardener", "motion": "standing",
    }  # fmt: skip
    motion = imported(CONFS["motion/base"]).row
    assert (motion.fields["motion"], motion.filled_in) == ("waving", ("shape", "appearance"))
    free = imported('clip { prompt = "Gandalf, the grey" }').row
    assert (free.fields["appearance"], free.fields["id"]) == ("Gandalf, the grey", "mine")


def test_a_key_that_avatarclip_does_not_read_is_told_of(imported):
    result = imported(appearance("full", clip_wieght=3) + "\ngeneral.mood = sad\n")
    assert note(result, "train.clip_wieght").fate is Fate.UNKNOWN
    assert "train.clip_weight" in note(result, "train.clip_wieght").reason
    assert note(result, "general.mood").fate is Fate.UNKNOWN


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1", ["mine.conf", "none of the sections", "AppearanceGen"]),
        (appearance("full", end_iter="many"), ["mine.conf", "train.end_iter", "'many'", "a number from 1"]),
        (appearance("full", end_iter=0.5), ["train.end_iter", "1"]),
        (appearance("full", end_iter=1.5), ["train.end_iter", "whole number"]),
        (appearance("full", igr_weight=-1), ["train.igr_weight", "0 to 1000"]),
        (appearance("full", igr_weight="NaN"), ["train.igr_weight", "'NaN'"]),
        (appearance("full", add_no_texture=3), ["train.add_no_texture", "true or false"]),
        (appearance("full", clip_weight=True), ["train.clip_weight", "number"]),
        (appearance("full").replace("d_hidden = 256", "d_hidden = 16"), ["model.sdf_network.d_hidden", "40"]),
        (animation("pose", "VPoserGAN"), ["pose_generator.type", "VPoserGAN", "VPoserCodebook"]),
        ("motion_generator { type = MotionOptimizer, recon_coef = 3 }", ["motion_generator.recon_coef", "list"]),
        ("motion_generator { recon_coef = [x] }", ["motion_generator.recon_coef", "number"]),
        ("pose_generator { topk = 3 }", ["pose_generator.type", "one of"]),
        ('clip { prompt = "=SUM(A1)" }', ["mine.conf", "clip.prompt", "formula"]),
        (f"clip {{ prompt = {'x' * 400} }}", ["clip.prompt", "400 characters"]),
        ('clip { prompt = "" }', ["clip.prompt", "empty"]),
    ],
)
def test_mistakes_name_the_file_the_key_and_the_remedy(text, words, imported):
    with pytest.raises(ConfigError) as caught:
        imported(text)
    for word in words:
        assert word in str(caught.value)


def test_the_folder_of_a_hostile_file_is_no_path(imported, tmp_path):
    fields = imported("general { base_exp_dir = ../../etc/.. }\nclip { prompt = a king }").row.fields
    assert fields["id"] == "mine"
    assert not list(Path(tmp_path).glob("*.csv"))
