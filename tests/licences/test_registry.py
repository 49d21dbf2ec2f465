"""The list of licences: what it says of the shipped weights, and what it refuses to guess."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from avatar_core.bodies import load_body
from avatar_core.export.provenance import prior_digest, used_weights
from avatar_core.licences import Registry, registry, strictest, terms_of_data, terms_of_weights
from avatar_core.perception.checkpoint_folder import folder_digest

WEIGHTS = Path(__file__).parents[2] / "avatar_core" / "weights"
ENCODERS = ("bodyclip", "judge")


def shipped_digest(name: str) -> str:
    if name == "anny_compact":
        return load_body("anny").digest
    return folder_digest(WEIGHTS / name) if name in ENCODERS else prior_digest(WEIGHTS / name)


def test_every_shipped_model_is_in_the_list():
    assert set(registry().models) == {folder.name for folder in WEIGHTS.iterdir() if folder.is_dir()}


@pytest.mark.parametrize("name", sorted(registry().models))
def test_the_list_knows_the_weights_that_ship(name):
    digest = shipped_digest(name)
    known = registry().model(digest)
    assert known is not None, f"add {digest} to the digests of {name} in registry.yaml, and check its licence and data"
    assert known[0] == name


@pytest.mark.parametrize("name", sorted(registry().models))
def test_the_cards_say_what_the_list_says(name):
    model = registry().models[name]
    card = (WEIGHTS / name / "card.md").read_text(encoding="utf-8")
    assert re.search(rf"licen[cs]e.*{re.escape(model.text or model.licence)}", card, re.IGNORECASE)


def test_weights_are_known_by_their_digest_not_by_their_name():
    digest = shipped_digest("pose_vae")
    known = terms_of_weights("something", digest)
    assert (known.name, known.licence, known.commercial) == ("pose_vae", "Apache-2.0", "yes")
    assert "cmu_mocap" in known.data
    retrained = terms_of_weights("pose_vae", "0" * 64, "Apache-2.0")
    assert (retrained.licence, retrained.commercial, retrained.data) == ("unknown", "unknown", ())
    assert "ask whoever made them" in retrained.conditions


def test_the_card_of_weights_that_were_brought_is_believed_where_it_names_a_licence():
    mine = terms_of_weights("my-clip", "0" * 64, "as its card says: mit")
    assert (mine.licence, mine.commercial) == ("MIT", "yes")
    assert "card" in mine.note
    forbidden = terms_of_weights("my-clip", "0" * 64, "as its card says: CC-BY-NC-4.0")
    assert forbidden.commercial == "no"
    vague = terms_of_weights("my-clip", "0" * 64, "as its card says: ask me")
    assert (vague.licence, vague.commercial) == ("ask me", "unknown")


def test_attribution_comes_in_the_authors_own_words():
    cmu, deepmimic = terms_of_data(["deepmimic", "cmu_mocap", "no such data"])
    assert cmu.attribution == (
        "The data used in this project was obtained from mocap.cs.cmu.edu. The database was created with funding from "
        "NSF EIA-0196217."
    )
    assert cmu.commercial == "conditions"
    assert "resold" in cmu.conditions
    assert deepmimic.attribution == "Copyright (c) 2018 Xue Bin Peng"


def test_the_strictest_answer_counts():
    used = used_weights(body=("anny", load_body().digest), encoder=("x", "0" * 64))
    terms = [terms_of_weights(facts.name, facts.digest, facts.licence) for facts in used.values()]
    assert strictest(terms) == "unknown"
    shipped = [one for one in terms if one.name != "x"]
    assert strictest(shipped) == "yes"
    assert strictest([*shipped, *terms_of_data(shipped[1].data), *terms_of_data(["cmu_mocap"])]) == "conditions"
    assert strictest([*terms, terms_of_weights("y", "1", "as its card says: CC-BY-NC-4.0")]) == "no"
    assert strictest([]) == "unknown"


@pytest.mark.parametrize(
    ("expression", "allowed"),
    [
        ("MIT", "yes"),
        ("mit license.", "yes"),
        ("Apache Software License", "yes"),
        ("Apache-2.0 AND BSD-3-Clause", "yes"),
        ("Apache-2.0 AND Apache-2.0 WITH LLVM-exception", "yes"),
        ("MIT AND MPL-2.0", "conditions"),
        ("MIT OR CC-BY-NC-4.0", "yes"),
        ("MIT AND CC-BY-NC-4.0", "no"),
        ("MPL-2.0 AND (Apache-2.0 OR MIT)", "conditions"),
        ("CC-BY-NC-4.0 AND (MIT OR Apache-2.0)", "no"),
        ("MIT AND LicenseRef-Whatever", "unknown"),
        ("permissive", "unknown"),
        ("", "unknown"),
        ("not MIT", "unknown"),
    ],
)
def test_only_names_that_are_known_allow_anything(expression, allowed):
    assert registry().commercial(expression) == allowed


def test_a_list_with_a_licence_that_it_does_not_have_is_refused():
    model = {"title": "x", "licence": "MIT", "source": "x", "digests": ["0"]}
    with pytest.raises(ValidationError, match="not in the list"):
        Registry(licences={}, data={}, models={"x": model})
    known = {"MIT": {"title": "MIT", "commercial": "yes"}}
    with pytest.raises(ValidationError, match="data y"):
        Registry(licences=known, data={}, models={"x": {**model, "data": ["y"]}})
