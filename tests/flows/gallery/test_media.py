"""Files of avatars, their ranges, and nothing beside them."""

import os
import uuid
from pathlib import Path

import pytest
from gallery_library import FILM

from avatar_core.storage import open_location
from flows.delivery import FILES
from flows.gallery.media import Media, MissingFileError, content_type


@pytest.fixture(params=["local", "memory", "s3"])
def gallery(request, visit, library: Path, upload):
    if request.param == "local":
        return visit(library)
    memory = f"memory://{uuid.uuid4().hex}/library"
    return visit(upload(memory if request.param == "memory" else request.getfixturevalue("s3_library")))


def test_files_come_as_what_they_are(gallery) -> None:
    film = gallery.get("/media/ada/turntable.mp4")
    assert (film.content, film.headers["content-type"], film.headers["accept-ranges"]) == (FILM, "video/mp4", "bytes")
    model = gallery.get("/media/ada/avatar.glb")
    assert (model.content, model.headers["content-type"]) == (b"glTF", "model/gltf-binary")


def test_a_report_s_page_is_shown_and_can_do_nothing(visit, library: Path) -> None:
    page = library / "avatars/ada/report.html"
    page.write_text("<script>alert(1)</script><form method=post action='/avatars/ada/review'></form>")
    gallery = visit(library)
    assert "/media/ada/report.html" in gallery.get("/avatars/ada").text
    answer = gallery.get("/media/ada/report.html")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    (policy,) = answer.headers.get_list("content-security-policy")
    rules = dict(rule.strip().partition(" ")[::2] for rule in policy.split(";"))
    assert rules["sandbox"] == "allow-same-origin"  # no scripts, no forms
    assert rules["default-src"] == "'none'"
    assert "script-src" not in rules


def test_every_kind_of_file_that_avatars_have_is_known() -> None:
    assert all(content_type(name) for name in FILES)


def test_pages_and_thumbnails_come_from_anywhere(gallery) -> None:
    assert 'data-avatar="ada"' in gallery.get("/?q=red").text
    assert "1.72 m" in gallery.get("/avatars/ada").text
    assert gallery.get("/thumbnails/ada").headers["content-type"] == "image/webp"
    assert gallery.get("/thumbnails/ben").status_code == 404
    data = {"status": "approved", "key": "key-of-ada"}
    assert gallery.post("/avatars/ada/review", data=data).status_code == 303
    assert 'data-review="approved"' in gallery.get("/avatars/ada").text


@pytest.mark.parametrize(
    ("asked", "begin", "end"), [("bytes=0-99", 0, 100), ("bytes=10000-", 10000, 10240), ("bytes=-5", 10235, 10240)]
)
def test_players_get_the_range_that_they_ask_for(gallery, asked: str, begin: int, end: int) -> None:
    answer = gallery.get("/media/ada/turntable.mp4", headers={"Range": asked})
    assert answer.status_code == 206
    assert answer.content == FILM[begin:end]
    assert answer.headers["content-range"] == f"bytes {begin}-{end - 1}/{len(FILM)}"


def test_a_range_beyond_the_end_is_refused(gallery) -> None:
    answer = gallery.get("/media/ada/turntable.mp4", headers={"Range": "bytes=99999-"})
    assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{len(FILM)}")


def test_a_file_that_was_replaced_is_served_as_it_is_by_now(visit, library: Path, upload) -> None:
    for place in (str(library), upload(f"memory://{uuid.uuid4().hex}/library")):
        gallery = visit(place)
        assert gallery.get("/media/ada/avatar.glb").content == b"glTF"
        open_location(place).write("avatars/ada/avatar.glb", b"another")
        assert gallery.get("/media/ada/avatar.glb").content == b"another"


@pytest.mark.parametrize(
    "name", ["../../secret.txt", "..", "secret.txt", "", "/etc/passwd", "avatar.glb\0", "AVATAR.GLB"]
)
def test_no_other_name_is_a_file(library: Path, cache: Path, name: str) -> None:
    (library / "secret.txt").write_text("secret")
    with pytest.raises(MissingFileError):
        Media(open_location(library), cache).path("ada", name)


@pytest.mark.parametrize("avatar_id", ["..", ".", "", "../avatars/ada", "ada/../ada", "ada\\..", "a\0"])
def test_no_other_id_is_a_folder(library: Path, cache: Path, avatar_id: str) -> None:
    media = Media(open_location(library), cache)
    with pytest.raises(MissingFileError):
        media.path(avatar_id, "avatar.glb")
    assert media.files(avatar_id) == {}


@pytest.mark.parametrize("place", ["file", "folder"])
def test_links_do_not_lead_out_of_the_library(browser, library: Path, tmp_path: Path, place: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "avatar.glb").write_bytes(b"secret")
    target = library / "avatars/ada"
    if place == "file":
        (target / "avatar.glb").unlink()
        (target / "avatar.glb").symlink_to(outside / "avatar.glb")
    else:
        target.rename(tmp_path / "gone")
        target.symlink_to(outside)
    assert browser.get("/media/ada/avatar.glb").status_code == 404


def test_links_within_the_library_are_followed(browser, library: Path) -> None:
    model = library / "avatars/ada/avatar.glb"
    model.rename(library / "elsewhere.glb")
    model.symlink_to(library / "elsewhere.glb")
    assert browser.get("/media/ada/avatar.glb").content == b"glTF"


def test_what_is_no_plain_file_is_not_opened(browser, library: Path) -> None:
    model = library / "avatars/ada/avatar.glb"
    model.unlink()
    os.mkfifo(model)
    assert browser.get("/media/ada/avatar.glb").status_code == 404
    model.unlink()
    model.mkdir()
    assert browser.get("/media/ada/avatar.glb").status_code == 404


def test_an_avatar_that_the_manifest_does_not_know_has_no_files(browser, library: Path) -> None:
    (library / "avatars/ada").rename(library / "avatars/unknown")
    assert browser.get("/media/unknown/avatar.glb").status_code == 404
    assert browser.get("/media/ada/avatar.glb").status_code == 404


def test_addresses_with_a_version_may_be_kept(browser) -> None:
    assert "immutable" in browser.get("/media/ada/avatar.glb?v=key").headers["cache-control"]
    assert browser.get("/media/ada/avatar.glb").headers["cache-control"] == "no-cache"


def test_a_file_beyond_its_limit_is_not_read(library: Path, cache: Path, upload) -> None:
    for place in (str(library), upload(f"memory://{uuid.uuid4().hex}/library")):
        media = Media(open_location(place), cache)
        assert media.read("ada", "avatar.glb", 4) == b"glTF"
        for avatar_id, name, limit in (("ada", "avatar.glb", 3), ("ada", "motion.mp4", 99), ("..", "avatar.glb", 99)):
            with pytest.raises(MissingFileError):
                media.read(avatar_id, name, limit)
