import pytest
import torch
from small_texturing import FIELD, Shape, write_small_clip

from avatar_core.bodies import load_body
from avatar_core.perception.encoder import load_encoder
from avatar_core.stages import implicit_init
from avatar_core.stages.base import StageContext


@pytest.fixture(scope="session")
def small_clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    write_small_clip(folder)
    return load_encoder(str(folder))


@pytest.fixture(scope="session")
def small_context(small_clip):
    torch.set_num_threads(1)
    return StageContext(body=load_body(), encoder=small_clip)


@pytest.fixture(scope="session")
def small_avatar(small_context):
    config = implicit_init.Config(field=FIELD, check_points=500, tolerance=0.01)
    return implicit_init.run(
        Shape(small_context.body.neutral_shape), config=config, seed=1, context=small_context
    )
