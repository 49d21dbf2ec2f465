"""Single arrays of .npz files that came from elsewhere: never a pickle, and never more memory than was allowed."""

from __future__ import annotations

import lzma
import math
import zipfile
import zlib
from tokenize import TokenError

import numpy as np
from numpy.typing import NDArray

UNREADABLE = (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError)
"""What `zipfile` raises for archives that are damaged, encrypted (RuntimeError) or compressed in a way it does not know
(NotImplementedError)."""
_DAMAGE = (ValueError, EOFError, SyntaxError, TypeError, TokenError, RecursionError, zlib.error, lzma.LZMAError)
"""What reading the header or the data of a damaged array raises."""


class ArrayRefused(ValueError):
    """An array that is not read: the message says why and what to do, without the file's name."""


def array_names(archive: zipfile.ZipFile) -> set[str]:
    """Return the names of the arrays of an .npz file."""
    return {name.removesuffix(".npy") for name in archive.namelist()}


def read_numbers(archive: zipfile.ZipFile, name: str, limit: int) -> NDArray:
    """Read one array of real numbers, after its header: a header that lies about the size costs no memory.

    Args:
        archive: the open .npz file.
        name: of the array, which is there.
        limit: bytes that it takes at most, unpacked.
    Raises:
        ArrayRefused: it is a pickle, too large, damaged, or holds something else than numbers.
    """
    entry = archive.getinfo(f"{name}.npy")
    try:
        with archive.open(entry) as file:
            version = np.lib.format.read_magic(file)
            read_header = (
                np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            )
            shape, _, dtype = read_header(file)
        if dtype.hasobject:
            raise ArrayRefused(
                f"{name} is a pickle, which can run code and is not loaded; save it as plain numbers"
            )
        size = math.prod(shape) * dtype.itemsize
        if max(size, entry.file_size) > limit:
            raise ArrayRefused(f"{name} takes more than {limit >> 20} MiB; cut the file")
        with archive.open(entry) as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
    except ArrayRefused:
        raise
    except _DAMAGE as error:
        raise ArrayRefused(f"{name} is not a readable array ({error}); copy the file again") from error
    if array.dtype.kind not in "fiu":
        raise ArrayRefused(f"{name} holds {array.dtype}, not numbers; save it as plain numbers")
    return array
