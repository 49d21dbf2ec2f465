
import pytest
import torch

from avatar_core.bodies import load_body
from avatar_core.errors import ArtifactError
from avatar_core.perception.encoder import load_encoder
from avatar_core.stages import coarse_shape
from avatar_core.stages.base import StageContext
from avatar_core.stages.coarse_shape import CoarseShape, Config


@pytest.fixture(scope="module")
def context() -> StageContext:
    return StageContext(load_body(), load_encoder("bodyclip"))


@pytest.fixture(scope="module")
def shape_of(context):
    """Shapes of prompts, each found once."""
    found: dict[str, CoarseShape] = {}

    def find(prompt: str) -> CoarseShape:
        if prompt not in found:
            found[prompt] = coarse_shape.run(prompt, config=Config(), seed=0, context=context)
        return found[prompt]

    return find


def bulk(context: StageContext, shape: CoarseShape) -> float:
    """Body mass index in kilograms a square metre, at the density of water."""
    body = context.body.shape(shape.betas)
    corners = body.vertices[context.body.faces]
    volume = torch.linalg.det(corners).sum().abs().item() / 6
    return 1000 * volume / body.height**2


def phenotype(context: StageContext, shape: CoarseShape, name: str) -> float:
    return shape.betas[context.body.shape_labels.index(name)].item()


def test_a_fat_body_is_heavier_than_a_skinny_one(context, shape_of):
    assert bulk(context, shape_of("a fat man")) > 1.25 * bulk(context, shape_of("a skinny man"))


def test_a_tall_body_is_taller_than_a_short_one(context, shape_of):
    tall, short = (context.body.shape(shape_of(f"a {word} man").betas).height for word in ("tall", "short"))
    assert tall > short + 0.15


def test_a_woman_and_a_man_differ_in_gender(context, shape_of):
    assert phenotype(context, shape_of("a woman"), "gender") > phenotype(context, shape_of("a man"), "gender") + 0.4


def test_a_child_is_young_and_small(context, shape_of):
    child = shape_of("a little child")
    assert phenotype(context, child, "age") < 0.5
    assert context.body.shape(child.betas).height < 1.6


def test_the_shape_fits_its_prompt_better_than_the_neutral_body(shape_of):
    shape = shape_of("a fat man")
    assert shape.score > shape.baseline_score
    assert list(shape.top_scores) == sorted(shape.top_scores, reverse=True)


def test_a_prompt_without_a_shape_gives_nearly_the_neutral_body(context, shape_of):
    plain = shape_of("a person")
    assert (plain.betas - context.body.neutral_shape).abs().max() < 0.15


def test_doubt_leads_back_to_the_neutral_body():
    assert [coarse_shape.believed(score, (0.2, 0.4)) for score in (0.1, 0.2, 0.4, 0.9)] == [0.0, 0.0, 1.0, 1.0]
    assert coarse_shape.believed(0.3, (0.2, 0.4)) == pytest.approx(0.5)
    assert coarse_shape.believed(-0.5, (-1.0, -1.0)) == 1.0


def test_a_single_entry_is_the_argmax(context):
    from avatar_core.priors.shape_codebook import load_shape_codebook

    shape = coarse_shape.run("a muscular man", config=Config(averaged=1), seed=0, context=context)
    assert torch.equal(shape.betas, load_shape_codebook().betas[shape.top[0]])


def test_a_shape_survives_the_disk(shape_of, tmp_path):
    shape = shape_of("a fat man")
    shape.save(tmp_path)
    loaded = CoarseShape.load(tmp_path)
    assert torch.equal(loaded.betas, shape.betas)
    assert (loaded.score, loaded.baseline_score, loaded.top) == (shape.score, shape.baseline_score, shape.top)
    assert loaded.top_scores == shape.top_scores


def test_a_damaged_shape_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match="run coarse_shape again"):
        CoarseShape.load(tmp_path)


