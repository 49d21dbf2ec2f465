"""Reviews go from a page into the manifest, from the right people and about what they saw."""

import uuid
from pathlib import Path

import pytest

from avatar_core.manifest import ManifestRecord, ManifestWriter, read_history, read_states
from avatar_core.manifest.layout import open_manifest
from flows.gallery import reviews
from flows.gallery.guard import SIGN_IN

TOKEN = "correct-horse-battery"
LAN = "http://192.168.0.1:8765"
JSON = {"Accept": "application/json"}


def give(browser, avatar_id: str = "ada", status: str = "approved", key: str = "key-of-ada", **headers: str):
    data = {"status": status, "key": key, "next": f"/avatars/{avatar_id}?q=red"}
    return browser.post(f"/avatars/{avatar_id}/review", data=data, headers=headers)


def review_of(library: object, avatar_id: str = "ada") -> str | None:
    (state,) = read_states(str(library), avatar_ids=[avatar_id]).to_pylist()
    return state["review"]


@pytest.mark.parametrize("status", ["approved", "rejected", "requested"])
def test_a_review_is_recorded_and_shown(visit, library: Path, upload, status: str) -> None:
    for place in (str(library), upload(f"memory://{uuid.uuid4().hex}/library")):
        browser = visit(place)
        answer = give(browser, status=status)
        assert (answer.status_code, answer.headers["location"]) == (303, "/avatars/ada?q=red")
        assert review_of(place) == status
        assert f'data-review="{status}"' in browser.get("/?q=ada").text
        assert "ada" not in browser.get("/?review=none").text.partition('id="cards"')[2]
        assert ("retry --requested" in browser.get("/?review=requested").text) == (status == "requested")


def test_scripts_are_answered_in_json(browser, library: Path) -> None:
    answer = give(browser, **JSON)
    assert answer.json() == {"avatar_id": "ada", "review": "approved", "said": "Approved."}
    answer = give(browser, status="withdrawn", **JSON)
    assert answer.json() == {"avatar_id": "ada", "review": None, "said": "Review taken back."}
    assert review_of(library) is None
    history = read_history(str(library), "ada").to_pylist()
    assert [one["status"] for one in history if one["stage"] == "review"] == ["approved", "withdrawn"]


def test_a_result_that_was_replaced_since_is_not_reviewed(browser, library: Path) -> None:
    with ManifestWriter(library, "run-2") as writer:
        writer.append(ManifestRecord("ada", "export", "done", key="another"))
    answer = give(browser, **JSON)
    assert answer.status_code == 409
    assert "made again" in answer.json()["error"]
    assert review_of(library) is None


def test_what_has_no_result_cannot_be_approved_and_what_failed_can_be_asked_for_again(browser, library: Path) -> None:
    assert give(browser, "ben", "approved", "").status_code == 409
    assert give(browser, "cid", "requested", "").status_code == 409
    assert give(browser, "ben", "requested", "").status_code == 303
    assert review_of(library, "ben") == "requested"


@pytest.mark.parametrize(
    ("avatar_id", "status", "expected"), [("zoe", "approved", 404), ("ada", "done", 400), ("ada", "", 400)]
)
def test_what_is_no_review_is_explained(browser, library: Path, avatar_id: str, status: str, expected: int) -> None:
    answer = give(browser, avatar_id, status, **JSON)
    assert answer.status_code == expected
    assert answer.json()["error"]
    assert review_of(library) is None


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://evil.example", "Host": "evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_pages_from_elsewhere_cannot_review(browser, library: Path, headers: dict[str, str]) -> None:
    assert give(browser, **headers).status_code in (403, 421)
    assert review_of(library) is None


def test_what_does_not_say_where_it_comes_from_cannot_review(browser, library: Path) -> None:
    del browser.headers["origin"]
    assert give(browser).status_code == 403
    assert review_of(library) is None


def test_a_get_changes_nothing(browser, library: Path) -> None:
    assert browser.get("/avatars/ada/review?status=approved&key=key-of-ada").status_code == 405
    assert review_of(library) is None


def test_beyond_this_machine_nobody_reviews_without_a_token(visit, library: Path) -> None:
    browser = visit(library, "0.0.0.0", url=LAN)
    page = browser.get("/avatars/ada")
    assert "--token" in page.text
    assert "/review" not in page.text
    assert give(browser).status_code == 403
    assert give(browser, Authorization="Bearer ").status_code == 403
    assert browser.post(SIGN_IN, data={"token": ""}).status_code == 403
    assert review_of(library) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
def test_with_a_token_those_who_have_it_review(visit, library: Path, host: str) -> None:
    url = LAN if host == "0.0.0.0" else "http://127.0.0.1:8765"
    browser = visit(library, host, TOKEN, url)
    assert "/review" not in browser.get("/avatars/ada").text
    assert give(browser).status_code == 403
    assert browser.post(SIGN_IN, data={"token": "wrong-horse-battery"}).status_code == 403
    assert give(browser).status_code == 403
    answer = browser.post(SIGN_IN, data={"token": TOKEN, "next": "/?q=red"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/?q=red")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert TOKEN not in cookie
    assert "/review" in browser.get("/avatars/ada").text
    assert give(browser).status_code == 303
    assert give(browser, Origin="http://evil.example").status_code == 403
    assert review_of(library) == "approved"


def test_a_bearers_token_is_enough_for_a_script(visit, library: Path) -> None:
    browser = visit(library, "0.0.0.0", TOKEN, LAN)
    del browser.headers["origin"]
    assert give(browser, Authorization="Bearer wrong-horse-battery").status_code == 403
    assert give(browser, Authorization=f"Bearer {TOKEN}", **JSON).status_code == 200
    assert review_of(library) == "approved"


def test_the_printed_link_signs_in_and_drops_the_token_from_the_address(visit, library: Path) -> None:
    browser = visit(library, "0.0.0.0", TOKEN, LAN)
    answer = browser.get(f"/?q=red&token={TOKEN}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/?q=red")
    assert give(browser).status_code == 303
    assert browser.get("/?token=wrong-horse-battery").status_code == 403


@pytest.mark.parametrize("address", ["https://evil.example/x", "//evil.example/x", "/\\evil.example/x", "javascript:x"])
def test_nobody_is_sent_elsewhere(browser, address: str) -> None:
    data = {"status": "approved", "key": "key-of-ada", "next": address}
    target = browser.post("/avatars/ada/review", data=data).headers["location"]
    assert target.startswith("/")
    assert not target.startswith(("//", "/\\"))


def test_a_form_that_is_too_long_is_not_read(browser) -> None:
    answer = browser.post("/avatars/ada/review", content=b"status=" + b"x" * 100_000, headers=JSON)
    assert answer.status_code == 413


def test_many_reviews_are_merged_now_and_then(browser, library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reviews, "COMPACT_AT_PARTS", 3)
    for status in ("approved", "rejected"):
        give(browser, status=status)
    folder = open_manifest(str(library))
    assert not any(name.startswith("snapshot-") for name in folder.files())
    give(browser, status="requested")
    assert any(name.startswith("snapshot-") for name in folder.files())
    assert review_of(library) == "requested"


def test_a_manifest_that_cannot_be_written_is_explained(browser, library: Path, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("avatar_core.manifest.writer.write_table", full)
    answer = give(browser, **JSON)
    assert answer.status_code == 503
    assert "No space left" in answer.json()["error"]
    monkeypatch.undo()
    assert review_of(library) is None
