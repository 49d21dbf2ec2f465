"""Which failures get another attempt."""

import errno
import inspect

import pytest
from prefect.client.schemas.objects import State
from prefect.states import Failed

from avatar_core.errors import ArtifactError, ConfigError, DivergenceError
from tasks.retries import is_transient, should_retry


def caused_by(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


class OutOfMemoryError(RuntimeError):
    """Named like torch's."""


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(errno.ECONNRESET, "connection reset"),
        TimeoutError("the store did not answer"),
        OSError(errno.EIO, "input/output error"),
        caused_by(ArtifactError("cannot be written"), OSError(errno.EIO, "input/output error")),
        OutOfMemoryError("CUDA out of memory"),
    ],
)
def test_trouble_that_may_pass_is_tried_again(error: Exception) -> None:
    assert is_transient(error)


@pytest.mark.parametrize(
    "error",
    [
        DivergenceError("the loss is not finite"),
        ConfigError("no such setting"),
        ValueError("a bug"),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        OSError(errno.ENOSPC, "no space left on device"),
        PermissionError(errno.EACCES, "permission denied"),
        caused_by(ArtifactError("cannot be written"), OSError(errno.ENOSPC, "no space left on device")),
    ],
)
def test_what_would_fail_again_is_not_tried_again(error: Exception) -> None:
    assert not is_transient(error)


def test_prefect_is_given_a_plain_function_that_reads_the_failed_state() -> None:
    assert inspect.isfunction(should_retry)
    assert should_retry(None, None, Failed(data=TimeoutError("late")))  # type: ignore[arg-type]
    assert not should_retry(None, None, Failed(data=ValueError("a bug")))  # type: ignore[arg-type]
    empty: State[None] = Failed(message="no exception is known")
    assert not should_retry(None, None, empty)  # type: ignore[arg-type]
