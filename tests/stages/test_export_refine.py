"""The refinement of a mesh's colours: towards its prompt, gently, alike on both sides of seams, and repeatable."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from avatar_core.bodies import load_body
from avatar_core.errors import DivergenceError
from avatar_core.export.color_residual import ResidualConfig, recolored
from avatar_core.export.mesh import TriangleMesh, vertex_normals
from avatar_core.export.seams import find_seams, seam_difference
from avatar_core.export.texture import bake, unwrap
from avatar_core.fields import HashConfig
from avatar_core.perception.encoder import load_encoder
from avatar_core.stages.export_refine import RefineConfig, refine, refine_if_better
from avatar_core.stages.export_scores import view_cosines
from avatar_core.stages.texturing_views import Subject, ViewConfig
from avatar_core.storage.store import ArtifactStore

PROMPT = "a man in a red shirt"
CPU = torch.device("cpu")
SMALL = ResidualConfig(grid=HashConfig(levels=3, coarsest_cell=0.2, finest_cell=0.05, log2_table_size=12), chroma=1.0)
QUICK = RefineConfig(
    steps=6,
    views_per_step=2,
    image_size=48,
    views=ViewConfig(feet_share=0.0, hand_share=0.0),  # as the fixed views that are scored
    residual=SMALL,
    rate=0.03,
    change=0.0,
    variation=0.0,
)


class Killed(Exception):
    """Stands for `kill -9`."""


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("bodyclip")


@pytest.fixture(scope="module")
def subject():
    body = load_body()
    return Subject.of(body, body.shape(body.neutral_shape))


@pytest.fixture(scope="module")
def mesh():
    """The neutral body in a grey that fades upwards."""
    body = load_body()
    vertices, faces = body.shape(body.neutral_shape).vertices.numpy(), body.faces.numpy().astype(np.int32)

    def grey(points):
        return np.repeat(0.3 + 0.2 * points[:, 1:2], 3, axis=1).astype(np.float32)

    texture = bake(grey, vertices, faces, unwrap(vertices, faces, 256), 256)
    return TriangleMesh(vertices, faces, vertex_normals(vertices, faces), grey(vertices), texture)


def run(mesh, subject, encoder, config=QUICK, **options):
    return refine(mesh, subject, PROMPT, encoder, config, **({"seed": 1, "device": CPU} | options))


@pytest.fixture(scope="module")
def refined(mesh, subject, encoder):
    return run(mesh, subject, encoder)


def test_the_prompt_is_seen_better_from_views_that_did_not_guide(mesh, refined, subject, encoder):
    before, after = (
        float(view_cosines(one, subject, PROMPT, encoder, 96, CPU)[0].mean()) for one in (mesh, refined)
    )
    assert after > before + 0.01


def test_only_colours_change_and_vertices_follow_the_texture(mesh, refined):
    assert refined.vertices is mesh.vertices
    assert refined.texture.charts is mesh.texture.charts
    moved = refined.texture.image.astype(int) - mesh.texture.image
    assert np.abs(moved).mean() > 1
    vertex = refined.colors - mesh.colors
    assert np.corrcoef(moved.reshape(-1, 3).mean(0), vertex.mean(0))[0, 1] > 0.9


def test_seams_stay_as_alike_as_they_were(mesh, refined):
    seams = find_seams(mesh.vertices, mesh.faces, mesh.texture.charts)
    assert seam_difference(refined.texture.image, seams) < seam_difference(mesh.texture.image, seams) + 0.002


def test_equal_seeds_give_equal_textures_and_others_do_not(mesh, refined, subject, encoder):
    np.testing.assert_array_equal(run(mesh, subject, encoder).texture.image, refined.texture.image)
    assert (run(mesh, subject, encoder, seed=2).texture.image != refined.texture.image).any()


def test_a_killed_run_continues_to_the_same_bits(mesh, refined, subject, encoder, tmp_path):
    store = ArtifactStore(str(tmp_path)).checkpoints("export", "0" * 32)
    config = QUICK.model_copy(update={"checkpoint_every": 2})

    def kill(step: int) -> None:
        if step == 5:
            raise Killed

    with pytest.raises(Killed):
        run(mesh, subject, encoder, config, checkpoint=store, progress=kill)
    steps: list[int] = []
    again = run(mesh, subject, encoder, config, checkpoint=store, progress=steps.append)
    assert steps == [5, 6]
    np.testing.assert_array_equal(again.texture.image, refined.texture.image)


def test_restraint_keeps_the_baked_colours(mesh, refined, subject, encoder):
    held = run(mesh, subject, encoder, QUICK.model_copy(update={"change": 100.0}))
    moved, free = (np.abs(one.texture.image.astype(int) - mesh.texture.image).mean() for one in (held, refined))
    assert moved < 0.5 * free


def test_without_chroma_grey_stays_grey(mesh, subject, encoder):
    config = QUICK.model_copy(update={"residual": SMALL.model_copy(update={"chroma": 0.0})})
    image = run(mesh, subject, encoder, config).texture.image.astype(int)
    assert np.ptp(image, axis=-1).max() <= 1
    assert (image != mesh.texture.image).any()


def test_no_steps_change_nothing(mesh, subject, encoder):
    still = QUICK.model_copy(update={"steps": 0})
    assert run(mesh, subject, encoder, still) is mesh
    result = refine_if_better(mesh, subject, PROMPT, encoder, still, score_size=48, seed=1, device=CPU)
    assert (result.mesh, result.facts) == (mesh, None)


def test_what_does_not_fit_better_is_not_kept(mesh, subject, encoder):
    class Contrary:
        """Wants the prompt while it guides, and its opposite when it judges."""

        def encode_images(self, images):
            features = encoder.encode_images(images)
            return features if torch.is_grad_enabled() else -features

        def encode_texts(self, texts):
            return encoder.encode_texts(texts)

    result = refine_if_better(mesh, subject, PROMPT, Contrary(), QUICK, score_size=48, seed=1, device=CPU)
    assert result.mesh is mesh
    assert not result.facts.kept
    assert result.facts.score.after < result.facts.score.before
    good = refine_if_better(mesh, subject, PROMPT, encoder, QUICK, score_size=48, seed=1, device=CPU)
    assert good.facts.kept
    assert (good.mesh.texture.image != mesh.texture.image).any()


def test_a_loss_that_is_not_finite_is_an_error_that_says_what_to_do(mesh, subject, encoder):
    broken = replace(mesh, vertices=mesh.vertices, normals=np.full_like(mesh.normals, np.nan))
    with pytest.raises(DivergenceError, match=r"export\.refine\.rate"):
        run(broken, subject, encoder)


def test_no_change_gives_colours_back_exactly():
    colors = torch.tensor([[0.0, 0.004, 0.5], [1.0, 0.998, 0.2]])
    torch.testing.assert_close(recolored(colors, torch.zeros(2, 3)), colors, rtol=0, atol=1e-7)
    brighter = recolored(colors, torch.full((2, 3), 0.5))
    assert (brighter >= colors).all()
    assert (brighter <= 1).all()
