"""The gallery as an ASGI application."""

import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from avatar_core.errors import AvatarError
from avatar_core.storage import cache_root
from flows.gallery import answers, pages
from flows.gallery.access import Access
from flows.gallery.guard import SIGN_IN, Guard
from flows.gallery.media import Media
from flows.gallery.pages import Gallery
from flows.gallery.rendering import Renderer
from flows.gallery.reviews import Reviews
from flows.gallery.shelf import Shelf
from flows.gallery.thumbnails import Thumbnails

logger = logging.getLogger(__name__)

Page = Callable[[Request], Response]


def create_app(library: str, access: Access, cache: Path | None = None) -> ASGIApp:
    """Return the gallery of a library, which keeps thumbnails and copies of remote files in the folder `cache`.

    Its manifest is read with the first request, or when the server starts. Raises ConfigError for a library location
    that cannot be used.
    """
    shelf, folder = Shelf(library), cache or cache_root() / "gallery"
    gallery = Gallery(
        shelf=shelf,
        media=Media(shelf.location, folder / "files"),
        thumbnails=Thumbnails(shelf.location, folder / "thumbnails"),
        reviews=Reviews(shelf),
        access=access,
        renderer=Renderer(library, local=access.loopback),
    )
    app = Starlette(
        routes=[
            Route("/", _page(pages.show_list)),
            Route("/cards", pages.show_cards),
            Route("/avatars/{avatar_id}", _page(pages.show_avatar)),
            Route("/avatars/{avatar_id}/review", answers.review, methods=["POST"]),
            Route("/thumbnails/{avatar_id}", answers.thumbnail),
            Route("/media/{avatar_id}/{name}", answers.media_file),
            Route("/static/{name}", answers.static_file),
            Route(SIGN_IN, answers.sign_in, methods=["POST"]),
        ],
        exception_handlers={AvatarError: answers.explain, HTTPException: answers.explain},
        lifespan=_lifespan,
    )
    app.state.gallery = gallery
    return Guard(app, access)


def _page(show: Page) -> Page:
    """Return a page that also takes the token of its address."""

    def shown(request: Request) -> Response:
        return answers.sign_in_by_link(request) or show(request)

    return shown


@contextlib.asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    """Read the manifest before the first visitor comes, and keep the cache within its budget."""
    gallery: Gallery = app.state.gallery
    await run_in_threadpool(_warm, gallery)
    yield


def _warm(gallery: Gallery) -> None:
    try:
        gallery.shelf.index()
    except AvatarError as error:
        logger.warning("%s", error)  # each page says so, until it is mended
    gallery.thumbnails.prune()
