"""Logging of a command: details into a file, nothing but our own words on the screen."""

import logging
import os
import warnings
from pathlib import Path

from tasks.log_context import ContextFilter, JsonFormatter

LOG_VARIABLE = "AVATARS_LOG"
"""Environment variable that chooses the format of log files, `text` or `json`; child processes go by it, too."""
FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
OURS = ("avatar_core", "tasks", "flows")
_PREFECT_HANDLERS = ("PrefectConsoleHandler", "_SafeStreamHandler")


def log_to_file(path: Path) -> None:
    """Send this process's log records and warnings to `path`, in the format of LOG_VARIABLE; none to the screen."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, delay=True, encoding="utf-8")
    as_json = os.environ.get(LOG_VARIABLE) == "json"
    handler.setFormatter(JsonFormatter() if as_json else logging.Formatter(FORMAT))
    handler.addFilter(ContextFilter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    for name in OURS:
        logging.getLogger(name).setLevel(logging.INFO)
    logging.captureWarnings(True)
    warnings.simplefilter("default")


def quiet_prefect() -> None:
    """Take Prefect's loggers off the screen: their records go where the root logger's go.

    Importing prefect configures logging, so this is called after that. Its API handlers, which feed the pages of a
    server that the user runs, stay.
    """
    root = logging.getLogger()
    ours = [handler for handler in root.handlers if type(handler).__name__ not in _PREFECT_HANDLERS]
    root.handlers = ours or [logging.NullHandler()]  # without any, logging's last resort prints to the screen
    names = [name for name in logging.root.manager.loggerDict if name.split(".")[0] in ("prefect", "uvicorn")]
    for name in names:
        logger = logging.getLogger(name)
        kept = [handler for handler in logger.handlers if type(handler).__name__ not in _PREFECT_HANDLERS]
        if len(kept) != len(logger.handlers):
            logger.handlers = kept
            logger.propagate = True


def quiet_transformers() -> None:
    """Take transformers' bars and messages off the screen; its records go where the root logger's go."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    transformers_logging.disable_default_handler()
    transformers_logging.enable_propagation()
