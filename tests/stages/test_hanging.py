import pytest
import torch

from avatar_core.bodies import load_body
from avatar_core.fields import FieldConfig
from avatar_core.fields.garment_volume import cone_distance, cone_meshes
from avatar_core.stages.hanging import hanging_volumes
from avatar_core.stages.outfit import Outfit, Worn, hangs
from avatar_core.stages.wearables import WEARABLES


@pytest.fixture(scope="module")
def body():
    return load_body()


@pytest.mark.parametrize("wearable", [wearable.name for wearable in WEARABLES if wearable.hangs is not None])
@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_what_hangs_holds_the_thighs_and_stays_in_the_fields_box(body, wearable, weight):
    betas = body.neutral_shape.clone()
    betas[body.shape_labels.index("weight")] = weight
    shaped = body.shape(betas)
    cones = hanging_volumes(body, shaped, [(0, next(w.hangs for w in WEARABLES if w.name == wearable))])
    thigh = body.regions == body.region_names.index("left_thigh")
    high = shaped.vertices[thigh, 1] > shaped.vertices[thigh, 1].median()
    inside = (cone_distance(shaped.vertices[thigh][high], cones) < 0.01).float().mean()
    assert float(inside) > 0.9
    corners, _ = cone_meshes(cones, 0.0)
    band = FieldConfig().band
    assert bool((corners > shaped.vertices.amin(0) - band).all())
    assert bool((corners < shaped.vertices.amax(0) + band).all())


def test_a_robe_reaches_lower_than_a_skirt(body):
    shaped = body.shape(body.neutral_shape)
    cuts = {wearable.name: wearable.hangs for wearable in WEARABLES}
    skirt, robe = hanging_volumes(body, shaped, [(0, cuts["skirt"]), (0, cuts["robe"])])
    assert float(robe[0]) < float(skirt[0]) < float(skirt[1])


def test_nothing_hangs_from_trousers(body):
    layers = Outfit((Worn("skin", "fair"), Worn("trousers", "navy"))).layers()
    assert hangs(layers) == []
    assert hanging_volumes(body, body.shape(body.neutral_shape), []).shape == (0, 11)


def test_what_hangs_has_its_layers_colour():
    layers = Outfit((Worn("skin", "fair"), Worn("skirt", "navy"))).layers()
    ((number, _),) = hangs(layers)
    assert WEARABLES[layers[number][0]].name == "skirt"


def test_volumes_are_finite_on_every_shape(body):
    for value in (0.0, 1.0):
        shaped = body.shape(torch.full_like(body.neutral_shape, value))
        cones = hanging_volumes(body, shaped, [(0, w.hangs) for w in WEARABLES if w.hangs is not None])
        assert torch.isfinite(cones).all()
        assert bool((cones[:, 1] > cones[:, 0]).all())
