"""Error pages and the access log in a configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from bgproxy.domain.access_log import AccessLog, LogFormat
from bgproxy.domain.error_pages import ANY_STATUS, MAX_PAGE_BYTES, ErrorPage
from tests.config.files import SERVICE, faults, load


def with_pages(pages: str) -> str:
    return f"{SERVICE.rstrip()}\n    error_pages: {pages}\n"


def test_pages_are_read_with_the_file(tmp_path: Path) -> None:
    """By status, or for all others."""
    (tmp_path / "busy.html").write_text("<p>busy")
    (tmp_path / "rest.html").write_text("<p>ü")
    busy, rest = tmp_path / "busy.html", tmp_path / "rest.html"
    (service,) = load(with_pages(f"{{503: {busy}, default: {rest}}}")).services
    assert service.error_pages == (
        ErrorPage(503, str(busy), b"<p>busy"),
        ErrorPage(ANY_STATUS, str(rest), "<p>ü".encode()),
    )


@pytest.mark.parametrize("status", ["200", "600", "5xx", "Default", "0503", "²03"])
def test_other_statuses_are_refused(tmp_path: Path, status: str) -> None:
    """Errors have pages, nothing else has."""
    (tmp_path / "page").write_text("x")
    (fault,) = faults(with_pages(f"{{{status}: {tmp_path / 'page'}}}"))
    assert fault.problem == f"{status!r} is not an error's status"
    assert fault.remedy == "write a status from 400 to 599, or default"


def test_a_page_that_cannot_be_used_is_a_fault(tmp_path: Path) -> None:
    """With its name, at its place."""
    (tmp_path / "large").write_bytes(b"x" * (MAX_PAGE_BYTES + 1))
    (tmp_path / "latin").write_bytes(b"\xe9")
    for name, problem in (
        ("missing", "cannot be read: No such file or directory"),
        ("", "cannot be read: Is a directory"),
        ("large", "is larger than 64 KiB"),
        ("latin", "is not UTF-8"),
    ):
        path = tmp_path / name
        (fault,) = faults(with_pages(f"{{503: {path}}}"))
        assert fault.problem == f"{path} {problem}"
        assert fault.path == "services.default.error_pages.503"


def test_all_pages_together_are_bounded(tmp_path: Path) -> None:
    """Every worker is sent them with every table."""
    (tmp_path / "page").write_bytes(b"x" * MAX_PAGE_BYTES)
    services = "services:\n" + "".join(
        f"  s{number}:\n    hosts: [h{number}]\n    environments: &e{number}\n"
        f"      blue: {{backends: [http://127.0.0.1:1]}}\n"
        f"      green: {{backends: [http://127.0.0.1:2]}}\n"
        f"    error_pages: {{default: {tmp_path / 'page'}}}\n"
        for number in range(257)
    )
    (fault,) = faults(services)
    assert fault.problem == "their error pages are larger than 16 MiB"


def test_there_is_no_access_log_unless_asked_for() -> None:
    """Nothing is written by default."""
    assert load(SERVICE).proxy.access_log == AccessLog()
    assert not load(SERVICE).proxy.access_log.path


def test_an_access_log_has_its_keys() -> None:
    """A file or standard output, a form, a share, and whether queries are kept."""
    log = "proxy: {access_log: {path: -, format: combined, sample: 10%, query: keep}}\n"
    assert load(log + SERVICE).proxy.access_log == AccessLog("-", LogFormat.COMBINED, 0.1, True)


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ("path: logs/", "'logs/' names a directory"),
        ("format: apache", "'apache' is not known here"),
        ("sample: 101%", "101% is out of range"),
        ("query: yes", "'yes' is not known here"),
    ],
)
def test_a_wrong_access_log_is_refused(keys: str, problem: str) -> None:
    """With what would be right."""
    (fault,) = faults(f"proxy: {{access_log: {{{keys}}}}}\n{SERVICE}")
    assert fault.problem.startswith(problem)
