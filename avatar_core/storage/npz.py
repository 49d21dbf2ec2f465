"""Single arrays of .npz files that came from elsewhere: never a pickle, and never more memory than was allowed."""

from __future__ import annotations

import lzma
import math
import struct
import zipfile
import zlib
from tokenize import TokenError

import numpy as np
from numpy.typing import NDArray

UNREADABLE = (
    zipfile.BadZipFile, OSError, EOFError, RuntimeError, ValueError, KeyError, IndexError,
    OverflowError, struct.error, zlib.error, lzma.LZMAError,
)  # fmt: skip
"""What `zipfile` raises for archives that are damaged, or encrypted or compressed in a way it does not know
(RuntimeError)."""
_DAMAGE = (*UNREADABLE, SyntaxError, TypeError, AttributeError, TokenError)
"""What reading the header or the data of a damaged array raises."""
_SUFFIX = ".npy"


class ArrayRefused(ValueError):
    """An array that is not read: the message says why and what to do, without the file's name."""


def array_names(archive: zipfile.ZipFile) -> set[str]:
    """Return the names of the arrays of an .npz file."""
    return {name.removesuffix(_SUFFIX) for name in archive.namelist() if name.endswith(_SUFFIX)}


def read_numbers(archive: zipfile.ZipFile, name: str, limit: int) -> NDArray:
    """Read one array of real numbers, after its header: a header that lies about the size costs no memory.

    Args:
        archive: the open .npz file.
        name: of the array, which is there.
        limit: bytes that it takes at most, unpacked.
    Raises:
        ArrayRefused: it is a pickle, too large, damaged, or holds something else than numbers.
    """
    return _read(archive, name, limit, "fiu", "numbers")


def read_texts(archive: zipfile.ZipFile, name: str, limit: int) -> NDArray:
    """Read one array of texts, as `read_numbers` does."""
    return _read(archive, name, limit, "U", "texts")


def _read(archive: zipfile.ZipFile, name: str, limit: int, kinds: str, wanted: str) -> NDArray:
    try:
        entry = archive.getinfo(f"{name}{_SUFFIX}")
        with archive.open(entry) as file:
            version = np.lib.format.read_magic(file)
            read_header = (
                np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            )
            shape, _, dtype = read_header(file)
        if dtype.hasobject:
            raise ArrayRefused(
                f"{name} is a pickle, which can run code and is not loaded; save it as plain {wanted}"
            )
        if dtype.kind not in kinds:
            raise ArrayRefused(f"{name} holds {dtype}, not {wanted}; save it as plain {wanted}")
        size = math.prod(shape) * dtype.itemsize
        if max(size, entry.file_size) > limit:
            raise ArrayRefused(f"{name} takes more than {limit >> 20} MiB; cut the file")
        if not 0 <= size <= entry.file_size:
            raise ArrayRefused(f"{name} is shorter than its header says; copy the file again")
        with archive.open(entry) as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except ArrayRefused:
        raise
    except _DAMAGE as error:
        raise ArrayRefused(f"{name} is not a readable array ({error}); copy the file again") from error
