"""Messages that docs/troubleshooting.md quotes are ones that the product says."""

import ast
import re
from functools import cache

import pytest
from pages import ROOT

PAGE = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
MESSAGES = [
    quoted for row in re.findall(r"^\| (\".*?) \|", PAGE, re.MULTILINE) for quoted in re.findall(r'"([^"]+)"', row)
]


@cache
def said() -> str:
    """All literal text of the source, with a gap for what is filled in."""
    texts = []
    for package in ("avatar_core", "tasks", "flows"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    texts.append("".join(str(p.value) if isinstance(p, ast.Constant) else "{}" for p in node.values))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    texts.append(node.value)
    return "\n".join(texts)


def test_the_page_quotes_messages():
    assert len(MESSAGES) > 20


@pytest.mark.parametrize("message", MESSAGES)
def test_the_product_says_it(message):
    assert message in said()
