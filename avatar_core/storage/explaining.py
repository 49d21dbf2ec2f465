"""Blocks that turn the errors of reading and writing an artifact into ArtifactError, with what to do about them."""

import contextlib
import errno
from collections.abc import Iterator

from avatar_core.errors import ArtifactError, StorageError

_DISK_TROUBLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG})


class Damage(Exception):
    """An artifact that is proven to be unusable, as opposed to one that cannot be read now."""


@contextlib.contextmanager
def reading(what: str) -> Iterator[None]:
    """Explain why `what` cannot be read; StorageError passes, since it explains itself."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        raise ArtifactError(f"{what} cannot be read: {error}.") from error


@contextlib.contextmanager
def writing(what: str) -> Iterator[None]:
    """Explain why `what` cannot be written; StorageError passes, since it explains itself."""
    try:
        yield
    except StorageError:
        raise
    except (Damage, OSError) as error:
        raise ArtifactError(f"{what} cannot be written: {error}. Check free space and permissions.") from error


@contextlib.contextmanager
def computing(what: str) -> Iterator[None]:
    """Explain, alone of the errors of the code that computes `what`, a full or read-only disk."""
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK_TROUBLE:
            raise
        raise ArtifactError(f"{what} cannot be written: {error}. Check free space and permissions.") from error
