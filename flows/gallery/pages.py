"""The gallery's pages: lists of avatars, and one avatar."""

from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from avatar_core.errors import ConfigError
from avatar_core.manifest import REVIEWS
from flows.gallery.access import Access
from flows.gallery.facts import MAX_BYTES, Facts, read_facts
from flows.gallery.lineage import read_lineage
from flows.gallery.media import Media, MissingFileError
from flows.gallery.rendering import Renderer
from flows.gallery.reviews import Reviews
from flows.gallery.search import UNREVIEWED, Index, Query
from flows.gallery.shelf import Shelf
from flows.gallery.thumbnails import Thumbnails
from tasks.work import STAGES

PAGE = 60
"""Avatars of one page of a list."""


@dataclass(frozen=True)
class Gallery:
    """Everything that pages are made of."""

    shelf: Shelf
    media: Media
    thumbnails: Thumbnails
    reviews: Reviews
    access: Access
    renderer: Renderer

    def page(self, request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        """Return a page with what all of them show."""
        common = {
            "can_write": self.access.may_write(request.headers.items()),
            "wants_token": bool(self.access.token) and not self.access.has_token(request.headers.items()),
            "writable": self.access.writable,
        }
        return HTMLResponse(self.renderer.render(template, common | values), status)


def gallery_of(request: Request) -> Gallery:
    """Return the gallery that a request was sent to."""
    return request.app.state.gallery


def show_list(request: Request) -> Response:
    """Answer with the list of avatars that were looked for."""
    gallery, query = gallery_of(request), Query.parse(request.query_params)
    index = gallery.shelf.index()
    return gallery.page(
        request,
        "list.html",
        **_some_avatars(index, query, request),
        states_count=index.counts("state"),
        reviews_count={**dict.fromkeys(REVIEWS, 0), **(counted := index.counts("review"))}
        | {UNREVIEWED: len(index) - sum(counted.values())},
        all_count=len(index),
        tags=index.tags,
        stages=STAGES,
    )


def show_cards(request: Request) -> Response:
    """Answer with a further page of a list, to be added to it."""
    gallery, query = gallery_of(request), Query.parse(request.query_params)
    return gallery.page(request, "cards.html", **_some_avatars(gallery.shelf.index(), query, request))


def show_avatar(request: Request) -> Response:
    """Answer with everything about one avatar."""
    gallery, query = gallery_of(request), Query.parse(request.query_params)
    avatar_id, index = request.path_params["avatar_id"], gallery.shelf.index()
    avatar = known_avatar(index, avatar_id)
    files = gallery.media.files(avatar_id)
    before, after, place, total = _neighbours(index, query, avatar_id)
    return gallery.page(
        request,
        "avatar.html",
        avatar=avatar,
        query=query,
        files=files,
        facts=_facts(gallery, avatar_id) if "report.json" in files else None,
        lineage=read_lineage(gallery.shelf.library, avatar_id),
        before=before,
        after=after,
        place=place,
        total=total,
    )


def known_avatar(index: Index, avatar_id: str) -> dict[str, Any]:
    """Return an avatar's row of the index; raises MissingFileError for an unknown one."""
    row = index.row_of(avatar_id)
    if row is None:
        raise MissingFileError(f"This library has no avatar {avatar_id!r}.")
    return index.read([row])[0]


def _some_avatars(index: Index, query: Query, request: Request) -> dict[str, Any]:
    """Return a page's avatars, and what comes after them."""
    rows = index.find(query)
    page = _page_number(request)
    shown = rows[(page - 1) * PAGE : page * PAGE]
    return {
        "query": query,
        "avatars": index.read(shown),
        "found": len(rows),
        "page": page,
        "next_page": page + 1 if page * PAGE < len(rows) else None,
    }


def _page_number(request: Request) -> int:
    text = request.query_params.get("page", "1")
    if not (text.isascii() and text.isdecimal() and len(text) <= 9 and int(text) >= 1):
        raise ConfigError(f"page={text[:40]!r}: pages are numbered from 1.")
    return int(text)


def _neighbours(index: Index, query: Query, avatar_id: str) -> tuple[str | None, str | None, int | None, int]:
    """Return the avatars before and after one in a list, its place from 1, and how many there are.

    An avatar that is not in the list, say because it was reviewed by now, has none.
    """
    rows, row = index.find(query), index.row_of(avatar_id)
    places = (rows == row).nonzero()[0]
    if len(places) == 0:
        return None, None, None, len(rows)
    place = int(places[0])
    around = [rows[at] if 0 <= at < len(rows) else None for at in (place - 1, place + 1)]
    before, after = (None if at is None else index.read([at])[0]["avatar_id"] for at in around)
    return before, after, place + 1, len(rows)


def _facts(gallery: Gallery, avatar_id: str) -> Facts | None:
    try:
        return read_facts(gallery.media.read(avatar_id, "report.json", MAX_BYTES))
    except MissingFileError:
        return None
