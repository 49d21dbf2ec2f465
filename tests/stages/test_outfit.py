import pytest
import torch

from avatar_core.bodies import load_body
from avatar_core.seeds import torch_generator
from avatar_core.stages.color_words import WORDS as COLOR_WORDS
from avatar_core.stages.color_words import colors_told
from avatar_core.stages.outfit import (
    DERIVED,
    GARMENT_COLORS,
    SLOTS,
    Outfit,
    Worn,
    colors_of,
    freedoms,
    memberships,
    thicknesses,
    visible,
)
from avatar_core.stages.outfit_views import PLAN, OutfitViews
from avatar_core.stages.texturing_views import PROMPT_KINDS, Subject
from avatar_core.stages.wearable_words import WORDS, named_in
from avatar_core.stages.wearables import INDEX, WEARABLES, Coverage

PLAIN = Outfit((Worn("skin", "fair"), Worn("short hair", "brown"), Worn("trousers", "navy"), Worn("t-shirt", "red")))


@pytest.fixture(scope="module")
def body():
    torch.set_num_threads(1)
    return load_body()


@pytest.fixture(scope="module")
def coverage(body):
    return Coverage(body)


def share_of(body, coverage, wearable: str, *regions: str) -> float:
    """Mean part of some regions' vertices that a wearable covers."""
    ids = [index for index, name in enumerate(body.region_names) if name in regions]
    chosen = torch.isin(body.regions.cpu(), torch.tensor(ids))
    return float(coverage.shares[chosen, INDEX[wearable]].mean())


@pytest.mark.parametrize(
    ("wearable", "covered", "bare"),
    [
        ("t-shirt", ("belly",), ("left_hand", "left_thigh", "face", "left_forearm")),
        ("long-sleeved shirt", ("left_upper_arm", "belly"), ("left_hand", "left_thigh", "face")),
        ("trousers", ("left_thigh", "right_shin"), ("chest", "left_foot", "left_hand")),
        ("shorts", ("hips",), ("left_shin", "chest", "right_hand")),
        ("shoes", ("left_foot", "right_foot"), ("left_thigh", "right_hand")),
        ("gloves", ("left_hand", "right_hand"), ("left_upper_arm", "belly")),
        ("short hair", ("scalp",), ("chest", "left_hand")),
        ("helmet", ("scalp",), ("mouth", "chest")),
        ("eyes", (), ("scalp", "chest")),
        ("full mask", (), ("left_hand", "chest")),
    ],
)
def test_garments_cover_what_they_should(body, coverage, wearable, covered, bare):
    for region in covered:
        assert share_of(body, coverage, wearable, region) > 0.8, region
    for region in bare:
        assert share_of(body, coverage, wearable, region) < 0.1, region


def test_everything_covers_something_but_not_everything(coverage):
    for wearable in WEARABLES:
        share = coverage.shares[:, INDEX[wearable.name]]
        assert float(share.amax()) > (0.4 if wearable.slot in DERIVED else 0.9), wearable.name
        assert wearable.name == "skin" or float(share.mean()) < 0.8, wearable.name


def test_garments_are_symmetric(body, coverage):
    left, right = (
        coverage.shares[body.regions.cpu() == body.region_names.index(f"{side}_upper_arm")].mean(0)
        for side in ("left", "right")
    )
    torch.testing.assert_close(left, right, atol=0.03, rtol=0)


def test_layers_share_every_vertex(coverage):
    layers = PLAIN.layers()
    membership = memberships(coverage, layers)
    torch.testing.assert_close(membership.sum(1), torch.ones(len(membership)))
    assert float(membership.amin()) >= 0
    assert thicknesses(layers).shape == (len(layers),)


def test_what_is_put_on_later_hides_what_is_below(body, coverage):
    jacket = PLAIN.put("jacket", Worn("open jacket", "black")).layers()
    membership = memberships(coverage, jacket)
    names = [WEARABLES[index].name for index, _ in jacket]
    arm = body.regions.cpu() == body.region_names.index("left_upper_arm")
    assert float(membership[arm][:, names.index("t-shirt")].mean()) < 0.1
    assert float(membership[arm][:, names.index("open jacket")].mean()) > 0.7


