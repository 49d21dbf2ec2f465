"""Who may look, who may write, and which requests do not count whoever sends them."""

import pytest

from avatar_core.errors import ConfigError
from flows.gallery.access import Access, same_origin

TOKEN = "correct-horse-battery"
HERE = Access("127.0.0.1", 8765)
EVERYWHERE = Access("0.0.0.0", 8765, names=frozenset({"gallery.studio.example"}))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8765", "localhost:8765", "LOCALHOST", "[::1]:8765"])
def test_this_machine_goes_by_its_loopback_names(host: str) -> None:
    assert HERE.knows(host)


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "localhost.evil.example", "192.168.1.7", "",
     ":8765", "user@127.0.0.1", "127.0.0.1/x", "127.0.0.1:port", "[::1"],
)  # fmt: skip
def test_other_names_are_not_known_on_the_loopback_address(host: str) -> None:
    assert not HERE.knows(host)


def test_beyond_this_machine_addresses_and_given_names_are_known() -> None:
    assert EVERYWHERE.knows("192.168.1.7:8765")
    assert EVERYWHERE.knows("gallery.studio.example")
    assert EVERYWHERE.knows("localhost:8765")
    assert not EVERYWHERE.knows("evil.example")


def test_writing_is_for_this_machine_or_for_those_who_have_the_token() -> None:
    assert HERE.may_write([])
    assert not EVERYWHERE.may_write([])
    guarded = Access("0.0.0.0", 8765, TOKEN)
    assert not guarded.may_write([])
    assert guarded.may_write([("authorization", f"Bearer {TOKEN}")])
    assert guarded.may_write([("cookie", f"other=1; {guarded.cookie}={guarded.pass_word}")])
    assert not Access("127.0.0.1", 8765, TOKEN).may_write([])
    assert TOKEN not in guarded.pass_word


@pytest.mark.parametrize(
    "header",
    [("authorization", "Bearer wrong-token-here"), ("authorization", "Bearer "), ("cookie", "avatars-gallery-8765="),
     ("cookie", f"avatars-gallery-8765={TOKEN}"), ("cookie", "avatars-gallery-8765=\udce9"), ("cookie", ";;=;")],
)  # fmt: skip
def test_a_wrong_token_is_none(header: tuple[str, str]) -> None:
    assert not Access("0.0.0.0", 8765, TOKEN).may_write([header])
    assert not EVERYWHERE.may_write([header])


def test_no_token_is_never_the_right_one() -> None:
    assert not HERE.accepts("")
    assert not Access("0.0.0.0", 8765, TOKEN).accepts("")


@pytest.mark.parametrize("token", ["short", "with\nnewline-in-it", "ünïcödé-tökén"])
def test_tokens_that_are_weak_or_cannot_be_sent_are_refused(token: str) -> None:
    with pytest.raises(ConfigError, match="--token"):
        Access("127.0.0.1", 8765, token)


def test_loopback_is_told_by_address_and_by_name() -> None:
    assert all(Access(host, 1).loopback for host in ("127.0.0.1", "127.3.2.1", "::1", "localhost"))
    assert not any(Access(host, 1).loopback for host in ("0.0.0.0", "::", "192.168.0.1"))
    with pytest.raises(ConfigError, match="--listen"):
        _ = Access("no-such-host.invalid", 1).loopback


@pytest.mark.parametrize(
    ("headers", "accepted"),
    [
        ({"origin": "http://127.0.0.1:8765"}, True),
        ({"origin": "https://127.0.0.1:8765"}, True),  # a proxy with TLS before it
        ({"origin": "http://127.0.0.1:8765", "sec-fetch-site": "same-origin"}, True),
        ({"origin": "http://evil.example"}, False),
        ({"origin": "http://127.0.0.1:9999"}, False),
        ({"origin": "null"}, False),
        ({"origin": ""}, False),
        ({"origin": "http://127.0.0.1:8765", "sec-fetch-site": "cross-site"}, False),
        ({"origin": "http://127.0.0.1:8765", "sec-fetch-site": "none"}, False),
        ({}, False),
        ({"authorization": "Bearer x"}, True),
    ],
)
def test_where_a_request_to_write_comes_from(headers: dict[str, str], accepted: bool) -> None:
    assert same_origin({"host": "127.0.0.1:8765", **headers}) is accepted
