"""Who may do what: the names a gallery answers to, the token that writing needs, and where a request came from."""

import hashlib
import hmac
import ipaddress
import platform
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from avatar_core.errors import ConfigError

MIN_TOKEN = 12
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Access:
    """The rules of one gallery, which listens on `host` and `port`."""

    host: str
    port: int
    token: str = ""
    """What writing needs; empty: nothing on this machine's own address, and no writing elsewhere."""
    names: frozenset[str] = field(default_factory=frozenset)
    """Further host names that it is reached by, such as that of a proxy before it."""

    def __post_init__(self) -> None:
        """Raise ConfigError for a token that could be guessed or not be sent."""
        if self.token and not (len(self.token) >= MIN_TOKEN and self.token.isascii() and self.token.isprintable()):
            raise ConfigError(
                f"--token: give at least {MIN_TOKEN} ASCII characters, such as those that "
                "`python -c 'import secrets; print(secrets.token_urlsafe())'` prints."
            )

    @cached_property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return all(ipaddress.ip_address(address).is_loopback for address in _addresses(self.host))

    @property
    def writable(self) -> bool:
        """Whether anybody may write."""
        return bool(self.token) or self.loopback

    @property
    def cookie(self) -> str:
        """Name of the cookie that shows that the token was given; browsers keep one jar for all ports of a host."""
        return f"avatars-gallery-{self.port}"

    @property
    def pass_word(self) -> str:
        """What the cookie holds: a digest, so that the token itself lies in no browser."""
        return hmac.new(self.token.encode(), b"avatars gallery", hashlib.sha256).hexdigest()

    def knows(self, host_header: str) -> bool:
        """Tell whether a request was sent to a name of this gallery.

        A page elsewhere that has its own name point here (DNS rebinding) comes with that name; it cannot come with an
        address.
        """
        name = _host_name(host_header)
        if name is None:
            return False
        if name in LOOPBACK_NAMES or name == self.host.lower() or name in self.names:
            return True
        return not self.loopback and (_is_address(name) or name in self._own_names)

    @cached_property
    def _own_names(self) -> frozenset[str]:
        return frozenset(name.lower() for name in (platform.node(), socket.getfqdn()) if name)

    def has_token(self, headers: Iterable[tuple[str, str]]) -> bool:
        """Tell whether a request's headers carry the token, as a bearer's or in the cookie."""
        for name, value in headers:
            if name == "authorization" and _same(value, f"Bearer {self.token}"):
                return True
            if name == "cookie" and _same(_cookie(value, self.cookie), self.pass_word):
                return True
        return False

    def may_write(self, headers: Iterable[tuple[str, str]]) -> bool:
        """Tell whether the sender of a request may write."""
        return self.has_token(headers) if self.token else self.loopback

    def accepts(self, token: str) -> bool:
        """Tell whether somebody gave the right token."""
        return bool(self.token) and _same(token, self.token)


def same_origin(headers: Mapping[str, str]) -> bool:
    """Tell whether a request to write came from a page of the host that it was sent to.

    Browsers say where from: in Origin with every POST, in Sec-Fetch-Site where they know it. What says nothing is no
    browser; it needs a bearer's token, which no page elsewhere can send along.
    """
    if headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return False
    origin = headers.get("origin")
    if origin is None:
        return headers.get("authorization", "").startswith("Bearer ")
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == headers.get("host", "").lower()


def _same(given: str, expected: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), expected.encode())


def _cookie(header: str, name: str) -> str:
    try:
        found = SimpleCookie(header).get(name)
    except CookieError:
        return ""
    return found.value if found else ""


def _host_name(header: str) -> str | None:
    """Return the host of a Host header in small letters, without its port and brackets; None if it is none."""
    try:
        parts = urlsplit(f"//{header}")
        named, _ = parts.hostname, parts.port
    except ValueError:
        return None
    bare = parts.username is None and parts.password is None and not (parts.path or parts.query or parts.fragment)
    return named.rstrip(".") if named and bare else None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _addresses(host: str) -> list[str]:
    """Return the addresses of a host; raises ConfigError where it has none."""
    if _is_address(host):
        return [host]
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ConfigError(f"--listen {host}: {error.strerror}. Give a name or an address of this machine.") from error
    return [str(entry[4][0]).partition("%")[0] for entry in found]
