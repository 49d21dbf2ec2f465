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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avatar_core.errors import WeightsError

LARGEST = 1 << 28
"""Bytes of the largest array that is made."""
MAX_OPERATIONS = 300_000
"""Of a pickle's program: models have some hundred, and each costs a microsecond or more."""
MAX_COPIED = 1 << 31
"""Items and bytes that its calls may be given together: a long text given again and again costs time, not length."""
MAX_NESTED = 4
"""Records in each other that stand for one array: chumpy's choice of a chumpy array of a numpy array is three."""
_NUMBER = re.compile(r"[fiu][1248]|b1")
_DAMAGE = (
    pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError,
    MemoryError, RuntimeError, AssertionError, struct.error,
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

    def array(self, nested: int) -> NDArray:
        """Return the numbers that the record stands for, `nested` in so many others.

        Raises ValueError where it stands for none.
        """
        raise ValueError(f"a {type(self).__name__} is no array")


class _Array(Record):
    """A numpy array; its state is (version, shape, dtype, whether by column, bytes)."""

    def array(self, nested: int) -> NDArray:
        _, shape, dtype, by_column, raw = self.state
        return _numbers(raw, dtype, shape, "F" if by_column else "C")


class _Buffer(Record):
    """A numpy array of protocol 5: (bytes, dtype, shape, order)."""

    def array(self, nested: int) -> NDArray:
        raw, dtype, shape, order = self.arguments
        return _numbers(raw, dtype, shape, "F" if order == "F" else "C")


class _Scalar(Record):
    """A numpy scalar: (dtype, bytes)."""

    def array(self, nested: int) -> NDArray:
        dtype, raw = self.arguments
        return _numbers(raw, dtype, (), "C")


class _Dtype(Record):
    """A numpy dtype: arguments (code, …), state (version, byte order, …)."""

    def numbers(self) -> np.dtype:
        code = self.arguments[0]
        order = self.state[1] if self.state else "="
        if not (isinstance(code, str) and _NUMBER.fullmatch(code)) or order not in ("<", ">", "|", "="):
            raise ValueError("a dtype is no type of numbers")
        return np.dtype(order.replace("|", "=") + code)


class _Sparse(Record, ABC):
    """A scipy.sparse matrix: state by the names of its attributes."""

    def array(self, nested: int) -> NDArray:
        shape = self.state["_shape"] if "_shape" in self.state else self.state["shape"]
        rows, columns = _shape(shape)
        if 8 * rows * columns > LARGEST:
            raise ValueError(f"a sparse matrix of {rows} x {columns} is too large")
        dense = np.zeros((rows, columns))
        values = _stored(self.state["data"]).astype(np.float64)
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
        ends, other = _stored(self.state["indptr"]), _stored(self.state["indices"])
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
        row, column = (_stored(values).astype(np.int64) for values in places)
        return row, column


class _Chumpy(Record):
    """A chumpy array: its values, or a choice of another one's (chumpy.reordering.Select)."""

    def array(self, nested: int) -> NDArray:
        if "x" in self.state:
            return _nested(self.state["x"], nested + 1)
        chosen = _nested(self.state["a"], nested + 1).reshape(-1)[_stored(self.state["idxs"]).astype(np.int64)]
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
        raise ValueError("bytes in another encoding than latin1")
    return text.encode("latin1")


def _python2_type(name: str) -> type[Record]:
    """What dill makes of the name of a type of Python's own."""
    if name != "ObjectType":
        raise pickle.UnpicklingError("a name of dill's that is not ObjectType")
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


class _Counted(dict[int, Callable[..., None]]):
    """The operations that there are, each of which may be looked up so many times in all."""

    left = MAX_OPERATIONS

    def __getitem__(self, code: int) -> Callable[..., None]:
        self.left -= 1
        if self.left < 0:
            raise pickle.UnpicklingError(f"more than {MAX_OPERATIONS:,} operations, which no model needs")
        return super().__getitem__(code)


class _Reader(_Unpickler):
    """Makes plain data and records; knows no other names, believes no length, and ends soon."""

    dispatch: Any = dict(_Unpickler.dispatch)  # noqa: RUF012 - as its base has it

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content), encoding="latin1")
        self.dispatch = _Counted(_Reader.dispatch)
        self._copied = 0

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a name; nothing is imported."""
        try:
            return _KNOWN[module, name]
        except KeyError:
            raise _Refused(f"{module}.{name}") from None

    def load_bytearray8(self) -> None:
        (length,) = struct.unpack("<Q", self.read(8))
        self.append(bytearray(self.read(length)))

    def load_reduce(self) -> None:
        given = self.stack[-1]
        self._copied += len(given) + sum(len(one) for one in given if isinstance(one, str | bytes | bytearray))
        if self._copied > MAX_COPIED:
            raise pickle.UnpicklingError("calls that are given more than any model holds")
        _Unpickler.load_reduce(self)

    def load_dict(self) -> None:
        items = self.pop_mark()
        self.append(_by_name(items))

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.stack[-1].update(_by_name([key, value]))

    def load_setitems(self) -> None:
        items = self.pop_mark()
        self.stack[-1].update(_by_name(items))

    def load_empty_set(self) -> None:
        self.append([])

    def load_additems(self) -> None:
        items = self.pop_mark()
        self.stack[-1].extend(items)

    def load_frozenset(self) -> None:
        items = self.pop_mark()  # puts another `append` in place
        self.append(items)

    dispatch |= {
        pickle.BYTEARRAY8[0]: load_bytearray8,
        pickle.REDUCE[0]: load_reduce,
        pickle.DICT[0]: load_dict,
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
        pickle.EMPTY_SET[0]: load_empty_set,
        pickle.ADDITEMS[0]: load_additems,
        pickle.FROZENSET[0]: load_frozenset,
    }


def _by_name(items: list[Any]) -> dict[Any, Any]:
    """The keys and values of a list in turn as a mapping; keys are names, for tuples in tuples take ages to hash."""
    keys = items[::2]
    if not all(isinstance(key, str | bytes | int) for key in keys):
        raise pickle.UnpicklingError("keys that are no names")
    return dict(zip(keys, items[1::2]))


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
        found = _Reader(content).load()
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
            return _nested(value, 1)
        except _DAMAGE as error:
            raise ValueError(_said(error)) from error
    return _nested(value, 1)


def _nested(value: Any, nested: int) -> NDArray:
    if nested > MAX_NESTED:
        raise ValueError(f"more than {MAX_NESTED} arrays in each other")
    if isinstance(value, Record):
        return value.array(nested)
    if isinstance(value, int | float):
        return np.array(value)
    raise ValueError(f"a {type(value).__name__} is no array")


def _stored(value: Any) -> NDArray:
    """The numbers of an array that is no choice of another one: choices of choices would double each time."""
    if not isinstance(value, _Array | _Buffer):
        raise ValueError(f"a {type(value).__name__} is no stored array")
    return value.array(1)


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
    if not isinstance(shape, tuple | list) or len(shape) > 4:
        raise ValueError("an array of more than four axes")
    places = tuple(int(place) if isinstance(place, int) else -1 for place in shape)
    if any(not 0 <= place <= LARGEST for place in places):
        raise ValueError("an array of an impossible size")
    return places


def _said(error: BaseException) -> str:
    return str(error)[:200] or type(error).__name__
