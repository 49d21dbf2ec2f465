"""Which failures of a stage are worth another attempt in the same process."""

import errno
from typing import TYPE_CHECKING, Any

from avatar_core.errors import AvatarError

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State, TaskRun

RETRIES = 2
RETRY_DELAY_SECONDS = [1.0, 5.0]

_LASTING_ERRNOS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR}
)
_MEMORY_ERRORS = ("OutOfMemoryError",)


def should_retry(task: Any, task_run: "TaskRun", state: "State[Any]") -> bool:
    """Tell Prefect whether a failed attempt gets another (a plain function: Prefect ignores anything else)."""
    error = state.data
    return isinstance(error, BaseException) and is_transient(error)


def is_transient(error: BaseException) -> bool:
    """Return whether the same computation may well succeed a moment later.

    Storage and network trouble may pass. A computation that diverged, a wrong input or a bug comes out the same, a
    full or forbidden disk stays so, and after a CUDA error other than lack of memory the process cannot use its
    device any more.
    """
    if isinstance(error, AvatarError):
        return error.__cause__ is not None and is_transient(error.__cause__)
    if type(error).__name__ in _MEMORY_ERRORS:
        return True
    if isinstance(error, OSError):
        return error.errno not in _LASTING_ERRNOS
    return False
