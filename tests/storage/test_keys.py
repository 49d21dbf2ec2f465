import hashlib
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar_core.errors import ConfigError
from avatar_core.storage import canonical_json, stage_key

INPUTS = {
    "stage": "texturing",
    "version": 3,
    "config": {"steps": 200, "rate": 0.005, "sizes": [64, 128], "lit": True},
    "weights": {"bodyclip": "ab" * 32},
    "seed": 7,
    "prompts": {"body": "a 3D rendering of a wizard in unreal engine"},
    "upstream": {"implicit_init": "0" * 32},
}


def test_key_is_the_same_on_every_machine_and_in_every_version():
    """A changed text here means that every library in use would be computed again."""
    text = (
        '{"config":{"lit":true,"rate":0.005,"sizes":[64,128],"steps":200},"format":1,'
        '"prompts":{"body":"a 3D rendering of a wizard in unreal engine"},"seed":7,"stage":"texturing",'
        f'"upstream":{{"implicit_init":"{"0" * 32}"}},"version":3,"weights":{{"bodyclip":"{"ab" * 32}"}}}}'
    )
    assert stage_key(**INPUTS) == hashlib.sha256(text.encode()).hexdigest()[:32]


CHANGES = {
    "stage": "motion",
    "version": 4,
    "config": {**INPUTS["config"], "rate": 0.0050001},
    "weights": {"bodyclip": "cd" * 32},
    "seed": 8,
    "prompts": {"body": "a 3D rendering of a wizard in unreal engine "},
    "upstream": {"implicit_init": "1" * 32},
}


@pytest.mark.parametrize("field", CHANGES)
def test_each_input_changes_the_key(field):
    assert stage_key(**{**INPUTS, field: CHANGES[field]}) != stage_key(**INPUTS)


def test_order_of_names_does_not_matter_but_order_of_lists_does():
    keys = {
        stage_key(**{**INPUTS, "config": dict(items)})
        for items in itertools.permutations({"a": 1, "b": 2, "c": 3}.items())
    }
    assert len(keys) == 1
    assert canonical_json([1, 2]) != canonical_json([2, 1])


def test_equal_numbers_are_equal_whatever_their_type():
    assert canonical_json([1, 0.0, 0.1]) == canonical_json([1.0, -0.0, np.float64(0.1)])
    assert canonical_json(np.int32(5)) == canonical_json(5.0) == "5"
    assert canonical_json(True) != canonical_json(1)
    assert canonical_json((1, 2)) == canonical_json([1, 2])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32("nan"), b"x", {1, 2}, object(), {1: 2}])
def test_values_without_a_canonical_form_are_refused_by_place(value):
    with pytest.raises(ConfigError, match=r"key\.config\.rates\[1\]"):
        stage_key(**{**INPUTS, "config": {"rates": [1.0, value]}})


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_floats_share_a_form_exactly_when_they_are_equal(a, b):
    assert (canonical_json(a) == canonical_json(b)) == (a == b)


def test_text_that_looks_alike_does_not_collide():
    assert canonical_json({"a": "1"}) != canonical_json({"a": 1})
    assert canonical_json(["a", "b"]) != canonical_json(["a,b"])
    assert canonical_json("é") != canonical_json("e\u0301")
