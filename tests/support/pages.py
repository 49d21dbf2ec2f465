"""The project's pages: their links, anchors and shell commands."""

import re
import shlex
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
PROGRAMS = frozenset(
    {"avatars", "python", "pip", "pytest", "prefect", "docker", "kubectl", "export", "cd", "ruff", "mypy"}
)
"""What a line of a code block begins with where it is a command."""


def tokens(page: Path) -> list[Token]:
    """Return a page's tokens, those within lines too."""
    blocks = MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))
    return [one for block in blocks for one in (block, *(block.children or []))]


def links(page: Path) -> list[str]:
    """Return where a page's links and pictures lead."""
    found = [one.attrGet("href") or one.attrGet("src") for one in tokens(page) if one.type in ("link_open", "image")]
    return [str(one) for one in found if one]


def anchors(page: Path) -> set[str]:
    """Return the names of a page's headings, as GitHub makes them."""
    found = tokens(page)
    titles = [inline.content for one, inline in pairwise(found) if one.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def commands(page: Path) -> list[list[str]]:
    """Return the words of each command in a page's code blocks, without variables set before it."""
    found = []
    for one in tokens(page):
        if one.type not in ("code_block", "fence") or one.info not in ("", "sh", "bash"):
            continue
        for line in one.content.replace("\\\n", " ").splitlines():
            for part in line.split("&&"):
                words = shlex.split(part, comments=True)
                while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                    words = words[1:]
                if words and words[0] in PROGRAMS:
                    found.append(words)
    return found
