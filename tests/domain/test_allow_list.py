"""Which addresses may become backends over the API."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgproxy.domain.allow_list import AllowList, AllowRule
from bgproxy.domain.model import Backend

METADATA = "169.254.169.254"


def _list(*texts: str) -> AllowList:
    return AllowList(tuple(map(AllowRule.parse, texts)))


@pytest.mark.parametrize(
    ("rules", "backend", "is_allowed"),
    [
        ((), "http://anything:1", True),
        (("10.0.0.0/8",), "http://10.1.2.3:80", True),
        (("10.0.0.0/8",), "http://11.1.2.3:80", False),
        (("10.0.0.7",), "http://10.0.0.7:80", True),
        (("10.0.0.0/8:9000-9099",), "http://10.1.2.3:9099", True),
        (("10.0.0.0/8:9000-9099",), "http://10.1.2.3:9100", False),
        (("10.0.0.7:9000",), "http://10.0.0.7:9001", False),
        (("fd00::/8",), "http://[fd12::1]:80", True),
        (("[fd00::/8]:80",), "http://[fd12::1]:80", True),
        (("[fd00::/8]:80",), "http://[fd12::1]:81", False),
        (("10.0.0.0/8",), "http://[::ffff:10.0.0.1]:80", True),
        (("::/0",), "http://[::ffff:10.0.0.1]:80", False),
        (("*.internal",), "http://app.INTERNAL.:80", True),
        (("*.internal",), "http://app.internal.evil.example:80", False),
        (("*.internal:8080",), "http://app.internal:80", False),
        (("*.internal",), "http://10.0.0.1:80", False),
        (("app-*",), "https://app-green:80", True),
        (("10.0.0.0/8",), "http://app-green:80", True),
        (("unix:/run/*",), "http://app-green:80", False),
        (("unix:/run/apps/*",), "unix:/run/apps/a.sock", True),
        (("unix:/run/apps/*",), "unix:/run/apps/x/a.sock", False),
        (("unix:/run/apps/*",), "unix:/run/apps/../a.sock", False),
        (("unix:/run/*/a.sock",), "unix:/run/../a.sock", False),
        (("10.0.0.0/8", "*.internal"), "unix:/run/a.sock", False),
    ],
)
def test_what_may_be_set(rules: tuple[str, ...], backend: str, is_allowed: bool) -> None:
    """As far as it shows before a name is looked up."""
    assert _list(*rules).allows(Backend.parse(backend)) is is_allowed


@pytest.mark.parametrize(
    ("rules", "found", "usable"),
    [
        ((), (METADATA, "10.0.0.1"), (METADATA, "10.0.0.1")),
        (("10.0.0.0/8",), (METADATA, "10.0.0.1"), ("10.0.0.1",)),
        (("10.0.0.0/8:81",), ("10.0.0.1",), ()),
        (("*.internal", "10.0.0.0/8"), ("192.168.0.1", "10.0.0.1"), ("10.0.0.1",)),
        (("*.internal",), ("192.168.0.1", "8.8.8.8"), ("192.168.0.1", "8.8.8.8")),
        (("*.internal",), (METADATA, "127.0.0.1", "::1", "0.0.0.0", "224.0.0.1"), ()),
        (("*.internal",), ("fe80::1%eth0", f"::ffff:{METADATA}"), ()),
        (("*.internal", "169.254.0.0/16"), (METADATA,), (METADATA,)),
    ],
)
def test_what_a_name_may_stand_for(
    rules: tuple[str, ...], found: tuple[str, ...], usable: tuple[str, ...]
) -> None:
    """A name that is bound anew to where it should not lead loses that address."""
    backend = Backend.parse("http://app.internal:80")
    assert _list(*rules).usable(backend, found) == usable


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("10.0.0.1/8", "write 10.0.0.0/8"),
        ("10.0.0.0/33", "is no network"),
        ("10.0.0", "is no network"),
        ("", "is no network"),
        ("a b", "is no network"),
        ("app:", "are no ports"),
        ("app:0", "from 1 to 65535"),
        ("app:99999", "from 1 to 65535"),
        ("app:20-10", "the lower one first"),
        ("unix:run/a", "is no path"),
        ("unix:/run/../a", "is no path"),
        ("http://app:80", "is no network"),
    ],
)
def test_what_is_no_entry(text: str, problem: str) -> None:
    """Each says what would be right."""
    with pytest.raises(ValueError, match=problem):
        AllowRule.parse(text)


@given(st.ip_addresses(), st.integers(1, 65535))
def test_no_address_outside_of_its_networks_gets_in(address, port):
    """Whether it was written or is what a name stands for."""
    rules = _list("10.0.0.0/8:80", "fd00::/8", "*.internal")
    shown = f"[{address}]" if address.version == 6 else str(address)
    mapped = getattr(address, "ipv4_mapped", None) or address
    expected = (mapped.version == 4 and mapped.packed[0] == 10 and port == 80) or (
        mapped.version == 6 and mapped.packed[0] == 0xFD
    )
    assert rules.allows(Backend.parse(f"http://{shown}:{port}")) == expected
    named = Backend.parse(f"http://app.internal:{port}")
    assert bool(rules.usable(named, (str(address),))) == expected
