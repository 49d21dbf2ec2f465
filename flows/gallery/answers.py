"""What the gallery answers beside pages: files, thumbnails, reviews, signing in, and errors."""

from urllib.parse import parse_qs, urlencode, urlsplit

from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response

from avatar_core.errors import AvatarError, CatalogError, ConfigError
from avatar_core.manifest import REVIEWS, WITHDRAWN
from flows.delivery import PAGE
from flows.gallery.media import MissingFileError, content_type
from flows.gallery.pages import gallery_of, known_avatar
from flows.gallery.rendering import REVIEW_WORDS
from flows.gallery.reviews import ReviewError
from flows.gallery.thumbnails import ThumbnailError

MAX_FORM = 4096
"""Bytes of the longest form that is read."""
MAX_PREVIEW = 64 * 2**20
"""Bytes of the largest preview that is opened."""
PAGE_POLICY = (
    "sandbox allow-same-origin; default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; media-src 'self'; "
    "frame-ancestors 'none'"
)
"""For the pages of reports, which lie in the library: whoever wrote one, it runs and sends nothing."""
_KEEP = "private, max-age=31536000, immutable"
"""For addresses that change with what they stand for."""
NO_PICTURE = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 304 480"><g fill="none" stroke="#8a8d94" stroke-width="5" '
    b'stroke-linecap="round"><circle cx="152" cy="170" r="34"/><path d="M92 330c0-70 24-104 60-104s60 34 60 104"/>'
    b"</g></svg>"
)


def static_file(request: Request) -> Response:
    """Answer with a file that all pages share."""
    found = gallery_of(request).renderer.static.get(request.path_params["name"])
    if found is None:
        raise MissingFileError("There is no such file.")
    return Response(found.content, media_type=found.media_type, headers={"Cache-Control": _KEEP})


def thumbnail(request: Request) -> Response:
    """Answer with an avatar's thumbnail, or a picture that says that there is none."""
    gallery, avatar_id = gallery_of(request), request.path_params["avatar_id"]
    key = known_avatar(gallery.shelf.index(), avatar_id)["key"]
    try:
        if key is None:
            raise MissingFileError(f"{avatar_id} has no result yet.")
        picture = gallery.thumbnails.get(
            avatar_id, key, lambda: gallery.media.read(avatar_id, "preview.png", MAX_PREVIEW)
        )
    except (MissingFileError, ThumbnailError):
        return Response(NO_PICTURE, 404, media_type="image/svg+xml")
    return Response(picture, media_type="image/webp", headers={"Cache-Control": _lasting(request)})


def media_file(request: Request) -> Response:
    """Answer with a file of an avatar, or the ranges of it that were asked for."""
    gallery, name = gallery_of(request), request.path_params["name"]
    avatar_id = request.path_params["avatar_id"]
    known_avatar(gallery.shelf.index(), avatar_id)
    path = gallery.media.path(avatar_id, name)
    headers = {"Cache-Control": _lasting(request)}
    if name == PAGE:
        headers["Content-Security-Policy"] = PAGE_POLICY
    return FileResponse(path, media_type=content_type(name), headers=headers)


def _lasting(request: Request) -> str:
    return _KEEP if request.query_params.get("v") else "no-cache"


async def review(request: Request) -> Response:
    """Record a review: the fields `status` and `key` of a form; answers scripts with JSON, forms with the page."""
    gallery, avatar_id = gallery_of(request), request.path_params["avatar_id"]
    form = await _form(request)
    status, key = form.get("status", ""), form.get("key") or None
    if status not in (*REVIEWS, WITHDRAWN):
        raise ConfigError(f"status={status[:40]!r}: a review is one of {', '.join((*REVIEWS, WITHDRAWN))}.")
    given = await run_in_threadpool(gallery.reviews.give, avatar_id, status, key)
    after = BackgroundTask(gallery.reviews.tidy)
    if _is_script(request):
        said = "Review taken back." if given is None else f"{REVIEW_WORDS[given]}."
        return JSONResponse({"avatar_id": avatar_id, "review": given, "said": said}, background=after)
    return RedirectResponse(_own_address(form.get("next", "/")), 303, background=after)


async def sign_in(request: Request) -> Response:
    """Take the token of a form, and remember it in a cookie."""
    form = await _form(request)
    return _signed_in(request, form.get("token", ""), _own_address(form.get("next", "/")))


def sign_in_by_link(request: Request) -> Response | None:
    """Take the token of an address such as the one that `avatars gallery` prints; None where it has none."""
    token = request.query_params.get("token")
    if token is None:
        return None
    kept = urlencode([(name, value) for name, value in request.query_params.multi_items() if name != "token"])
    return _signed_in(request, token, request.url.path + (f"?{kept}" if kept else ""))


def _signed_in(request: Request, token: str, address: str) -> Response:
    access = gallery_of(request).access
    if not access.accepts(token):
        raise HTTPException(403, "That is not the token that this gallery was started with.")
    answer = RedirectResponse(_own_address(address), 303)
    answer.set_cookie(
        access.cookie, access.pass_word, httponly=True, samesite="strict", secure=request.url.scheme == "https"
    )
    return answer


async def _form(request: Request) -> dict[str, str]:
    """Return the fields of a small form."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM:
            raise HTTPException(413, "That form is too long.")
    try:
        return {name: values[-1] for name, values in parse_qs(body.decode(), max_num_fields=16).items()}
    except ValueError:
        raise HTTPException(400, "That is no form.") from None


def _own_address(address: str) -> str:
    """Return an address as a path of this gallery, never of another site."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return "/"
    path = "/" + parts.path.lstrip("/\\")
    return path + (f"?{parts.query}" if parts.query else "")


def _is_script(request: Request) -> bool:
    return "application/json" in request.headers.get("accept", "")


def explain(request: Request, error: Exception) -> Response:
    """Answer with what went wrong and what to do, as a page or as JSON."""
    status = _status(error)
    text = error.detail if isinstance(error, HTTPException) else str(error)
    if status == 404 and isinstance(error, HTTPException):
        text = "There is no such page."
    if _is_script(request):
        return JSONResponse({"error": text}, status)
    return gallery_of(request).page(request, "error.html", status, code=status, text=text)


def _status(error: Exception) -> int:
    if isinstance(error, HTTPException):
        return error.status_code
    if isinstance(error, ReviewError):
        return 409
    if isinstance(error, CatalogError):
        return 404
    if isinstance(error, ConfigError):
        return 400
    return 503 if isinstance(error, AvatarError) else 500
