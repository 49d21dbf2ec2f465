"""Templates and what they need beside their page's own values: addresses, wording, the static files' versions."""

import hashlib
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from flows.cli.estimate import clock
from flows.gallery.search import Query
from flows.gallery.three import three_source

FOLDER = Path(__file__).parent
STATIC_TYPES: Mapping[str, str] = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
THREE = "three.js"

STATE_WORDS: Mapping[str, str] = {
    "done": "Finished",
    "failed": "Failed",
    "running": "Unfinished",
    "accepted": "Waiting",
}
REVIEW_WORDS: Mapping[str, str] = {"approved": "Approved", "rejected": "Rejected", "requested": "New seed asked for"}
SORT_WORDS: Mapping[str, str] = {
    "id": "By name",
    "newest": "Newest first",
    "score": "Best score first",
    "worst": "Worst score first",
}


@dataclass(frozen=True)
class StaticFile:
    """A file that all pages share."""

    content: bytes
    media_type: str

    @cached_property
    def version(self) -> str:
        """Changes with the content."""
        return hashlib.sha256(self.content).hexdigest()[:12]


def load_static() -> dict[str, StaticFile]:
    """Return the static files by name, three.js among them where this installation has it."""
    paths = [path for path in sorted((FOLDER / "static").iterdir()) if path.suffix in STATIC_TYPES]
    found = {path.name: StaticFile(path.read_bytes(), STATIC_TYPES[path.suffix]) for path in paths}
    three = three_source()
    return found if three is None else {**found, THREE: StaticFile(three, STATIC_TYPES[".js"])}


class Renderer:
    """Makes pages of one library; everything that is put into a page is escaped."""

    def __init__(self, library: str, *, local: bool) -> None:
        """`local`: whether only this machine's users see the pages, who may see where the library lies."""
        self.static = load_static()
        self._environment = Environment(
            loader=FileSystemLoader(FOLDER / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters.update(
            {"count": count, "seconds": clock, "score": _score, "when": _when, "words": _words, "short": _short}
        )
        self._environment.globals.update(
            {
                "library_name": library_name(library),
                "library_argument": shlex.quote(library) if local else "…",
                "states": STATE_WORDS,
                "reviews": REVIEW_WORDS,
                "sorts": SORT_WORDS,
                "has_three": THREE in self.static,
                "static": self._static_url,
                "avatar_url": avatar_url,
                "media_url": media_url,
                "thumbnail_url": thumbnail_url,
                "list_url": list_url,
            }
        )

    def render(self, template: str, values: Mapping[str, Any]) -> str:
        """Return a page."""
        return self._environment.get_template(template).render(values)

    def _static_url(self, name: str) -> str:
        return f"/static/{name}?v={self.static[name].version}"


def library_name(library: str) -> str:
    """Return what a library is called: the last part of its location, which holds no credentials."""
    return PurePosixPath(library.rstrip("/").partition("?")[0]).name or "library"


def list_url(query: Query, path: str = "/", **changes: Any) -> str:
    """Return the address of a list of avatars; `changes` are to the query, or the page."""
    page = changes.pop("page", None)
    link = "&".join(part for part in (query.link(**changes), f"page={page}" if page else "") if part)
    return f"{path}?{link}" if link else path


def avatar_url(avatar_id: str, query: Query) -> str:
    """Return the address of an avatar's page, which knows the list that it was opened from."""
    link = query.link()
    return f"/avatars/{quote(avatar_id, safe='')}" + (f"?{link}" if link else "")


def media_url(avatar_id: str, name: str, key: str | None) -> str:
    """Return the address of a file of an avatar."""
    return f"/media/{quote(avatar_id, safe='')}/{quote(name, safe='')}?v={quote((key or '')[:12], safe='')}"


def thumbnail_url(avatar_id: str, key: str | None) -> str:
    """Return the address of an avatar's thumbnail."""
    return f"/thumbnails/{quote(avatar_id, safe='')}?v={quote((key or '')[:12], safe='')}"


def count(number: int, noun: str = "") -> str:
    """Return a number, and what it counts: 1 avatar, 2,000 avatars."""
    return f"{number:,} {noun}{'s' * (number != 1)}" if noun else f"{number:,}"


def _score(value: float | None, digits: int = 3) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _when(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M} UTC"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _short(key: str | None) -> str:
    return (key or "")[:8]
