"""Tokens, roles, and the bound on wrong guesses."""

from __future__ import annotations

import hashlib
import itertools

import pytest

from bgproxy.config.settings import Role, Token
from bgproxy.controlplane.auth import Authenticator, FailureLimit, Principal

LADDER = (Role.READ, Role.ROLLBACK, Role.SWITCH, Role.ADMIN)


def test_a_role_includes_those_before_it() -> None:
    """Read, rollback, switch, admin."""
    for (i, has), (j, needed) in itertools.product(enumerate(LADDER), repeat=2):
        assert Principal("x", has).may(needed) == (i >= j)


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("Bearer one-secret", "one"),
        ("bearer two-secret", "two"),
        ("Bearer  two-secret ", "two"),
        ("Bearer one-secre", None),
        ("Bearer one-secrett", None),
        ("Bearer ", None),
        ("Bearer", None),
        ("one-secret", None),
        ("Basic one-secret", None),
        ("Bearer \udcff", None),
        ("", None),
    ],
)
def test_a_field_names_its_principal(field: str, name: str | None) -> None:
    """The whole token and nothing but the token."""
    tokens = (Token("one", Role.READ, "one-secret"), Token("two", Role.ADMIN, "two-secret"))
    found = Authenticator(tokens).principal(field)
    assert (found and found.name) == name


def test_a_digest_stands_for_its_token() -> None:
    """The digest itself opens nothing."""
    digest = "sha256:" + hashlib.sha256(b"secret").hexdigest()
    authenticator = Authenticator((Token("ci", Role.SWITCH, digest),))
    assert authenticator.principal("Bearer secret") == Principal("ci", Role.SWITCH)
    assert authenticator.principal(f"Bearer {digest}") is None


def test_all_tokens_are_compared_whatever_matches(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time taken does not tell which token matched, nor whether one did."""
    compared = []

    def compare(a: bytes, b: bytes) -> bool:
        compared.append(a)
        return a == b

    monkeypatch.setattr("hmac.compare_digest", compare)
    tokens = tuple(Token(str(n), Role.READ, f"secret-{n}") for n in range(5))
    authenticator = Authenticator(tokens)
    for field in ("Bearer secret-0", "Bearer secret-4", "Bearer wrong"):
        compared.clear()
        authenticator.principal(field)
        assert len(compared) == 5


def test_without_tokens_everybody_is_let_in() -> None:
    """Which is possible on loopback only; the configuration sees to that."""
    assert Authenticator(()).is_open
    assert not Authenticator((Token("a", Role.READ, "b"),)).is_open


def test_an_address_has_so_many_wrong_guesses_in_a_period() -> None:
    """Counted from the first; then it waits for the period's end, and starts anew."""
    limit = FailureLimit(most=3, period=60)
    assert [limit.count("a", now) for now in (0, 10, 20)] == [False, False, True]
    assert limit.retry_after("a", 30) == 30
    assert limit.retry_after("b", 30) == 0
    assert limit.retry_after("a", 60) == 0
    assert limit.count("a", 61) is False
    assert limit.retry_after("a", 62) == 0


def test_addresses_are_forgotten_when_there_are_too_many() -> None:
    """The memory for this has a bound; who was seen longest ago goes first."""
    limit = FailureLimit(most=1, period=60, addresses=2)
    for address in ("a", "b", "c"):
        limit.count(address, 0)
    assert limit.retry_after("a", 1) == 0
    assert limit.retry_after("b", 1) == limit.retry_after("c", 1) == 59
