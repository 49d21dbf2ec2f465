from dataclasses import dataclass

import pytest
import torch

from avatar_core.bodies import load_body
from avatar_core.errors import ArtifactError, BodyError
from avatar_core.fields import FieldConfig, HashConfig
from avatar_core.stages import implicit_init
from avatar_core.stages.base import StageContext

CONFIG = implicit_init.Config(
    field=FieldConfig(
        sdf_cell=0.016,
        geometry=HashConfig(levels=2, coarsest_cell=0.2, finest_cell=0.1, log2_table_size=10),
        color=HashConfig(levels=2, coarsest_cell=0.2, finest_cell=0.1, log2_table_size=10),
        hidden=8,
    ),
    check_points=2000,
)


@dataclass(frozen=True)
class Shape:
    betas: torch.Tensor


@pytest.fixture(scope="module")
def body():
    torch.set_num_threads(1)
    return load_body()


@pytest.fixture(scope="module")
def context(body):
    return StageContext(body=body, encoder=None)


@pytest.fixture(scope="module")
def avatar(body, context):
    return implicit_init.run(Shape(body.neutral_shape), config=CONFIG, seed=3, context=context)


def test_the_avatar_is_its_body(body, avatar):
    vertices = body.shape(avatar.betas).vertices
    field = avatar.field(body)
    seen = field.surface.faces.unique()
    assert float(field.sdf(vertices[seen]).detach().abs().mean()) < 2e-4
    assert avatar.mean_error < 1e-3
    assert avatar.surface_error < 1e-3


def test_the_bounds_hold_the_body(body, avatar):
    vertices = body.shape(avatar.betas).vertices
    assert bool((vertices > avatar.bounds[0]).all())
    assert bool((vertices < avatar.bounds[1]).all())


def test_equal_seeds_give_equal_avatars_and_others_differ(body, context, avatar):
    again = implicit_init.run(Shape(body.neutral_shape), config=CONFIG, seed=3, context=context)
    other = implicit_init.run(Shape(body.neutral_shape), config=CONFIG, seed=4, context=context)
    assert all(torch.equal(avatar.state[name], again.state[name]) for name in avatar.state)
    table = "color_encoding.table"
    assert not torch.equal(avatar.state[table], other.state[table])


def test_saved_and_loaded_it_is_the_same(tmp_path, body, avatar):
    avatar.save(tmp_path)
    loaded = implicit_init.ImplicitAvatar.load(tmp_path)
    assert torch.equal(loaded.betas, avatar.betas)
    assert torch.equal(torch.stack(loaded.bounds), torch.stack(avatar.bounds))
    assert (loaded.mean_error, loaded.surface_error) == (avatar.mean_error, avatar.surface_error)
    points = body.template[::40] + 0.005
    assert torch.equal(loaded.field(body).sdf_sampled(points), avatar.field(body).sdf_sampled(points))


def test_a_damaged_artifact_is_named(tmp_path, avatar):
    avatar.save(tmp_path)
    (tmp_path / "implicit.safetensors").write_bytes(b"not a tensor")
    with pytest.raises(ArtifactError, match="run implicit_init again"):
        implicit_init.ImplicitAvatar.load(tmp_path)


def test_a_grid_too_coarse_for_the_body_is_refused(body, context):
    coarse = CONFIG.model_copy(update={"field": CONFIG.field.model_copy(update={"sdf_cell": 0.05})})
    with pytest.raises(BodyError, match="sdf_cell"):
        implicit_init.run(Shape(body.neutral_shape), config=coarse, seed=3, context=context)
