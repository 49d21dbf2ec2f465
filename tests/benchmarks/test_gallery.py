"""The gallery's benchmark runs, on a small scale."""

from pathlib import Path

from .test_manifest import run


def test_every_figure_of_a_gallery_is_measured(tmp_path: Path) -> None:
    result = run("gallery", "--rows", 1500, out=tmp_path / "figures.json")
    figures = {(figure["part"], figure["name"], figure["setting"]): figure["value"] for figure in result["figures"]}
    assert figures["pages", "first page", "first"] > 0
    assert figures["searches", "two words", "again"] > 0
    assert figures["reviews", "until a review counts", ""] > 0
    assert figures["memory", "peak of the process", ""] > 0
