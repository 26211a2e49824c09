"""The keys of the admin side: what they become, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme

from bgproxy.config.describe import describe
from bgproxy.config.settings import AUTO_SOCKET, Address
from tests.config.files import SERVICE, fault, load, place

TOKEN = "tokens: [0123456789abcdef]"


@pytest.fixture
def tls(tmp_path: Path) -> str:
    """The keys of a good certificate."""
    issued = trustme.CA().issue_cert("a.test")
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "a.pem"))
    issued.private_key_pem.write_to_path(str(tmp_path / "a.key"))
    return f"tls: {{certificate: {tmp_path}/a.pem, key: {tmp_path}/a.key}}"


def test_other_machines_need_tokens_and_tls(tls: str) -> None:
    """With both, the certificate is read and is a listener's own."""
    settings = load(f"admin: {{listen: 0.0.0.0:8081, {TOKEN}, {tls}}}\n{SERVICE}")
    assert settings.admin.listen == (Address("0.0.0.0", 8081),)
    assert settings.admin.tls is not None
    content = settings.admin.tls.certificates[0].content
    assert content is not None
    assert content.names == ("a.test",)
    assert settings.warnings == ()
    assert "listens on 0.0.0.0:8081 with TLS" in describe(settings)


@pytest.mark.parametrize(
    ("keys", "problem", "remedy"),
    [
        ("", "there are no tokens", "set admin.tokens"),
        ("insecure: true", "there are no tokens", "set admin.tokens"),
        (TOKEN, "tokens would travel unencrypted", "set admin.tls"),
    ],
)
def test_without_both_it_does_not_start(keys: str, problem: str, remedy: str) -> None:
    """Whichever is missing is named; saying that it is insecure replaces no token."""
    found = fault(f"admin: {{listen: ['127.0.0.1:1', '0.0.0.0:8081'], {keys}}}\n{SERVICE}")
    assert found.path.startswith("admin.listen")
    assert problem in found.problem
    assert remedy in found.remedy


def test_going_without_tls_is_a_warning() -> None:
    """It can be meant, where something else encrypts; it is said at every start all the same."""
    settings = load(f"admin: {{listen: 0.0.0.0:8081, {TOKEN}, insecure: true}}\n{SERVICE}")
    (warning,) = settings.warnings
    assert "unencrypted" in str(warning)


@pytest.mark.parametrize("keys", ["tls: {certificate: /none.pem, key: /none.key}", "tls: {}"])
def test_a_certificate_that_is_not_there_is_a_fault(keys: str) -> None:
    """Under the key that names it."""
    text = f"admin: {{{keys}}}\n{SERVICE}"
    with pytest.raises(Exception, match=r"admin\.tls\.certificate"):
        load(text)


@pytest.mark.parametrize(
    ("text", "socket"),
    [
        ("auto", AUTO_SOCKET),
        ("off", ""),
        ("false", ""),
        ("null", ""),
        ("~", ""),
        ("/run/x/a.sock", "/run/x/a.sock"),
        ("unix:/run/x/a.sock", "/run/x/a.sock"),
    ],
)
def test_the_socket_is_the_usual_one_or_another_or_none(text: str, socket: str) -> None:
    """All the ways to say so."""
    assert load(f"admin: {{socket: {text}}}\n{SERVICE}").admin.socket == socket


def test_a_path_too_long_for_a_socket_is_refused() -> None:
    """The kernel has 108 bytes for it."""
    found = fault(f"admin: {{socket: /{'x' * 107}}}\n{SERVICE}")
    assert place(found) == ("admin.socket", 1, 17)
    assert "not the path of a socket" in found.problem


def test_the_allow_list_is_read_and_described() -> None:
    """Networks, names and paths."""
    settings = load(
        f"admin: {{backend_allow: [10.0.0.0/8, '*.internal:80', 'unix:/run/*']}}\n{SERVICE}"
    )
    assert [rule.text for rule in settings.admin.backend_allow.rules] == [
        "10.0.0.0/8",
        "*.internal:80",
        "unix:/run/*",
    ]
    assert "set over the API may be 10.0.0.0/8, *.internal:80, unix:/run/*" in describe(settings)


def test_a_wrong_entry_of_the_allow_list_says_what_would_be_right() -> None:
    """At its place."""
    found = fault(f"admin: {{backend_allow: [10.0.0.1/8]}}\n{SERVICE}")
    assert place(found) == ("admin.backend_allow.0", 1, 25)
    assert found.remedy == "write 10.0.0.0/8"
