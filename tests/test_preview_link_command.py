"""The command that prints a link to a preview."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner, Result

from bgproxy.cli import main
from bgproxy.domain.preview import Purpose, is_signed
from tests.config.files import ENVIRONMENTS

KEY = "0123456789abcdef" * 2


def run(folder: Path, services: dict[str, str], *options: str) -> Result:
    """The command on a file with services of these keys."""
    text = "".join(f"  {name}:\n{ENVIRONMENTS}    {keys}\n" for name, keys in services.items())
    file = folder / "bgproxy.yaml"
    file.write_text(f"services:\n{text}")
    return CliRunner().invoke(main, ["preview-link", "-c", str(file), *options])


def with_cookie(host: str, path: str = "/p") -> str:
    return f"hosts: ['{host}']\n    preview: {{cookie: {{secret: {KEY}, path: {path}}}}}"


def token_of(link: str) -> str:
    return parse_qs(urlsplit(link).query)["token"][0]


def test_a_link_is_signed_for_its_service_and_its_time(tmp_path: Path) -> None:
    """It leads to the service's first plain host."""
    result = run(tmp_path, {"shop": with_cookie("shop.example.com")})
    assert (result.exit_code, result.stderr) == (0, "")
    link = result.stdout.strip()
    assert link.startswith("http://shop.example.com/p?token=")
    now = time.time()
    assert is_signed(token_of(link), KEY, "shop", Purpose.LINK, now + 3500)
    assert not is_signed(token_of(link), KEY, "shop", Purpose.LINK, now + 3700)
    assert not is_signed(token_of(link), KEY, "shop", Purpose.COOKIE, now)


def test_where_it_leads_can_be_said(tmp_path: Path) -> None:
    """Another base than the file knows, a path on it, and another time."""
    options = ("--base", "https://a.example/", "--to", "/cart?x=1&y=2", "--valid", "5m")
    result = run(tmp_path, {"shop": with_cookie("*")}, *options)
    link = urlsplit(result.stdout.strip())
    assert (link.scheme, link.netloc, link.path) == ("https", "a.example", "/p")
    assert parse_qs(link.query)["to"] == ["/cart?x=1&y=2"]
    assert not is_signed(token_of(link.geturl()), KEY, "shop", Purpose.LINK, time.time() + 301)


def test_without_a_plain_host_it_leads_to_the_listener(tmp_path: Path) -> None:
    """Good for a first try."""
    result = run(tmp_path, {"shop": with_cookie("*")})
    assert result.stdout.startswith("http://127.0.0.1:8080/p?token=")


def test_one_of_several_services_must_be_named(tmp_path: Path) -> None:
    """Those that have a cookie are."""
    services = {"shop": with_cookie("a"), "blog": with_cookie("b"), "api": "hosts: [c]"}
    result = run(tmp_path, services)
    assert result.exit_code == 2
    assert "preview with a cookie: shop, blog; name one with --service" in result.stderr
    result = run(tmp_path, services, "--service", "blog")
    assert is_signed(token_of(result.stdout.strip()), KEY, "blog", Purpose.LINK, time.time())


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ((), "no service has a preview with a cookie"),
        (("--service", "api"), "api has no preview.cookie.secret"),
        (("--service", "web"), "no service is named web"),
    ],
)
def test_what_is_missing_is_told(tmp_path: Path, options: tuple[str, ...], problem: str) -> None:
    """Exit status 2, as for every wrong use."""
    result = run(tmp_path, {"api": "hosts: [c]"}, *options)
    assert result.exit_code == 2
    assert problem in result.stderr


def test_a_wrong_time_is_told(tmp_path: Path) -> None:
    """With what would be right."""
    result = run(tmp_path, {"shop": with_cookie("a")}, "--valid", "60")
    assert result.exit_code == 2
    assert "--valid" in result.stderr
