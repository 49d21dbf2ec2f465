"""Stages on priors that their user brought, with files in VPoser's and AvatarCLIP's layout and of small codebooks."""

from dataclasses import replace

import pytest
import torch
from brought_priors import shape_codebook, shape_vae, write_avatarclip, write_vposer
from small_texturing import write_small_clip
from synthetic_smpl import synthetic_model, write_npz

from avatar_core.bodies import load_body
from avatar_core.bodies.brought import add_models
from avatar_core.bodies.rotations import axis_angle_to_matrix
from avatar_core.errors import ConfigError, WeightsError
from avatar_core.perception.encoder import load_encoder
from avatar_core.priors import choices
from avatar_core.priors.brought import add_priors, find_prior
from avatar_core.priors.pose_vae import PoseCodebook
from avatar_core.stages import candidate_poses, coarse_shape, motion
from avatar_core.stages.base import StageContext

PROMPT = "a person is running"


@pytest.fixture(scope="module", autouse=True)
def here(tmp_path_factory):
    """A machine with VPoser and AvatarCLIP's files, and codebooks that are soon pictured."""
    folder = tmp_path_factory.mktemp("brought")
    book = PoseCodebook.load()
    kept = torch.arange(0, len(book), 100)
    small = replace(
        book,
        **{name: getattr(book, name)[kept] for name in ("latents", "roots", "heights")},
        **{name: tuple(getattr(book, name)[i] for i in kept) for name in ("labels", "captions", "authored")},
        digest="a few poses",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AVATARS_MODELS", str(folder / "models"))
        patch.setenv("AVATARS_CACHE", str(folder / "cache"))
        patch.setattr(PoseCodebook, "load", classmethod(lambda cls, folder=None: small))
        patch.setattr(choices, "DRAWN", 6)
        add_priors(write_vposer(folder))
        add_priors(write_avatarclip(folder / "data"))
        yield folder


@pytest.fixture(scope="module")
def context() -> StageContext:
    return StageContext(load_body(), load_encoder("bodyclip"))


def poses(context, **settings):
    # nobody's VPoser makes poses that are much alike
    config = candidate_poses.Config(count=3, least_share=0, least_angle=0, **settings)
    return candidate_poses.run(PROMPT, config=config, seed=0, context=context)


def used(result) -> list[str]:
    return [name for name, _, _ in result.brought]


@pytest.mark.parametrize(
    "settings",
    [
        {"prior": "vposer"},
        {"prior": "vposer", "method": "latent_optimizer", "latent_optimizer": {"draws": 9, "starts": 3, "steps": 2}},
        {"prior": "vposer", "method": "pose_optimizer", "pose_optimizer": {"draws": 9, "starts": 3, "steps": 2}},
        {"prior": "avatarclip"},
    ],
)
def test_poses_come_from_vposer_and_say_so(context, settings, tmp_path):
    found = poses(context, **settings)
    assert torch.isfinite(found.poses).all()
    assert found.poses.shape == (3, 22, 3)
    assert used(found) == list(choices.brought_reads("candidate_poses", settings))
    assert found.brought[0][1] == find_prior("vposer").digest
    assert "non-commercial" in found.brought[0][2]
    found.save(tmp_path)
    loaded = candidate_poses.CandidatePoses.load(tmp_path)
    assert (loaded.prior, loaded.brought) == (found.prior, found.brought)


def test_a_codebooks_poses_are_those_of_its_latents_through_vposer(context):
    found = poses(context, prior="avatarclip")
    latents = choices.load_pose_codebook("avatarclip").latents[list(found.entries)]
    body = choices.load_pose_model("avatarclip").decode(latents)
    assert torch.allclose(axis_angle_to_matrix(found.poses)[:, 1:], body, atol=1e-4)
    assert found.poses[:, 0].abs().max() == 0  # its pelvis is upright


def test_results_of_the_embedded_priors_are_written_as_before(context, tmp_path):
    poses(context).save(tmp_path)
    assert "prior" not in (tmp_path / "poses.json").read_text()
    for config in (candidate_poses.Config(), motion.Config(), coarse_shape.Config()):
        assert "prior" not in config.model_dump(mode="json")


def test_the_flow_draws_poses_for_an_encoder_of_its_width_only(context, tmp_path):
    settings = {"prior": "avatarclip", "method": "realnvp", "realnvp": {"draws": 6}}
    with pytest.raises(WeightsError, match="--encoder openai/clip-vit-base-patch32"):
        poses(context, **settings)
    write_small_clip(tmp_path, dim=512)
    encoder = load_encoder(str(tmp_path))
    found = poses(replace(context, encoder=encoder), **settings)
    assert used(found) == ["vposer", "avatarclip-poses", "avatarclip-flow"]
    again = poses(replace(context, encoder=encoder), **settings)
    assert torch.equal(found.poses, again.poses)


def test_the_flow_reads_text_features_of_their_own_length(tmp_path):
    write_small_clip(tmp_path, dim=512)
    encoder = load_encoder(str(tmp_path))
    unit, asked = encoder.encode_texts([PROMPT])[0], []
    flow = choices.AvatarClipFlow
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flow, "sample", lambda self, target, *rest: asked.append(target) or torch.zeros(1, 32))
        choices.draw_pose_latents(
            "avatarclip", unit, PROMPT, 1, generator=torch.Generator(), temperature=1.0, encoder=encoder,
            pose_model=choices.load_pose_model("vposer"),
        )  # fmt: skip
    with torch.no_grad():
        assert torch.allclose(asked[0], encoder._text_features([PROMPT])[0].float(), atol=1e-5)
    assert abs(asked[0].norm() - 1) > 0.01


