"""Pickled models are read as data: their arrays come out, and nothing that they ask for is run."""

import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_matrix, csc_matrix, csr_matrix
from synthetic_smpl import _Ch, _Select, fake_chumpy

from avatar_core.bodies.smpl_pickle import UnsuitableModel, as_array, read_pickle
from avatar_core.errors import WeightsError

VALUES = np.random.default_rng(0).normal(size=(4, 3))
ARRAYS = {
    "float64": VALUES,
    "float32": VALUES.astype(np.float32),
    "big endian": VALUES.astype(">f4"),
    "by column": np.asfortranarray(VALUES),
    "unsigned": np.array([[4294967295, 0], [1, 2]], np.uint32),
    "scalar": np.float64(3.5),
    "csc": csc_matrix(np.diag([1.0, 0, 2.0])),
    "csr": csr_matrix(np.diag([1.0, 0, 2.0])),
    "coo": coo_matrix(np.diag([1.0, 0, 2.0])),
}


def dense(value):
    return value.toarray() if hasattr(value, "toarray") else np.asarray(value)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_of_every_protocol_come_out_as_they_went_in(name, protocol):
    found = read_pickle(pickle.dumps({"a": ARRAYS[name]}, protocol=protocol, fix_imports=True), "x.pkl")
    np.testing.assert_array_equal(as_array(found["a"]), dense(ARRAYS[name]))


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_chumpys_arrays_are_read_without_chumpy(protocol):
    with fake_chumpy():
        picked = _Select(_Ch(VALUES), np.array([11, 0, 5, 5]), (2, 2))
        content = pickle.dumps({"a": _Ch(VALUES), "b": picked}, protocol=protocol, fix_imports=True)
    assert b"chumpy" in content
    found = read_pickle(content, "x.pkl")
    np.testing.assert_array_equal(as_array(found["a"]), VALUES)
    np.testing.assert_array_equal(as_array(found["b"]), VALUES.ravel()[[11, 0, 5, 5]].reshape(2, 2))


def test_dills_name_for_pythons_object_is_known():
    # As in SMPLify's neutral model, which dill has written in Python 2.
    text = b"(dS'a'\nccopy_reg\n_reconstructor\n(cchumpy.ch\nCh\ncdill.dill\n_load_type\n(S'ObjectType'\ntRNtR(dS'x'\n"
    array = pickle.dumps(np.arange(3.0), protocol=0, fix_imports=True)[:-1]
    np.testing.assert_array_equal(as_array(read_pickle(text + array + b"sbs.", "x.pkl")["a"]), [0, 1, 2])


class Runs:
    """Creates a file when it is unpickled the usual way."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


class Evaluates(Runs):
    def __reduce__(self):
        return eval, (f"open({str(self.path)!r}, 'w')",)


@pytest.mark.parametrize(("kind", "asked"), [(Runs, r"(posix|nt)\.system"), (Evaluates, r"__builtin__\.eval")])
def test_a_pickle_that_would_run_something_is_refused_and_runs_nothing(tmp_path, kind, asked):
    target = tmp_path / "touched"
    content = pickle.dumps({"v_template": VALUES, "extra": kind(target)}, protocol=2)
    with pytest.raises(WeightsError, match=f"evil.pkl is a pickle that asks for {asked}"):
        read_pickle(content, "evil.pkl")
    assert not target.exists()
    call, arguments = kind(target).__reduce__()
    call(*arguments)  # what it asked for would have made the file
    assert target.exists()


@pytest.mark.parametrize(
    "name",
    [
        "os\nsystem",
        "builtins\ngetattr",
        "numpy\nload",
        "numpy.testing._private.utils\nrunstring",
        "copyreg\nadd_extension",
    ],
)
def test_any_other_name_is_refused_by_name(name):
    with pytest.raises(WeightsError, match=name.replace("\n", r"\.")):
        read_pickle(f"c{name}\n.".encode(), "x.pkl")


def test_dotted_names_do_not_lead_out_of_what_is_known():
    content = b"\x80\x04\x8c\x05numpy\x8c\x11ndarray.__class__\x93."
    with pytest.raises(WeightsError, match=r"ndarray\.__class__"):
        read_pickle(content, "x.pkl")


@pytest.mark.parametrize(
    "state",
    [
        (1, (1 << 40,), np.dtype("f8"), False, b""),
        (1, (2,), np.dtype("f8"), False, b"12345678"),
        (1, (-1,), np.dtype("f8"), False, b""),
        (1, (1,), np.dtype("O"), False, [1]),
    ],
)
def test_an_array_is_no_larger_than_its_bytes(state):
    array = b"cnumpy.core.multiarray\n_reconstruct\n)R" + pickle.dumps(state, protocol=2, fix_imports=True)[2:-1] + b"b"
    found = read_pickle(b"\x80\x02}X\x01\x00\x00\x00a" + array + b"s.", "x.pkl")
    with pytest.raises(ValueError):
        as_array(found["a"])


@pytest.mark.parametrize(
    "changes",
    [
        {"_shape": (1 << 30, 1 << 30)},
        {"indices": np.array([0, 7])},
        {"indices": np.array([-1, 0])},
        {"indptr": np.array([0, 9, 9, 9])},
    ],
)
def test_a_sparse_matrix_that_lies_about_its_places_is_refused(changes):
    matrix = csc_matrix(np.diag([1.0, 0, 2.0]))
    matrix.__dict__.update(changes)
    found = read_pickle(pickle.dumps({"a": matrix}, protocol=2, fix_imports=True), "x.pkl")
    with pytest.raises(ValueError):
        as_array(found["a"])


def test_a_byte_array_takes_no_memory_on_a_pickles_word():
    with pytest.raises(WeightsError, match=r"damaged|no arrays"):
        read_pickle(b"\x80\x05\x96" + struct.pack("<Q", 1 << 60) + b"abc.", "x.pkl")


def test_a_place_in_the_memo_takes_no_memory_on_a_pickles_word():
    assert read_pickle(b"\x80\x02}r\xff\xff\xff\x7f.", "x.pkl") == {}


def test_a_pickle_of_something_else_is_no_model():
    with pytest.raises(UnsuitableModel, match="no arrays by name"):
        read_pickle(pickle.dumps([1, 2]), "x.pkl")


WHOLE = pickle.dumps({"a": VALUES, "b": csc_matrix(np.eye(3)), "c": [1, "x"]}, protocol=2, fix_imports=True)


def read_all(content: bytes) -> None:
    """Read a pickle as the product does; the project's own errors are an answer."""
    try:
        for value in read_pickle(content, "x.pkl").values():
            try:
                as_array(value)
            except ValueError:
                continue
    except WeightsError:
        return


@given(place=st.integers(0, len(WHOLE) - 1), new=st.binary(min_size=1, max_size=6))
@settings(max_examples=300, deadline=None)
def test_a_damaged_pickle_raises_the_projects_errors_only(place, new):
    read_all(WHOLE[:place] + new + WHOLE[place + len(new) :])


@given(content=st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_noise_raises_the_projects_errors_only(content):
    read_all(content)
