"""What the errors of remote file systems mean: passing trouble, lost races, refusals, missing buckets.

The libraries behind fsspec raise exceptions of their own, and not all of those are OSErrors. They are told apart by
HTTP status, service code and qualified class name, so that none of the optional packages is imported here.
"""

import errno
from collections.abc import Iterator, Mapping
from typing import Any

from avatar_core.errors import StorageError

_PASSING_STATUS = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
"""409 is what S3 answers when two conditional requests meet; it asks for a repetition."""
_PASSING_ERRNO = frozenset(
    {
        errno.EAGAIN,
        errno.EBUSY,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        getattr(errno, "EREMOTEIO", errno.EBUSY),
    }
)
_PASSING_CLASSES = frozenset(
    {
        "botocore.exceptions.ConnectionError",
        "botocore.exceptions.HTTPClientError",
        "botocore.exceptions.ResponseStreamingError",
        "botocore.parsers.ResponseParserError",
        "aiohttp.client_exceptions.ClientConnectionError",
        "aiohttp.client_exceptions.ClientPayloadError",
        "azure.core.exceptions.ServiceRequestError",
        "azure.core.exceptions.ServiceResponseError",
        "requests.exceptions.ConnectionError",
        "requests.exceptions.Timeout",
    }
)
_REFUSING_CLASSES = frozenset(
    {
        "botocore.exceptions.NoCredentialsError",
        "botocore.exceptions.PartialCredentialsError",
        "botocore.exceptions.CredentialRetrievalError",
        "azure.core.exceptions.ClientAuthenticationError",
        "google.auth.exceptions.GoogleAuthError",
    }
)
_MISSING_BUCKET = frozenset({"NoSuchBucket", "ContainerNotFound"})
_WRONG_CLOCK = "RequestTimeTooSkewed"
_LOST_RACE_STATUS = 412
_ORDINARY = (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError)


def is_transient(error: BaseException) -> bool:
    """Return whether the same operation may succeed a little later: time-outs, resets, 5xx, "slow down"."""
    if isinstance(error, (*_ORDINARY, PermissionError)):
        return False
    status = _http_status(error)
    if status is not None:
        return status in _PASSING_STATUS
    if isinstance(error, ConnectionError | TimeoutError) or _is_any(error, _PASSING_CLASSES):
        return True
    return isinstance(error, OSError) and error.errno in _PASSING_ERRNO


def is_lost_race(error: BaseException) -> bool:
    """Return whether a conditional write failed because its condition did not hold."""
    return isinstance(error, FileExistsError) or _http_status(error) == _LOST_RACE_STATUS


def storage_error(error: Exception, url: str) -> StorageError | None:
    """Return what to tell the user of `url` instead of `error`; None for an error that is not about the place.

    A file that is missing is not: a bucket that is missing is.
    """
    if _service_code(error) in _MISSING_BUCKET:
        return StorageError(f"{url} is in a bucket that does not exist: create it, or correct the URL.")
    if _service_code(error) == _WRONG_CLOCK:
        return StorageError(
            f"{url} refuses access because this machine's clock is wrong ({error}): set the clock and run again."
        )
    if isinstance(error, PermissionError) or _http_status(error) in (401, 403) or _is_any(error, _REFUSING_CLASSES):
        return StorageError(
            f"{url} refuses access ({error}): check the credentials in the environment (for s3:// AWS_ACCESS_KEY_ID, "
            f"AWS_SECRET_ACCESS_KEY or AWS_PROFILE) and what they are allowed to do."
        )
    if is_transient(error):
        return StorageError(
            f"{url} cannot be reached or keeps failing ({error}): check the network, the service and its address (for "
            f"s3:// AWS_ENDPOINT_URL), and run again; finished work is kept."
        )
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and the one that a file system translated into it."""
    yield error
    if error.__cause__ is not None:
        yield error.__cause__


def _http_status(error: BaseException) -> int | None:
    for link in _chain(error):
        metadata = _response(link).get("ResponseMetadata", {})
        attributes = (getattr(link, name, None) for name in ("status_code", "status", "code"))
        for value in (metadata.get("HTTPStatusCode"), *attributes):
            if isinstance(value, int | str) and str(value).isdigit():
                return int(value)
    return None


def _service_code(error: BaseException) -> str | None:
    for link in _chain(error):
        code = _response(link).get("Error", {}).get("Code") or getattr(link, "error_code", None)
        if code is not None:
            return str(code)
    return None


def _response(error: BaseException) -> Mapping[str, Any]:
    """Return the answer that botocore keeps with its errors; empty for other errors."""
    response = getattr(error, "response", None)
    return response if isinstance(response, Mapping) else {}


def _is_any(error: BaseException, names: frozenset[str]) -> bool:
    return any(
        f"{kind.__module__}.{kind.__qualname__}" in names for link in _chain(error) for kind in type(link).__mro__
    )
