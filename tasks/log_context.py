"""What log records are about, and records as JSON: one object a line, for the collectors of a fleet."""

import contextlib
import contextvars
import json
import logging
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from types import MappingProxyType

FIELDS = ("run_id", "avatar_id", "stage", "key")
"""What a record may be about, each where it is known."""

_facts: contextvars.ContextVar[Mapping[str, str]] = contextvars.ContextVar("log_facts", default=MappingProxyType({}))


@contextlib.contextmanager
def working_on(**facts: str) -> Iterator[None]:
    """Have log records of the block, on this thread, say what they are about; `facts` are named as in FIELDS.

    Blocks may be nested: what an inner one does not name stays. Raises TypeError for other names.
    """
    unknown = facts.keys() - set(FIELDS)
    if unknown:
        raise TypeError(f"log records are not about {', '.join(sorted(unknown))}: use {', '.join(FIELDS)}")
    token = _facts.set({**_facts.get(), **facts})
    try:
        yield
    finally:
        _facts.reset(token)


class ContextFilter(logging.Filter):
    """Lets every record pass, and gives it the facts of `working_on` as attributes that it has not got yet."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return True."""
        for name, value in _facts.get().items():
            if not hasattr(record, name):
                setattr(record, name, value)
        return True


class JsonFormatter(logging.Formatter):
    """Writes a record as one line of JSON: time (UTC), level, logger, message, FIELDS and the traceback, if any."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        content = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        content |= {name: str(getattr(record, name)) for name in FIELDS if hasattr(record, name)}
        if record.exc_info:
            content["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            content["stack"] = record.stack_info
        return json.dumps(content, ensure_ascii=False)
