"""Browsers of a small library's gallery."""

from collections.abc import Callable
from pathlib import Path

import pytest
from gallery_library import fill
from starlette.testclient import TestClient

from avatar_core.storage import open_location
from flows.gallery.access import Access
from flows.gallery.app import create_app

HOME = "http://127.0.0.1:8765"


@pytest.fixture
def library(tmp_path: Path) -> Path:
    folder = tmp_path / "library"
    fill(str(folder), folder)
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def visit(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., TestClient]:
    """Opens the gallery of a library in a browser, which looks at the manifest with each request."""
    monkeypatch.setattr("flows.gallery.shelf.REFRESH_SECONDS", 0.0)
    monkeypatch.setattr("flows.gallery.shelf.PATIENCE_SECONDS", 600.0)

    def opened(library: object, host: str = "127.0.0.1", token: str = "", url: str = HOME) -> TestClient:
        app = create_app(str(library), Access(host, 8765, token), cache)
        return TestClient(app, base_url=url, headers={"Origin": url}, follow_redirects=False)

    return opened


@pytest.fixture
def browser(library: Path, visit: Callable[..., TestClient]) -> TestClient:
    return visit(library)


@pytest.fixture
def upload(library: Path) -> Callable[[str], str]:
    """Copies the library to another place and returns its URL."""

    def uploaded(url: str) -> str:
        target = open_location(url)
        for path in library.rglob("*"):
            if path.is_file():
                target.upload(path, path.relative_to(library).as_posix())
        return url

    return uploaded