def test_a_shirt_shows_in_a_coats_neckline_and_a_vest_hides_no_sleeves(body, coverage):
    shirt = PLAIN.put("top", Worn("long-sleeved shirt", "white"))
    coat = visible(shirt.put("jacket", Worn("coat", "black")), coverage)
    assert coat.get("top") == Worn("long-sleeved shirt", "white")
    robed = visible(shirt.put("jacket", Worn("coat", "black")).put("neck", Worn("scarf", "red")), coverage)
    assert robed.get("bottom") == PLAIN.get("bottom")
    layers = shirt.put("jacket", Worn("vest", "black")).layers()
    names = [WEARABLES[index].name for index, _ in layers]
    arm = body.regions.cpu() == body.region_names.index("left_forearm")
    assert float(memberships(coverage, layers)[arm][:, names.index("long-sleeved shirt")].mean()) > 0.8


def test_natural_skin_and_eyes_keep_their_colours_and_paint_does_not():
    names = [WEARABLES[index].name for index, _ in PLAIN.layers()]
    free = dict(zip(names, freedoms(PLAIN).tolist()))
    assert max(free["skin"]) < 0.5
    assert max(free["short hair"]) < 0.5
    assert free["irises"][1] == 0
    assert min(free["t-shirt"]) >= 0.5
    painted = PLAIN.put("skin", Worn("skin", "green paint"))
    assert dict(zip(names, freedoms(painted).tolist()))["skin"] == free["t-shirt"]


def test_a_slot_holds_one_thing():
    outfit = PLAIN.put("top", Worn("tank top", "blue"))
    assert outfit.get("top") == Worn("tank top", "blue")
    assert len(outfit.worn) == len(PLAIN.worn)
    assert outfit.put("top", None).get("top") is None
    assert outfit.summary()["top"] == "blue tank top"


def test_one_piece_takes_the_place_of_two():
    dressed = PLAIN.put("full", Worn("dress", "red"))
    assert dressed.get("top") is None
    assert dressed.get("bottom") is None
    assert dressed.get("hair") == PLAIN.get("hair")
    assert PLAIN.put("full", None) == PLAIN


def test_every_slot_has_colours():
    for slot in SLOTS:
        for rgb in colors_of(slot).values():
            assert all(0 <= value <= 1 for value in rgb)


@pytest.mark.parametrize(
    ("prompt", "named", "absent"),
    [
        ("a woman in a green dress", {"dress"}, set()),
        ("Jeans and black BOOTS, a bearded man with glasses", {"trousers", "boots", "beard", "sunglasses"}, set()),
        ("a knight with a helmet and no cape", {"helmet"}, {"cape"}),
        ("a man in a tie-dye shirt without a hat", {"t-shirt", "long-sleeved shirt"}, {"hat"}),
        ("a captain dressed in white", set(), set()),
        ("no hat but a red hat", {"hat"}, set()),
        ("a wizard with a pointed hat and a long robe", {"robe", "pointed hat"}, set()),
        ("a woman in a wide red skirt", {"wide skirt"}, set()),
        ("a man with a big afro", {"afro"}, set()),
        ("a boy in a wizard's hat", {"pointed hat"}, set()),
        ("a girl in a wide hat and a skirt", {"hat", "skirt"}, set()),
        ("a cowboy without his hat", {"brimmed hat"}, {"hat"}),
        ("a man in a black suit with a red tie", {"open jacket", "trousers", "tie"}, set()),
        ("a woman in a red swimsuit", {"swimsuit"}, set()),
        ("a knight in a suit of armour", {"bodysuit", "helmet"}, set()),
        ("a cowboy with a brown hat and blue jeans", {"brimmed hat", "trousers"}, set()),
        ("a chef in a white uniform with a tall chef hat", {"chef hat"}, set()),
        ("a bride in a white dress", {"ball gown"}, set()),
        ("a man in a hat and a wizard hat", {"hat", "pointed hat"}, set()),
        ("a witch with no hat", {"robe", "pointed hat"}, {"hat"}),
    ],
)
def test_a_prompt_names_what_is_worn_and_what_is_not(prompt, named, absent):
    assert named_in(prompt) == (named, absent)


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("brown trousers and a dark green coat", {"trousers": {"brown"}, "coat": {"dark green"}}),
        (
            "a man in a white shirt and blue shorts",
            {"t-shirt": {"white"}, "long-sleeved shirt": {"white"}, "shorts": {"blue"}},
        ),
        ("a woman in a wide red skirt", {"wide skirt": {"red"}}),
        ("a brown leather jacket, jeans", {"open jacket": {"brown"}}),
        ("a blue and white t-shirt", {"t-shirt": {"blue", "white"}}),
        ("Navy blue trousers, GRAY boots", {"trousers": {"navy"}, "boots": {"grey"}}),
        ("a red-haired man with boots", {}),
        ("a suit of gold armor", {"bodysuit": {"gold"}}),
        ("a cowboy with a brown hat", {"brimmed hat": {"brown"}}),
    ],
)
def test_a_prompt_gives_colours_to_what_is_worn(prompt, told):
    assert colors_told(prompt) == told


