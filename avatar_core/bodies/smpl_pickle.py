"""Reads the arrays of a pickled SMPL model without running anything that the pickle asks for.

SMPL's downloads are pickles, many of them written by Python 2 with chumpy, a library that no longer installs. Nothing
of it is needed: the names that such files ask for stand for inert records here, which keep what they are given, and
arrays are made from the records' bytes by this module alone. Any other name is refused before it is looked up.
"""

from __future__ import annotations

import io
import math
import pickle
import re
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from avatar_core.errors import WeightsError

LARGEST = 1 << 28
"""Bytes of the largest array that is made."""
_NUMBER = re.compile(r"[fiu][1248]|b1")
_DAMAGE = (
    pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError,
    MemoryError, RecursionError, AssertionError, NotImplementedError, struct.error,
)  # fmt: skip
"""What a damaged pickle raises somewhere."""


class UnsuitableModel(WeightsError):
    """A file that is safe to read, but no model of SMPL's family."""


class Record:
    """What a pickle says of one object: its arguments and its state, of which nothing was done."""

    def __new__(cls, *arguments: Any) -> Record:
        """Keep the arguments."""
        made = super().__new__(cls)
        made.arguments, made.state = arguments, None
        return made

    def __init__(self, *arguments: Any) -> None:
        self.arguments: tuple[Any, ...]
        self.state: Any

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def array(self) -> NDArray:
        """Return the numbers that the record stands for; raises ValueError where it stands for none."""
        raise ValueError(f"a {type(self).__name__} is no array")


class _Array(Record):
    """A numpy array; its state is (version, shape, dtype, whether by column, bytes)."""

    def array(self) -> NDArray:
        _, shape, dtype, by_column, raw = self.state
        return _numbers(raw, dtype, shape, "F" if by_column else "C")


class _Buffer(Record):
    """A numpy array of protocol 5: (bytes, dtype, shape, order)."""

    def array(self) -> NDArray:
        raw, dtype, shape, order = self.arguments
        return _numbers(raw, dtype, shape, "F" if order == "F" else "C")


class _Scalar(Record):
    """A numpy scalar: (dtype, bytes)."""

    def array(self) -> NDArray:
        dtype, raw = self.arguments
        return _numbers(raw, dtype, (), "C")


class _Dtype(Record):
    """A numpy dtype: arguments (code, …), state (version, byte order, …)."""

    def numbers(self) -> np.dtype:
        code = self.arguments[0]
        order = self.state[1] if self.state else "="
        if not (isinstance(code, str) and _NUMBER.fullmatch(code)) or order not in ("<", ">", "|", "="):
            raise ValueError(f"{code!r} is no type of numbers")
        return np.dtype(order.replace("|", "=") + code)


class _Sparse(Record, ABC):
    """A scipy.sparse matrix: state by the names of its attributes."""

    def array(self) -> NDArray:
        shape = self.state["_shape"] if "_shape" in self.state else self.state["shape"]
        rows, columns = (int(number) for number in shape)
        if min(rows, columns) < 0 or 8 * rows * columns > LARGEST:
            raise ValueError(f"a sparse matrix of {rows} x {columns} is too large")
        dense = np.zeros((rows, columns))
        values = as_array(self.state["data"]).astype(np.float64)
        row, column = self._places()
        if min(row.min(initial=0), column.min(initial=0)) < 0:
            raise ValueError("a sparse matrix has negative places")
        np.add.at(dense, (row, column), values)
        return dense

    @abstractmethod
    def _places(self) -> tuple[NDArray, NDArray]:
        """The rows and the columns of the values."""

    def _unpacked(self) -> tuple[NDArray, NDArray]:
        """The places along the compressed axis, and along the other one."""
        ends, other = as_array(self.state["indptr"]), as_array(self.state["indices"])
        ends = ends.astype(np.int64)
        counts = ends[1:] - ends[:-1]
        if counts.min(initial=0) < 0 or counts.sum() != len(other):
            raise ValueError("a sparse matrix's places do not fit its values")
        return np.repeat(np.arange(len(counts)), counts), other.astype(np.int64)


class _ByColumn(_Sparse):
    def _places(self) -> tuple[NDArray, NDArray]:
        column, row = self._unpacked()
        return row, column


class _ByRow(_Sparse):
    def _places(self) -> tuple[NDArray, NDArray]:
        return self._unpacked()


class _Coordinates(_Sparse):
    def _places(self) -> tuple[NDArray, NDArray]:
        places = self.state["coords"] if "coords" in self.state else (self.state["row"], self.state["col"])
        row, column = (as_array(values).astype(np.int64) for values in places)
        return row, column


class _Chumpy(Record):
    """A chumpy array: its values, or a choice of another one's (chumpy.reordering.Select)."""

    def array(self) -> NDArray:
        if "x" in self.state:
            return as_array(self.state["x"])
        chosen = as_array(self.state["a"]).reshape(-1)[as_array(self.state["idxs"]).astype(np.int64)]
        shape = self.state.get("preferred_shape")
        return chosen if shape is None else chosen.reshape(_shape(shape))


