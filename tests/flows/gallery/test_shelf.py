"""A gallery knows its library as it is by now, and does not wait long for that."""

import threading
from pathlib import Path

import pytest

from avatar_core.errors import ManifestError
from avatar_core.manifest import ManifestRecord, ManifestWriter
from flows.gallery import shelf as shelves
from flows.gallery.shelf import Shelf


def write(library: Path, avatar_id: str) -> None:
    with ManifestWriter(library, "run") as writer:
        writer.append(ManifestRecord(avatar_id, "export", "done", key="k"))


def test_what_is_known_is_kept_for_a_while(tmp_path: Path) -> None:
    write(tmp_path, "a")
    shelf = Shelf(str(tmp_path))
    known = shelf.index()
    write(tmp_path, "b")
    assert shelf.index() is known
    assert len(shelf.index(fresh=True)) == 2


def test_then_it_is_looked_for_news(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelves, "REFRESH_SECONDS", 0.0)
    monkeypatch.setattr(shelves, "PATIENCE_SECONDS", 600.0)
    shelf = Shelf(str(tmp_path))
    assert len(shelf.index()) == 0
    write(tmp_path, "a")
    known = shelf.index()
    assert len(known) == 1
    assert shelf.index() is known


def test_a_page_does_not_wait_for_a_long_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelves, "REFRESH_SECONDS", 0.0)
    monkeypatch.setattr(shelves, "PATIENCE_SECONDS", 0.01)
    shelf = Shelf(str(tmp_path))
    known = shelf.index()
    write(tmp_path, "a")
    go_on, refresh = threading.Event(), shelf._follower.refresh

    def slow() -> bool:
        assert go_on.wait(60)
        return refresh()

    monkeypatch.setattr(shelf._follower, "refresh", slow)
    assert shelf.index() is known
    go_on.set()
    assert len(shelf.index(fresh=True)) == 1


def test_a_manifest_that_cannot_be_read_is_tried_again_with_each_page(tmp_path: Path) -> None:
    write(tmp_path, "a")
    (part,) = tmp_path.glob("manifest/part-*.parquet")
    content = part.read_bytes()
    part.write_bytes(b"damaged")
    shelf = Shelf(str(tmp_path))
    for _ in range(2):
        with pytest.raises(ManifestError, match=part.name):
            shelf.index()
    part.write_bytes(content)
    assert len(shelf.index()) == 1
