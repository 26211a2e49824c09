"""Which requests are previews, as far as it can be said without one."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgproxy.domain.preview import (
    NO_KEY,
    Key,
    Preview,
    PreviewCookie,
    Purpose,
    digest,
    digest_of,
    is_signed,
    opened,
    sign,
    usual_ways,
)

SECRET = "0123456789abcdef0123456789abcdef"
keys = st.lists(st.sampled_from(Key)).map(lambda some: sum_of(*some))


def sum_of(*some: Key) -> Key:
    total = NO_KEY
    for key in some:
        total |= key
    return total


@pytest.mark.parametrize(
    ("configured", "ways"),
    [
        ("header", "header"),
        ("header+cookie", "header cookie"),
        ("listener+host", "listener host"),
        ("host+network", "host+network"),
        ("header+cookie+network", "header+network cookie+network"),
        ("listener+network+user", "listener+network+user"),
        ("network", "network"),
        ("network+user", "network+user"),
    ],
)
def test_guards_stand_before_every_usual_way(configured: str, ways: str) -> None:
    """Who names networks or users means all that come, by whichever way."""
    assert [way.label for way in usual_ways(Key.parse(configured))] == ways.split()


def test_nothing_configured_opens_nothing() -> None:
    """Preview is off unless keys are named."""
    assert Preview().open_ways == ()
    assert opened((), sum_of(*Key)) is NO_KEY


@given(st.lists(keys.filter(bool)), keys)
def test_a_way_opens_only_to_all_of_its_keys(ways: list[Key], held: Key) -> None:
    """One key too few is as good as none."""
    way = opened(ways, held)
    if way:
        assert way in ways
        assert all(key in held for key in Key if key in way)
    else:
        assert all(any(key in way and key not in held for key in Key) for way in ways)


@given(keys.filter(bool))
def test_ways_are_read_as_they_are_written(way: Key) -> None:
    """Words joined by plus signs."""
    assert Key.parse(way.label) == way
    assert Key.parse(way.label.replace("+", " + ")) == way


@pytest.mark.parametrize("text", ["", "header+", "headers", "header,cookie", "no_key"])
def test_a_word_that_is_no_key_is_told(text: str) -> None:
    """With those that there are."""
    with pytest.raises(ValueError, match="is no key; write some of listener, host, header"):
        Key.parse(text)


@pytest.mark.parametrize(
    ("preview", "way", "is_strong"),
    [
        (Preview(hosts=("green.example.com",)), "host", False),
        (Preview(header=("X-Preview", "yes")), "header", False),
        (Preview(header=("X-Preview", SECRET)), "header", True),
        (Preview(header=("X-Preview", "sha256:" + "0" * 64)), "header", True),
        (Preview(cookie=PreviewCookie(SECRET)), "cookie", True),
        (Preview(networks=("10.0.0.0/8",)), "network", True),
        (Preview(networks=("10.0.0.0/8", "0.0.0.0/0")), "network", False),
        (Preview(networks=("::/0",)), "network", False),
        (Preview(users=(("eve", "secret"),)), "user", False),
        (Preview(users=(("eve", SECRET),)), "user", True),
        (Preview(users=(("eve", SECRET), ("bob", "1234"))), "user", False),
        (Preview(hosts=("g.example.com",), users=(("eve", SECRET),)), "host+user", True),
        (Preview(hosts=("g.example.com",), networks=("::/0",)), "host+network", False),
    ],
)
def test_what_anybody_could_guess_is_not_strong(
    preview: Preview, way: str, is_strong: bool
) -> None:
    """Names can be asked around for, short secrets tried, and some networks are everybody's."""
    assert preview.is_strong(Key.parse(way), is_listener_local=False) is is_strong


@pytest.mark.parametrize("is_local", [False, True])
def test_a_listener_is_as_strong_as_it_is_near(is_local: bool) -> None:
    """Whoever can connect is let in, which is right on loopback only."""
    preview = Preview(listen=("127.0.0.1:8082",))
    assert preview.is_strong(Key.LISTENER, is_listener_local=is_local) is is_local


def test_a_key_that_is_not_configured_makes_nothing_strong() -> None:
    """An empty list of users holds no password."""
    preview = Preview(hosts=("green.example.com",))
    assert not preview.is_strong(Key.HOST | Key.USER | Key.NETWORK, is_listener_local=True)


def test_secrets_are_known_by_their_digests() -> None:
    """Written plainly or as a digest, the same text is right."""
    written = "sha256:" + hashlib.sha256(b"open sesame").hexdigest()
    assert digest_of("open sesame") == digest_of(written) == digest(b"open sesame")
    assert digest(written.encode()) != digest_of(written)


def test_a_token_is_good_for_one_thing_and_for_a_time() -> None:
    """Another secret, service or purpose, or a later moment: it is worth nothing."""
    token = sign(SECRET, "shop", Purpose.LINK, 1000.9)
    assert is_signed(token, SECRET, "shop", Purpose.LINK, 999.9)
    assert not is_signed(token, SECRET, "shop", Purpose.LINK, 1000.0)
    assert not is_signed(token, SECRET, "shop", Purpose.COOKIE, 0.0)
    assert not is_signed(token, SECRET, "sho", Purpose.LINK, 0.0)
    assert not is_signed(token, SECRET + "0", "shop", Purpose.LINK, 0.0)
    assert not is_signed("2" + token, SECRET, "shop", Purpose.LINK, 0.0)


@given(st.text(max_size=100))
def test_no_text_passes_for_a_token(text: str) -> None:
    """Whatever a client sends is looked at, and nothing is raised."""
    assert not is_signed(text, SECRET, "shop", Purpose.COOKIE, 0.0)
    assert not is_signed(f"99999999999.{text}", SECRET, "shop", Purpose.COOKIE, 0.0)


def test_secrets_are_not_shown() -> None:
    """A policy may be logged."""
    preview = Preview(
        header=("X-Preview", SECRET), cookie=PreviewCookie(SECRET), users=(("eve", SECRET),)
    )
    assert SECRET not in repr(preview)