class _Token(Record):
    """A class that is only named."""


class _Call:
    """One function that a pickle may call; it keeps no state."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise ValueError("a function has no state")


def _new(kind: Any, *_: Any) -> Record:
    """Python 2's way to make an object of a class."""
    if not (isinstance(kind, type) and issubclass(kind, Record)):
        raise ValueError("an object of no class")
    return kind()


def _encoded(text: str, encoding: str = "latin1") -> bytes:
    """Python 3's way to write bytes in old protocols."""
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"bytes in {encoding!r}")
    return text.encode("latin1")


def _python2_type(name: str) -> type[Record]:
    """What dill makes of the name of a type of Python's own."""
    if name != "ObjectType":
        raise pickle.UnpicklingError(f"dill's {name!r}")
    return _Token


_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
_KNOWN: dict[tuple[str, str], Any] = (
    {(module, "_reconstruct"): _Call(lambda *_: _Array()) for module in _MULTIARRAY}
    | {(module, "scalar"): _Scalar for module in _MULTIARRAY}
    | {(module, "_frombuffer"): _Buffer for module in ("numpy.core.numeric", "numpy._core.numeric")}
    | {("numpy", "ndarray"): _Token, ("numpy", "dtype"): _Dtype}
    | {
        (f"scipy.sparse.{module}", f"{name}_matrix"): kind
        for name, kind in (("csc", _ByColumn), ("csr", _ByRow), ("coo", _Coordinates))
        for module in (name, f"_{name}")
    }
    | {("chumpy.ch", "Ch"): _Chumpy, ("chumpy.reordering", "Select"): _Chumpy}
    | {(module, "_reconstructor"): _Call(_new) for module in ("copy_reg", "copyreg")}
    | {(module, "object"): _Token for module in ("__builtin__", "builtins")}
    | {(module, "set"): _Call(lambda *items: list(items)) for module in ("__builtin__", "builtins")}
    | {(module, "_load_type"): _Call(_python2_type) for module in ("dill.dill", "dill._dill")}
    | {("_codecs", "encode"): _Call(_encoded)}
    | {(module, "bytes"): _Call(lambda: b"") for module in ("__builtin__", "builtins")}
)
"""What stands for each name that a model's pickle may ask for."""


class _Refused(Exception):
    """A pickle asks for something else."""


_Unpickler: Any = pickle._Unpickler
"""Python's own unpickler, written in Python: unlike the one in C it takes no memory on a pickle's word."""


class _Reader(_Unpickler):
    """Makes plain data and records; knows no other names, and believes no length."""

    dispatch: ClassVar = dict(_Unpickler.dispatch)

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a name; nothing is imported."""
        try:
            return _KNOWN[module, name]
        except KeyError:
            raise _Refused(f"{module}.{name}") from None

    def load_bytearray8(self) -> None:
        (length,) = struct.unpack("<Q", self.read(8))
        self.append(bytearray(self.read(length)))

    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8


def read_pickle(content: bytes, source: str) -> dict[str, Any]:
    """Read the pickle of a model, whose values are plain data or records (`as_array` reads them).

    Args:
        content: of the file.
        source: its name, for messages.
    Raises:
        UnsuitableModel: it holds something else than arrays by name.
        WeightsError: it asks for anything but arrays, or is damaged.
    """
    try:
        found = _Reader(io.BytesIO(content), encoding="latin1").load()
    except _Refused as asked:
        raise WeightsError(
            f"{source} is a pickle that asks for {asked}; reading it could run code, so it is refused. Models hold "
            "arrays of numpy, scipy.sparse and chumpy only: download it again from its own page"
        ) from None
    except _DAMAGE as error:
        raise WeightsError(f"{source} is damaged ({_said(error)}); download it again") from error
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise UnsuitableModel(f"{source} holds no arrays by name, so it is no body model")
    return found


def as_array(value: Any) -> NDArray:
    """Return the numbers of a value that `read_pickle` found; raises ValueError where it stands for none."""
    if isinstance(value, Record):
        try:
            return value.array()
        except _DAMAGE as error:
            raise ValueError(_said(error)) from error
    if isinstance(value, int | float):
        return np.array(value)
    raise ValueError(f"a {type(value).__name__} is no array")


def _numbers(raw: Any, dtype: Any, shape: Any, order: Any) -> NDArray:
    if isinstance(raw, str):
        raw = raw.encode("latin1")
    if not isinstance(raw, bytes | bytearray) or not isinstance(dtype, _Dtype):
        raise ValueError("an array of something else than numbers")
    kind, places = dtype.numbers(), _shape(shape)
    if len(raw) != math.prod(places) * kind.itemsize or len(raw) > LARGEST:
        raise ValueError(f"{len(raw)} bytes are no array of shape {places}")
    return np.frombuffer(raw, kind).reshape(places, order=order)


def _shape(shape: Any) -> tuple[int, ...]:
    places = tuple(int(number) for number in shape)
    if len(places) > 4 or any(number < 0 for number in places):
        raise ValueError(f"an array of shape {places}")
    return places


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__
