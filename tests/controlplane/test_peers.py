"""Who is at the other end, by name and for limits."""

from __future__ import annotations

import os
import pwd

import pytest

from bgproxy.controlplane.peers import Peer, user_name


@pytest.mark.parametrize(
    ("peer", "key", "shown"),
    [
        (Peer("10.0.0.7", 1234), "10.0.0.7", "10.0.0.7:1234"),
        (Peer("2001:db8::1:2", 1), "2001:db8::/64", "[2001:db8::1:2]:1"),
        (Peer("::1", 1), "::1", "[::1]:1"),
        (Peer(process=4242, user=1000), "user 1000", "uid 1000, pid 4242"),
    ],
)
def test_limits_and_the_audit_trail_name_it(peer: Peer, key: str, shown: str) -> None:
    """One IPv6 host has a whole network of addresses to guess from."""
    assert peer.limit_key == key
    assert str(peer) == shown


async def test_users_have_names_that_no_token_can_have() -> None:
    """And those without one have their number."""
    assert await user_name(os.geteuid()) == f"unix:{pwd.getpwuid(os.geteuid()).pw_name}"
    assert await user_name(54321) == "unix:54321"