def test_words_for_colours_are_of_colours_and_of_one_each():
    assert set(COLOR_WORDS) <= set(GARMENT_COLORS)
    words = [word for name in GARMENT_COLORS for word in (name, *COLOR_WORDS.get(name, ()))]
    assert len(words) == len(set(words))


def test_other_words_are_for_wearables():
    assert set(WORDS) <= set(INDEX)


@pytest.fixture(scope="module")
def views(body, coverage):
    shaped = body.shape(body.neutral_shape)
    subject = Subject.of(body, shaped)
    return OutfitViews(shaped.vertices, body.faces, coverage, subject, 48, torch_generator(1, "views"))


def test_views_show_the_outfit_in_place(views):
    front = views.paint(PLAIN.layers())[0]
    changed = views.paint(PLAIN.put("bottom", Worn("trousers", "white")).layers())[0]
    chest = front[:, 15:19, 22:26].mean((1, 2))
    assert float(chest[0]) > 3 * float(chest[1:].amax())
    rows = ((changed - front).abs().amax((0, 2)) > 0.1).nonzero().squeeze(1)
    assert 19 < int(rows.amin()) < 28
    assert 38 < int(rows.amax()) < 45


def test_some_views_are_those_of_all(views):
    layers = PLAIN.layers()
    assert torch.equal(views.paint(layers, [4, 0]), views.paint(layers)[[4, 0]])


def test_a_pixel_mixes_its_rays_with_what_is_behind_them(views):
    chosen = views._choice([0])
    one_by_one = chosen.backdrop.clone().view(-1, 4)
    rows = torch.stack(chosen.of_pixel, dim=1)
    values = torch.rand(len(chosen.light), 4, generator=torch.Generator().manual_seed(0))
    for pixel, rays in zip(chosen.pixels.tolist(), rows.tolist()):
        for ray in rays:
            if ray < len(values):
                one_by_one[pixel] += values[ray]
    seen = torch.cat([row[row < len(values)] for row in rows])
    assert sorted(seen.tolist()) == list(range(len(values))), "every ray is in one pixel"
    added = chosen.add(values).permute(0, 2, 3, 1).reshape(-1, 4)
    torch.testing.assert_close(added, one_by_one, atol=1e-6, rtol=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_views_are_painted_alike_on_a_gpu(body, coverage, views):
    shaped = body.shape(body.neutral_shape)
    subject, generator = Subject.of(body, shaped), torch_generator(1, "views")
    there = OutfitViews(shaped.vertices, body.faces, coverage, subject, 48, generator, "cuda")
    painted = there.paint(PLAIN.layers())
    assert painted.is_cuda
    torch.testing.assert_close(painted.cpu(), views.paint(PLAIN.layers()), atol=1e-5, rtol=0)


def test_views_are_compared_with_their_prompts(views):
    assert [PROMPT_KINDS[index] for index in views.prompt.tolist()] == [kind for kind, _, _ in PLAN]


def test_views_are_linear_in_a_garments_colour(views):
    layers = PLAIN.layers()
    names = [WEARABLES[index].name for index, _ in layers]
    base, slope = views.paint_linear(layers, names.index("t-shirt"), [0, 3])
    green = Worn("t-shirt", "green")
    expected = views.paint(PLAIN.put("top", green).layers())[[0, 3]]
    torch.testing.assert_close(base + slope * torch.tensor(green.rgb)[:, None, None], expected, atol=1e-5, rtol=0)
