"""Pages show what the manifest says, escaped, and say what is wrong where something is."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from gallery_library import HOSTILE, REPORT

from avatar_core.manifest import ManifestRecord, ManifestWriter, compact
from flows.gallery.pages import PAGE


class Tags(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def shown(browser, address: str, status: int = 200) -> Tags:
    answer = browser.get(address)
    assert answer.status_code == status, answer.text
    return Tags(answer.text)


def names(page: Tags) -> list[str | None]:
    return [one["data-avatar"] for one in page.of("li") if "data-avatar" in one]


@pytest.mark.parametrize("compacted", [False, True])
def test_the_list_shows_every_avatar_with_how_it_stands(browser, library: Path, compacted: bool) -> None:
    if compacted:
        compact(library)
    page = shown(browser, "/")
    assert names(page) == ["ada", "ben", "cid", "eve"]
    assert "4 avatars" in page.text
    assert {one["data-state"] for one in page.of("li") if "data-state" in one} == {"done", "failed", "accepted"}
    assert "a woman in RED" in page.text


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("q=red", ["ada", "cid"]),
        ("state=failed", ["ben"]),
        ("stage=texturing", ["ben"]),
        ("tag=crowd&state=accepted", ["cid"]),
        ("least=0.3", ["ada"]),
        ("sort=worst", ["eve", "ada", "ben", "cid"]),
        ("review=approved", []),
        ("q=nobody+is+like+this", []),
    ],
)
def test_the_list_is_narrowed_and_ordered(browser, query: str, expected: list[str]) -> None:
    page = shown(browser, f"/?{query}")
    assert names(page) == expected
    if not expected:
        assert "Nothing matches" in page.text


@pytest.mark.parametrize(
    "address", ["/", "/avatars/eve", "/avatars/ben", "/cards", "/?q=%3Cscript%3E", f"/?tag={HOSTILE}"]
)
def test_whatever_prompts_hold_is_text(browser, address: str) -> None:
    """No element, no attribute and no template comes out of a prompt, an error, a tag or a report."""
    answer = browser.get(address)
    page = Tags(answer.text)
    assert all(set(one) <= {"src", "defer"} and one["src"] for one in page.of("script"))
    assert "alert" not in "".join(one.get("src") or "" for one in page.of("script"))
    assert not any(name.startswith("on") or name == "style" for _, one in page.found for name in one)
    assert "7006652" not in page.text
    assert not page.of("b")
    if "eve" in address:
        assert HOSTILE in page.text


def test_ids_that_no_catalog_would_give_are_text_and_lead_nowhere_else(browser, library: Path) -> None:
    awful = '"><img src=x>/../'
    with ManifestWriter(library, "run-2") as writer:
        writer.append(ManifestRecord(awful, "export", "done", key="k"))
    page = shown(browser, "/?q=img")
    assert names(page) == [awful]
    assert all((one["src"] or "").startswith(("/static/", "/thumbnails/%22%3E%3Cimg")) for one in page.of("img"))
    assert all((one["href"] or "").startswith(("/", "#")) for one in page.of("a"))


def test_an_avatars_page_tells_its_prompts_report_and_lineage(browser) -> None:
    page = shown(browser, "/avatars/ada?q=red")
    for text in ("a tall woman", "a woman in RED", "walking", "people.csv, line 2", "1.72 m", "1,992", "CC0-1.0"):
        assert text in page.text
    assert re.search(r"implicit init\s*coarse shape\s*not begun", page.text)
    assert re.search(r"texturing\s*implicit init\s*done\s*t-ada\s*1\s*5", page.text)
    assert [one["rel"] for one in page.of("a") if "rel" in one] == ["next"]
    assert "1 of 2" in page.text
    (viewer,) = [one for one in page.of("div") if "data-model" in one]
    assert viewer["data-model"] == "/media/ada/avatar.glb?v=key-of-ada"


def test_a_failed_avatars_page_tells_why_and_what_to_do(browser) -> None:
    page = shown(browser, "/avatars/ben")
    assert "texturing failed" in page.text
    assert "DivergenceError" in page.text
    assert "Try again." in page.text
    assert "There is no model yet." in page.text
    assert [one["value"] for one in page.of("button") if "value" in one] == ["requested", "withdrawn"]


def test_neighbours_are_those_of_the_list_that_it_was_opened_from(browser) -> None:
    page = shown(browser, "/avatars/cid?tag=crowd")
    assert {one["rel"]: one["href"] for one in page.of("a") if "rel" in one} == {
        "prev": "/avatars/ben?tag=crowd",
        "next": "/avatars/eve?tag=crowd",
    }
    alone = shown(browser, "/avatars/ada?tag=crowd")
    assert not [one for one in alone.of("a") if "rel" in one]


@pytest.mark.parametrize(
    "address",
    ["/avatars/zoe", "/avatars/..%2F..%2Fetc", "/nothing", "/thumbnails/zoe", "/media/zoe/avatar.glb",
     "/static/nothing.js", "/static/..%2Fapp.py", "/media/ada/motion.mp4", "/media/ada/secret.txt"],
)  # fmt: skip
def test_what_is_not_there_is_not_found(browser, address: str) -> None:
    assert browser.get(address).status_code == 404


@pytest.mark.parametrize(
    "address", ["/?state=dead", "/?page=0", "/?page=x", "/cards?page=99999999999", "/avatars/ada?least=x"]
)
def test_addresses_that_cannot_be_meant_are_explained(browser, address: str) -> None:
    assert "That did not work" in shown(browser, address, 400).text


def test_long_lists_come_in_pages_that_can_be_followed(browser, library: Path) -> None:
    with ManifestWriter(library, "run-2") as writer:
        writer.append(ManifestRecord(f"walker-{number:04d}", "export", "done", key="k") for number in range(2 * PAGE))
    page = shown(browser, "/?q=walker")
    (more,) = [one for one in page.of("a") if "data-cards" in one]
    assert len(names(page)) == PAGE
    part = shown(browser, more["data-cards"])
    assert names(part) == [f"walker-{number:04d}" for number in range(PAGE, 2 * PAGE)]
    assert not part.of("html")
    assert not [one for one in part.of("a") if "data-cards" in one]
    assert names(shown(browser, more["href"])) == names(part)
    assert names(shown(browser, "/cards?q=walker&page=7")) == []


def test_new_records_show_with_the_next_visit(browser, library: Path) -> None:
    shown(browser, "/")
    with ManifestWriter(library, "run-2") as writer:
        writer.append(ManifestRecord("cid", "export", "done", key="k"))
    assert names(shown(browser, "/?state=done")) == ["ada", "cid", "eve"]


def test_an_empty_library_says_how_to_fill_it(visit, tmp_path: Path) -> None:
    for library in (tmp_path / "new", "memory://nothing-here"):
        page = shown(visit(library), "/")
        assert "No avatars yet" in page.text
        assert "avatars run" in page.text


def test_a_damaged_manifest_is_named_until_it_is_mended(browser, library: Path) -> None:
    (part,) = library.glob("manifest/part-*.parquet")
    content = part.read_bytes()
    part.write_bytes(b"damaged")
    page = shown(browser, "/", 503)
    assert part.name in page.text
    part.write_bytes(content)
    assert len(names(shown(browser, "/"))) == 4


def test_a_report_that_is_none_is_said_to_be_none(browser, library: Path) -> None:
    (library / "avatars/ada/report.json").write_text("[" * 100_000)
    assert "cannot be read as a report" in shown(browser, "/avatars/ada").text
    assert REPORT["generator"] in shown(browser, "/avatars/eve").text


def test_where_a_library_lies_is_for_this_machine_to_know(visit, library: Path) -> None:
    with ManifestWriter(library, "run-2") as writer:
        writer.append(ManifestRecord.review("ada", "requested", "key-of-ada"))
    assert str(library) in shown(visit(library), "/avatars/ada").text
    assert str(library.parent) not in visit(library, "0.0.0.0", url="http://192.168.0.1:8765").get("/avatars/ada").text


def test_every_answer_forbids_scripts_from_elsewhere_and_frames(browser) -> None:
    for address in ("/", "/avatars/ada", "/nothing", "/media/ada/avatar.glb", "/static/gallery.js", "/thumbnails/ada"):
        headers = browser.get(address).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"


def test_a_request_to_another_name_is_refused(browser) -> None:
    answer = browser.get("/", headers={"Host": "evil.example"})
    assert answer.status_code == 421
    assert "ada" not in answer.text


def test_only_reading_and_posting_are_known(browser) -> None:
    for method in ("PUT", "DELETE", "OPTIONS", "PATCH"):
        assert browser.request(method, "/avatars/ada/review").status_code == 405
    assert browser.head("/").status_code == 200
