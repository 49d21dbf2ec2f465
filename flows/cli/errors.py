"""Errors as a user sees them: one message, what to do, and an exit status; never a traceback."""

import functools
import logging
import os
import sys
from collections.abc import Callable
from typing import Any

import typer
from rich.console import Console

from avatar_core.errors import AvatarError

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
DEBUG_VARIABLE = "AVATARS_DEBUG"

logger = logging.getLogger(__name__)


def friendly(command: Callable[..., None]) -> Callable[..., None]:
    """Wrap a subcommand: errors that users can cure end it with status 2, others with status 1.

    AVATARS_DEBUG=1 lets tracebacks through.
    """

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except AvatarError as error:
            if os.environ.get(DEBUG_VARIABLE):
                raise
            logger.error("%s", error, exc_info=error)
            say_error(str(error))
            raise typer.Exit(EXIT_USAGE) from None
        except KeyboardInterrupt:
            say_error("Stopped. Nothing that was finished is lost: give the same command again to go on.")
            raise typer.Exit(EXIT_INTERRUPTED) from None
        except BrokenPipeError:  # the reader of a pipe, such as `head`, has seen enough
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - replaces the pipe until the process ends
            raise typer.Exit(EXIT_FAILED) from None
        except (typer.Exit, typer.Abort):
            raise
        except Exception as error:
            if os.environ.get(DEBUG_VARIABLE):
                raise
            logger.critical("Unexpected error", exc_info=error)
            say_error(
                f"Unexpected {type(error).__name__}: {error}\n"
                f"This is a defect. {_where_logged()}Set {DEBUG_VARIABLE}=1 to see the traceback here."
            )
            raise typer.Exit(EXIT_FAILED) from None

    return wrapped


def say_error(message: str) -> None:
    """Print an error to standard error."""
    Console(stderr=True, soft_wrap=True).print(f"Error: {message}", style="red", markup=False, highlight=False)


def _where_logged() -> str:
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            return f"Details are in {handler.baseFilename}. "
    return ""
