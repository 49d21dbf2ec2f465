"""A library in a real browser: search, filter, open, watch it move, review by keyboard, at any width."""

import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsers import chromium, listened

from avatar_core.manifest import ManifestRecord, ManifestWriter, read_states

pytestmark = [pytest.mark.service, pytest.mark.e2e]

DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def library(tiny_library: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny avatars with a manifest that names them, and one that failed."""
    copy = shutil.copytree(tiny_library, tmp_path_factory.mktemp("gallery") / "people")
    looks = {"ada": "a woman in a long red dress", "bob": "a man in a green shirt and blue trousers"}
    with ManifestWriter(copy, "run") as writer:
        for name, look in looks.items():
            facts = {"appearance": look, "shape": "somebody", "motion": "moving", "tags": ("tiny", name), "seed": 0}
            writer.append(ManifestRecord(name, "catalog", "accepted", catalog="people.csv", line=2, **facts))
            writer.append(ManifestRecord(name, "export", "done", key=f"{name}-1", score=0.3))
        writer.append(ManifestRecord("cid", "texturing", "failed", error_kind="E", error_message="no", remedy="Again."))
    return copy


@pytest.fixture(scope="module")
def home(avatars, library: Path) -> Iterator[str]:
    """The address that `avatars gallery` prints, while it serves."""
    process: subprocess.Popen[str] = avatars.start("gallery", "--library", library, "--port", 0)
    line = process.stdout.readline()  # type: ignore[union-attr]
    address = re.search(r"http://127\.0\.0\.1:\d+/", line)
    assert address, line + (process.stderr.read() if process.poll() is not None else "")  # type: ignore[union-attr]
    yield address[0]
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "", "")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture
def page(browser: Any, home: str) -> Iterator[Any]:
    """The list of all avatars in a new window; nothing may go wrong in it."""
    window = browser.new_context(viewport=DESKTOP)
    opened = window.new_page()
    opened.heard = listened(opened)
    opened.goto(home)
    yield opened
    assert [text for text in opened.heard if "GPU stall" not in text] == []
    window.close()


def names(page: Any) -> list[str]:
    return page.eval_on_selector_all(".card", "cards => cards.map(card => card.dataset.avatar)")


def review_of(library: Path, avatar_id: str) -> str | None:
    (state,) = read_states(str(library), avatar_ids=[avatar_id]).to_pylist()
    return state["review"]


def test_search_and_filters_by_keyboard_and_pointer(page: Any) -> None:
    assert names(page) == ["ada", "bob", "cid"]
    page.keyboard.press("/")
    page.keyboard.type("green")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert names(page) == ["bob"]
    assert page.url.endswith("/?q=green")
    page.goto(page.url.partition("?")[0])
    page.click("text=Failed")
    page.wait_for_url("**/?state=failed")
    assert names(page) == ["cid"]
    page.goto(page.url.partition("?")[0])
    page.click("summary:has-text('Filters')")
    page.fill("input[name=tag]", "ada")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert names(page) == ["ada"]


def test_pictures_are_there_and_move_under_the_focus(page: Any) -> None:
    page.wait_for_function("() => [...document.images].every(image => image.complete && image.naturalWidth > 0)")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => document.querySelector('.card[data-avatar=ada] video')?.currentTime > 0")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => !document.querySelector('.card[data-avatar=ada] video')")


def test_an_avatar_plays_its_clips(page: Any) -> None:
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_selector("#viewer[data-ready=yes]")
    assert page.url.endswith("/avatars/ada")
    assert page.eval_on_selector_all(".clips button", "buttons => buttons.map(one => one.textContent)") == [
        "walking", "idle",
    ]  # fmt: skip
    moved = "pose => Math.max(...avatarPose().map((value, place) => Math.abs(value - pose[place]))) > 0.05"
    pose, picture = page.evaluate("avatarPose()"), page.locator("#viewer canvas").screenshot()
    assert len(pose) == 66 * 16
    page.wait_for_function(moved, arg=pose)
    assert page.locator("#viewer canvas").screenshot() != picture
    page.keyboard.press("2")
    page.wait_for_selector("#viewer[data-clip=idle]")
    page.keyboard.press(" ")
    page.wait_for_selector("#transport.paused")
    still = page.evaluate("avatarPose()")
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert page.evaluate("avatarPose()") == still
    page.click(".clips button:has-text('walking')")
    page.wait_for_selector("#viewer[data-clip=walking]")
    page.wait_for_function(moved, arg=still)


def test_reviews_by_keyboard_reach_the_manifest(page: Any, library: Path) -> None:
    page.keyboard.press("j")
    page.keyboard.press("Shift+A")
    page.wait_for_selector(".card[data-avatar=ada][data-review=approved]")
    page.wait_for_function("() => document.activeElement.closest('.card')?.dataset.avatar === 'bob'")
    assert review_of(library, "ada") == "approved"
    page.keyboard.press("Enter")
    page.wait_for_selector("#avatar[data-avatar=bob]")
    page.keyboard.press("r")
    page.wait_for_selector("#avatar[data-review=rejected]")
    assert review_of(library, "bob") == "rejected"
    page.keyboard.press("n")
    page.wait_for_selector("text=avatars retry --requested")
    assert review_of(library, "bob") == "requested"
    page.keyboard.press("u")
    page.wait_for_selector("#avatar[data-review='']")
    assert review_of(library, "bob") is None
    page.keyboard.press("k")
    page.wait_for_selector("#avatar[data-avatar=ada][data-review=approved]")
    page.keyboard.press("Escape")
    page.wait_for_selector(".card[data-avatar=ada] .badge.approved")
    page.keyboard.press("?")
    page.wait_for_selector("dialog[open]")


def test_a_review_of_what_was_made_again_is_refused_aloud(page: Any, library: Path) -> None:
    page.click(".card[data-avatar=bob] .picture")
    page.wait_for_selector("#avatar[data-avatar=bob]")
    with ManifestWriter(library, "another-run") as writer:
        writer.append(ManifestRecord("bob", "export", "done", key="bob-2", score=0.4))
    page.keyboard.press("a")
    page.wait_for_selector(".toast.bad:has-text('made again')")
    assert review_of(library, "bob") is None
    assert "409" in page.heard.pop()


def test_a_phone_needs_no_scrolling_sideways(browser: Any, home: str) -> None:
    window = browser.new_context(viewport=PHONE, has_touch=True, is_mobile=True)
    page = window.new_page()
    page.set_default_timeout(120_000)
    for address in ("", "?q=nobody", "avatars/ada", "avatars/cid", "nothing"):
        page.goto(home + address)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], address
    page.goto(home)
    page.tap(".card[data-avatar=ada] .picture")
    page.wait_for_selector("#viewer[data-ready=yes]")
    page.tap("#avatar .approve")
    page.wait_for_selector("#avatar[data-review=approved]")
    window.close()


def test_dark_where_people_like_it_dark(browser: Any, home: str) -> None:
    shades = {}
    for scheme in ("light", "dark"):
        window = browser.new_context(viewport=DESKTOP, color_scheme=scheme)
        page = window.new_page()
        page.goto(home)
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        shades[scheme] = sum(map(int, re.findall(r"\d+", colour)[:3])) / 3
        window.close()
    assert shades["dark"] < 60 < 200 < shades["light"]
