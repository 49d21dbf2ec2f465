"""What every request passes before a page sees it, and the headers that every answer carries."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flows.gallery.access import Access, same_origin

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",  # three.js unpacks a model's textures to blobs
        "media-src 'self'",
        "connect-src 'self' blob:",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
SIGN_IN = "/sign-in"
"""Where the token is given: the one address that takes a form without it."""
_READING = ("GET", "HEAD")


class Guard:
    """Refuses requests to other names, and writing from other origins or without the token."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-cache")
            await send(message)

        refused = self._refused(scope)
        await (refused or self._app)(scope, receive, send_guarded)

    def _refused(self, scope: Scope) -> PlainTextResponse | None:
        """Return the answer to a request that must not pass, None to one that may."""
        if scope["type"] != "http":
            return PlainTextResponse("There is nothing here but pages.\n", 404)
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._access.knows(hosts[0]):
            return PlainTextResponse(
                "This gallery does not go by that name. Open it by the address that `avatars gallery` printed, "
                "or start it with --allow-host NAME.\n",
                421,
            )
        if scope["method"] in _READING:
            return None
        if scope["method"] != "POST":
            return PlainTextResponse("Pages are read (GET) or written to (POST).\n", 405, {"Allow": "GET, HEAD, POST"})
        if not same_origin(headers):
            return PlainTextResponse("Writing is for this gallery's own pages.\n", 403)
        if scope["path"] != SIGN_IN and not self._access.may_write(headers.items()):
            return PlainTextResponse("Writing needs the token that the gallery was started with (--token).\n", 403)
        return None
