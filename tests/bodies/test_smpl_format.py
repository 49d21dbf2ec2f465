"""Models are read from both forms of download, checked, and kept as they are."""

import io
import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from synthetic_smpl import pickled, synthetic_model, write_npz

from avatar_core.bodies.skeleton import PARENTS
from avatar_core.bodies.smpl_format import SmplArrays, read_model
from avatar_core.bodies.smpl_kinds import KINDS
from avatar_core.bodies.smpl_pickle import UnsuitableModel
from avatar_core.errors import WeightsError


@pytest.fixture(scope="module")
def npz(tmp_path_factory):
    return write_npz(tmp_path_factory.mktemp("smpl") / "SMPL_NEUTRAL.npz").read_bytes()


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_known_by_its_joints(name):
    kind = KINDS[name]
    assert kind.parents[:22] == PARENTS
    assert [len(KINDS[one].joints) for one in ("smpl", "smplh", "smplx")] == [24, 52, 55]
    assert all(owner < 22 for owner in kind.body_joints)
    assert kind.joints[kind.body_joints[-1]] == "right_wrist"


def test_npz_and_pickle_of_one_model_are_the_same(npz):
    from_npz, from_pickle = read_model(npz, "a.npz"), read_model(pickled(), "a.pkl")
    assert from_npz.digest == from_pickle.digest
    model = synthetic_model()
    np.testing.assert_allclose(from_npz.template, model["v_template"], atol=1e-6)
    np.testing.assert_allclose(from_npz.regressor, model["J_regressor"].toarray(), atol=1e-6)
    assert from_npz.kind.name == "smpl"
    assert from_npz.template.dtype == np.float32


def test_what_is_kept_comes_back(npz):
    model = read_model(npz, "a.npz")
    back = SmplArrays.from_bytes(model.to_bytes(), "kept.npz")
    assert back.digest == model.digest


def test_another_body_has_another_digest(npz, tmp_path):
    moved = synthetic_model()["v_template"] + np.array([1e-4, 0, 0])
    other = write_npz(tmp_path / "other.npz", v_template=moved)
    assert read_model(other.read_bytes(), "o").digest != read_model(npz, "a").digest


def changed(name: str, place: tuple, value: float) -> dict:
    values = np.array(synthetic_model()[name])
    values[place] = value
    return {name: values}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (lambda: {"posedirs": None}, "lacks posedirs"),
        (lambda: {"weights": synthetic_model()["weights"][:, :20]}, r"weights has the shape \(\d+, 20\)"),
        (lambda: changed("v_template", (5, 1), np.nan), "v_template holds values that are not finite"),
        (lambda: changed("weights", (5, 0), 0.5), "rows of weights do not sum to one"),
        (lambda: changed("f", (0, 0), 10**6), "faces name vertices that do not exist"),
        (lambda: changed("kintree_table", (0, 4), 0), "do not hang together"),
        (lambda: {"J_regressor": np.zeros((16, 13718))}, "16 joints, not 24"),
        (lambda: {"v_template": synthetic_model()["v_template"] * 100}, "metres"),
        (lambda: {"v_template": synthetic_model()["v_template"][:, [0, 2, 1]]}, "metres with Y up|head is not above"),
        (lambda: {"v_template": synthetic_model()["v_template"] * [-1, 1, -1]}, r"face \+Z"),
    ],
)
def test_what_does_not_fit_is_said(tmp_path, changes, said):
    path = write_npz(tmp_path / "bad.npz", **changes())
    with pytest.raises(UnsuitableModel, match=said):
        read_model(path.read_bytes(), "bad.npz")


def test_a_body_that_does_not_rest_in_a_t_pose_is_not_taken(tmp_path):
    model = synthetic_model()
    bent = model["v_template"].copy()
    arms = model["weights"][:, [16, 17, 18, 19, 20, 21, 22, 23]].sum(1)
    bent[:, 1] -= 1.2 * arms * np.clip(np.abs(bent[:, 0]) - 0.19, 0, None)
    path = write_npz(tmp_path / "a.npz", v_template=bent)
    with pytest.raises(UnsuitableModel, match="T-pose"):
        read_model(path.read_bytes(), "a.npz")


def test_a_pickle_inside_an_npz_is_not_loaded(tmp_path):
    path = write_npz(tmp_path / "a.npz", J_regressor=np.array({"a": 1}, dtype=object))
    with pytest.raises(WeightsError, match="J_regressor is a pickle"):
        read_model(path.read_bytes(), "a.npz")


def test_a_header_that_lies_about_the_size_costs_nothing(npz, tmp_path):
    lying = io.BytesIO()
    np.lib.format.write_array_header_1_0(lying, {"descr": "<f8", "fortran_order": False, "shape": (1 << 40, 3)})
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as target, zipfile.ZipFile(io.BytesIO(npz)) as source:
        for name in source.namelist():
            target.writestr(name, lying.getvalue() if name == "v_template.npy" else source.read(name))
    with pytest.raises(WeightsError, match="v_template takes more than"):
        read_model(path.read_bytes(), "a.npz")


def small_npz() -> bytes:
    file = io.BytesIO()
    names = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table", "f")
    np.savez(file, **{name: np.zeros((2, 3)) for name in names})
    return file.getvalue()


SMALL = small_npz()


@given(place=st.integers(2, len(SMALL) - 1), new=st.binary(min_size=1, max_size=6))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_damaged_npz_raises_the_projects_errors_only(place, new):
    with pytest.raises(WeightsError):
        read_model(SMALL[:place] + new + SMALL[place + len(new) :], "a.npz")


def test_a_model_of_another_family_is_unsuitable():
    with pytest.raises(UnsuitableModel, match="lacks"):
        read_model(pickle.dumps({"hands_meanl": np.zeros(45)}), "MANO_LEFT.pkl")