@pytest.mark.parametrize(("method", "search"), [("full", True), ("baseline", False)])
def test_a_motion_comes_from_avatarclips_decoder(context, tmp_path, method, search):
    candidates = poses(context, prior="avatarclip")
    config = motion.Config(prior="avatarclip", method=method, search=search, steps=2, starts=1, clip_frames=1)
    made = motion.run(candidates, PROMPT, config=config, seed=0, context=context)
    assert made.poses.shape == (60, 22, 3)
    assert torch.isfinite(made.poses).all()
    assert used(made) == ["vposer", "avatarclip-poses", "avatarclip-motion"]
    assert not made.authored
    assert [entry["step"] for entry in made.history] == [1, 2]
    made.save(tmp_path)
    assert motion.Motion.load(tmp_path).brought == made.brought


def test_interpolation_goes_through_the_prior_of_the_poses(context):
    config = motion.Config(method="interpolation", plant_feet=False)
    candidates = {"embedded": poses(context)}
    candidates["vposer"] = replace(candidates["embedded"], prior="vposer")
    made = {
        prior: motion.run(found, PROMPT, config=config, seed=0, context=context)
        for prior, found in candidates.items()
    }
    first = [one.poses[0] for one in made.values()]
    assert torch.allclose(*first, atol=1e-3)  # stops are met whatever the prior
    assert not torch.allclose(made["embedded"].poses, made["vposer"].poses, atol=1e-3)


def test_avatarclips_shapes_are_searched_on_the_users_own_smpl(context, here, tmp_path):
    config = coarse_shape.Config(prior="avatarclip", averaged=1)
    with pytest.raises(ConfigError, match="--body smpl"):
        coarse_shape.run("a tall man", config=config, seed=0, context=context)
    add_models(write_npz(tmp_path / "SMPL_NEUTRAL.npz"))
    directions = torch.from_numpy(synthetic_model()["shapedirs"]).float()
    codes = shape_codebook()
    torch.save(shape_vae(directions), here / "model_VAE_16.pth")
    torch.save(codes, here / "codebook.pth")
    add_priors(here / "model_VAE_16.pth")
    add_priors(here / "codebook.pth")
    body = load_body("smpl")
    found = coarse_shape.run("a tall man", config=config, seed=0, context=replace(context, body=body))
    (latents,) = codes
    wanted, made = (
        torch.einsum("vds,ns->nvd", directions, betas)
        for betas in (latents[:, :10], choices.load_shapes(body, "avatarclip").betas)
    )
    assert torch.allclose(made, wanted, atol=1e-4)  # metres
    assert wanted.abs().max() > 0.05
    assert torch.allclose(found.betas, choices.load_shapes(body, "avatarclip").betas[found.top[0]], atol=1e-5)
    assert used(found) == ["avatarclip-shape-vae", "avatarclip-shapes"]
    found.save(tmp_path)
    assert coarse_shape.CoarseShape.load(tmp_path).brought == found.brought


def test_shapes_that_are_none_of_the_users_smpl_are_refused(here, tmp_path):
    add_models(write_npz(tmp_path / "SMPL_NEUTRAL.npz"))
    body = load_body("smpl")
    directions = torch.from_numpy(synthetic_model()["shapedirs"]).float()
    torch.save(shape_codebook(), here / "codebook.pth")
    add_priors(here / "codebook.pth")
    for vae, message in (
        (shape_vae(10 * directions.flip(0)), "mm from any shape of your SMPL"),
        (shape_vae(directions[:6000]), "is of 6000 vertices"),
    ):
        torch.save(vae, here / "model_VAE_16.pth")
        add_priors(here / "model_VAE_16.pth")
        with pytest.raises(WeightsError, match=message):
            choices.load_shapes(body, "avatarclip")
