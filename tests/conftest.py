"""What tests of several packages share."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two finished avatars, ada and bob, in a library's layout; read only: copy what a test changes."""
    from tiny_avatars import make_library

    return make_library(tmp_path_factory.mktemp("tiny") / "library")
