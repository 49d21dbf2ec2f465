"""The page of one avatar's report: everything that it says, and nothing that a prompt could make of it."""

import json
import re
from html.parser import HTMLParser

import pytest
from sample_reports import HOSTILE, sample_report

from avatar_core.errors import ArtifactError
from avatar_core.reports.avatar_page import MAX_BYTES, avatar_page, marker, read_report

FILES = {
    "avatar.glb": 2_900_000, "preview.png": 500_000, "motion.webp": 66_000, "turntable.mp4": 130_000,
    "learning.png": 200_000, "report.json": 6_600,
}  # fmt: skip


class Page(HTMLParser):
    """Elements, their attributes and the text of a page; fails where elements are not closed."""

    VOID = {"meta", "img", "link", "br", "hr", "input"}

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1] != "style":
            self.text += data


def page_of(report: object, avatar_id: str = "ada", files: dict[str, int] = FILES) -> str:
    return avatar_page(avatar_id, json.dumps(report).encode(), files)


def text_of(report: object, **others: object) -> str:
    return " ".join(Page(page_of(report, **others)).text.split())


def test_it_says_what_the_report_says():
    text = text_of(sample_report())
    for said in (
        "a man in a red shirt", "walking", "preset draft", "seed 3", "0.300", "0.210", "36,000", "0.10 %", "×2.00",
        "1.00 mm", "2048 px", "0.40 %", "NVIDIA H100", "red shirt", "under conditions", "mocap.cs.cmu.edu",
        "Copyright (c) 2018 Xue Bin Peng", "front", "back", "1 min 06 s", "100 steps", "without any incident",
        "No measure is beyond its limit.",
    ):  # fmt: skip
        assert said.replace("2048", "2,048") in text, said


def test_what_is_beyond_a_limit_is_worth_a_look():
    text = text_of(sample_report(mesh__watertight=False, motion__foot_skate_mm=12.5))
    assert re.search(r"Worth a look.*Watertight: no.*Foot skating: 12\.50 mm", text)
    assert "No measure is beyond" not in text


def test_incidents_are_told():
    event = {"step": 43, "kind": "divergence", "reason": "the loss is nan", "back_to": 40}
    assert "Step 43: the loss is nan (divergence)" in text_of(sample_report(texturing__events=[event]))


def test_pictures_and_films_are_shown_where_they_are_and_lie_beside_the_page():
    page = Page(page_of(sample_report()))
    shown = [attributes["src"] for tag, attributes in page.elements if tag in ("img", "video")]
    assert shown == ["preview.png", "motion.webp", "turntable.mp4", "learning.png"]
    bare = Page(page_of(sample_report(), files={"report.json": 1}))
    assert not [tag for tag, _ in bare.elements if tag in ("img", "video")]


def test_no_text_becomes_markup():
    report = sample_report(
        prompts={"shape": HOSTILE, "appearance": HOSTILE, "motion": HOSTILE, HOSTILE: HOSTILE},
        preset=HOSTILE, keys={HOSTILE: HOSTILE}, versions={HOSTILE: HOSTILE}, outfit={"worn": {HOSTILE: HOSTILE}},
        body={HOSTILE: 0.5}, weights={HOSTILE: {"name": HOSTILE, "digest": HOSTILE, "licence": HOSTILE}},
        judge={"name": HOSTILE, "digest": HOSTILE, "licence": HOSTILE, "scores": {}},
        views=[{"prompt": HOSTILE, "azimuth_degrees": 1.0, "guide": 0.1, "judge": None}],
        texturing__events=[{"step": 1, "kind": HOSTILE, "reason": HOSTILE}],
        costs={"texturing": {"seconds": 1, "peak_mb": 1, "device": HOSTILE}},
    )  # fmt: skip
    html = page_of(report, avatar_id=HOSTILE)
    page = Page(html)
    assert "script" not in {tag for tag, _ in page.elements}
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert {attributes.get("src") for tag, attributes in page.elements if tag == "img"} == {
        "preview.png", "motion.webp", "learning.png",
    }  # fmt: skip
    assert HOSTILE in page.text
    assert "49" not in re.sub(r"[0-9a-f]{12,}", "", page.text).replace("{{ 7 * 7 }}", "")
    assert html.count("-->") == 1, "nothing but the marker is a comment"


def test_a_link_goes_to_the_web_only():
    """Where models come from is text of the registry, and a hostile report cannot add to it."""
    hrefs = [attributes["href"] for tag, attributes in Page(page_of(sample_report())).elements if tag == "a"]
    assert all(href.startswith(("https://", "http://")) or href in FILES for href in hrefs)


def test_scripts_are_refused_by_policy():
    page = Page(page_of(sample_report()))
    policies = [one["content"] for tag, one in page.elements if tag == "meta" and "http-equiv" in one]
    assert policies == ["script-src 'none'; object-src 'none'; base-uri 'none'; form-action 'none'"]


@pytest.mark.parametrize(
    "report",
    [
        {},
        {"mesh": None, "views": 3, "weights": [], "judge": "x", "timings_s": [1], "prompts": "a man", "costs": 1},
        {"mesh": {"faces": "many", "watertight": "yes"}, "final_scores": {"body": None, "face": True}},
        {"timings_s": {"texturing": 1e308, "export.x": 1e308}, "seed": 10**400, "body": {"height": 1e300}},
        {"views": [None, {"prompt": []}], "texturing": {"events": [3, {"step": "x"}], "steps": "many"}},
        {"weights": {"body": None, "encoder": {"name": {}, "digest": []}}, "texture": {"refinement": 4}},
    ],
)
def test_reports_that_lack_things_or_hold_others_give_a_page_too(report):
    assert "ada" in text_of(report)


def test_a_report_of_the_version_before_gives_a_page_without_what_it_lacks():
    report = sample_report(schema_version=5)
    for name in ("views", "judge", "costs"):
        del report[name]
    del report["mesh"]["self_intersecting"]
    text = text_of(report)
    assert "Triangles that cut others" not in text
    assert "Second: none" in text
    assert "36,000" in text


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe", b"[" * 200_000, b" " * (MAX_BYTES + 1)])
def test_what_is_no_report_is_refused(content):
    with pytest.raises(ArtifactError, match=r"report\.json cannot be read"):
        read_report(content)
    with pytest.raises(ArtifactError):
        avatar_page("ada", content, {})


def test_equal_reports_give_equal_pages_and_other_reports_other_marks():
    one, other = json.dumps(sample_report()).encode(), json.dumps(sample_report(seed=4)).encode()
    assert avatar_page("ada", one, FILES) == avatar_page("ada", one, FILES)
    assert marker(one) in avatar_page("ada", one, FILES)[:256]
    assert marker(one) != marker(other)
