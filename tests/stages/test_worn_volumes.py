import pytest
import torch

from avatar_core.bodies import load_body
from avatar_core.fields import FieldConfig
from avatar_core.fields.garment_volume import volume_box, volume_distance
from avatar_core.stages.garment_shapes import Hang, Headpiece
from avatar_core.stages.outfit import Outfit, Worn, shapes
from avatar_core.stages.wearables import WEARABLES
from avatar_core.stages.worn_volumes import worn_volumes

HANGING = {wearable.name: wearable.shape for wearable in WEARABLES if isinstance(wearable.shape, Hang)}
ON_HEADS = {wearable.name: wearable.shape for wearable in WEARABLES if isinstance(wearable.shape, Headpiece)}


@pytest.fixture(scope="module")
def body():
    return load_body()


def shaped_by(body, **values):
    betas = body.neutral_shape.clone()
    for name, value in values.items():
        betas[body.shape_labels.index(name)] = value
    return body.shape(betas)


def assert_in_the_fields_box(shaped, volumes):
    config = FieldConfig()
    low, high = volume_box(volumes)
    assert bool((low > shaped.vertices.amin(0) - config.band - torch.tensor([0.0, 0.0, config.legroom])).all())
    assert bool((high < shaped.vertices.amax(0) + config.band + torch.tensor([0.0, config.headroom, 0.0])).all())


@pytest.mark.parametrize("wearable", HANGING)
@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_what_hangs_holds_the_thighs_and_stays_in_the_fields_box(body, wearable, weight):
    shaped = shaped_by(body, weight=weight)
    volumes = worn_volumes(body, shaped, [(0, HANGING[wearable])])
    thigh = body.regions == body.region_names.index("left_thigh")
    high = shaped.vertices[thigh, 1] > shaped.vertices[thigh, 1].median()
    inside = (volume_distance(shaped.vertices[thigh][high], volumes) < 0.01).float().mean()
    assert float(inside) > 0.9
    assert_in_the_fields_box(shaped, volumes)


@pytest.mark.parametrize("wearable", ON_HEADS)
@pytest.mark.parametrize("age", [0.3, 0.67])
@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_hats_and_hair_hold_the_crown_leave_the_face_and_stay_in_the_fields_box(body, wearable, age, weight):
    shaped = shaped_by(body, age=age, weight=weight)
    volumes = worn_volumes(body, shaped, [(0, ON_HEADS[wearable])])
    scalp, eyes = (shaped.vertices[body.regions == body.region_names.index(name)] for name in ("scalp", "eyes"))
    crown = scalp[scalp[:, 1] > scalp[:, 1].amax() - 0.02]
    assert bool((volume_distance(crown, volumes).amin(1) < 0).all())
    pupils = eyes[eyes[:, 2] > eyes[:, 2].amax() - 0.008]
    assert bool((volume_distance(pupils, volumes) > 0).all())
    assert_in_the_fields_box(shaped, volumes)


def test_pointed_hats_stand_high_and_afros_wide(body):
    shaped = shaped_by(body)
    top = float(shaped.vertices[:, 1].amax())
    pointed, afro = (worn_volumes(body, shaped, [(0, ON_HEADS[name])]) for name in ("pointed hat", "afro"))
    assert float(volume_box(pointed)[1][:, 1].amax()) > top + 0.18
    scalp = shaped.vertices[body.regions == body.region_names.index("scalp")]
    assert float(volume_box(afro)[1][:, 0].amax()) > 1.8 * float(scalp[:, 0].amax())


def test_a_robe_reaches_lower_than_a_skirt_and_a_wide_skirt_is_wider(body):
    shaped = shaped_by(body)
    skirt, wide, robe = worn_volumes(body, shaped, [(0, HANGING[name]) for name in ("skirt", "wide skirt", "robe")])
    assert float(robe[0]) < float(skirt[0]) < float(skirt[1])
    assert float(wide[4]) > 1.5 * float(skirt[4])


def test_nothing_stands_away_of_trousers(body):
    layers = Outfit((Worn("skin", "fair"), Worn("trousers", "navy"))).layers()
    assert shapes(layers) == []
    assert worn_volumes(body, shaped_by(body), []).shape == (0, 12)


def test_a_volume_has_its_layers_colour():
    layers = Outfit((Worn("skin", "fair"), Worn("skirt", "navy"))).layers()
    ((number, _),) = shapes(layers)
    assert WEARABLES[layers[number][0]].name == "skirt"


def test_volumes_are_finite_on_every_shape(body):
    for value in (0.0, 1.0):
        shaped = body.shape(torch.full_like(body.neutral_shape, value))
        volumes = worn_volumes(body, shaped, [(0, shape) for shape in (*HANGING.values(), *ON_HEADS.values())])
        assert torch.isfinite(volumes).all()
        assert bool((volumes[:, 1] > volumes[:, 0]).all())
