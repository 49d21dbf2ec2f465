"""The `avatars` command."""

from flows.cli import clock  # noqa: F401 - first, so that it sees the imports below
from flows.cli.app import main

__all__ = ["main"]
