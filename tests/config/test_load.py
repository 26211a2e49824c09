"""Reading a file: what it may be, what replaces variables, and that nothing else is ever raised."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bgproxy.config.load import MAX_BYTES, load_config
from bgproxy.errors import ConfigError
from tests.config.files import SERVICE, fault, faults, load, place
from tests.config.test_service_schema import EVERY_KEY


def test_variables_are_replaced_before_values_are_read():
    """In plain and quoted text, for any kind of value, and for part of one."""
    settings = load(
        """\
proxy: {workers: "${WORKERS}", listen: "${HOST:-127.0.0.1}:${PORT}"}
services:
  default:
    environments:
      blue: {backends: ["http://${BLUE}:80"], release: "${RELEASE:-none}"}
      green: {backends: []}
    drain:
      timeout: ${DRAIN:-5m}
""",
        WORKERS="2",
        PORT="80",
        BLUE="blue.internal",
        RELEASE="12e4567",
    )
    (service,) = settings.services
    assert settings.proxy.workers == 2
    assert [str(address) for address in settings.proxy.listen] == ["127.0.0.1:80"]
    assert service.environments[0].backends[0].host == "blue.internal"
    assert service.environments[0].release == "12e4567"
    assert service.drain.timeout == 300.0


def test_variables_bring_in_no_keys():
    """What looks like YAML in one is text."""
    found = fault(f"proxy: ${{X}}\n{SERVICE}", X="{workers: 2}")
    assert found.problem == "a mapping belongs here"


@pytest.mark.parametrize(
    ("text", "problem", "remedy"),
    [
        ("state: ${UNSET}", "the environment variable UNSET is not set", "set it, or write"),
        ("state: a/${UNSET}/b", "the environment variable UNSET is not set", "set it, or write"),
        ("state: ${1X}", "'${1X}' is no variable", "write ${NAME}"),
        ("state: ${EMPTY}", "the value is missing", "write the path of a file"),
    ],
)
def test_a_variable_that_cannot_be_replaced_is_the_only_fault_there(text, problem, remedy):
    """What is made of the hole is not complained about as well."""
    found = fault(f"{text}\n{SERVICE}", EMPTY="")
    assert place(found) == ("state", 1, 8)
    assert problem in found.problem
    assert remedy in found.remedy


def test_what_an_alias_repeats_is_wrong_once():
    """At the place where it was written."""
    found = fault(
        "services:\n"
        "  one: &one\n"
        "    environments: {blue: {backends: ['http://h:1']}, green: {backends: []}}\n"
        "    drain: {timeout: ${UNSET}}\n".replace("${UNSET}", "'${UNSET}'")
        + "  two: {<<: *one, hosts: [two]}\n"
    )
    assert place(found) == ("services.one.drain.timeout", 4, 22)


def test_everything_that_is_wrong_is_told_at_once():
    """Of every kind, each with its file, in the order of the file."""
    found = faults(
        """\
proxy: {listen: 8080, wrokers: 4}
admin: {tokens: [{role: boss, token: "${CI_TOKEN}"}]}
state: a.db
state: b.db
services:
  default:
    environments:
      blue: {backends: ["localhost:9001"]}
    health: {interval: 10, expect: {status: ok}}
    verify: {checks: [{allowed_failures: 2, repeats: 2}]}
"""
    )
    assert [place(f) for f in found] == [
        ("proxy.listen", 1, 17),
        ("proxy.wrokers", 1, 23),
        ("admin.tokens.0.role", 2, 25),
        ("admin.tokens.0.token", 2, 38),
        ("state", 4, 1),
        ("services.default.environments.green", 8, 7),
        ("services.default.environments.blue.backends.0", 8, 25),
        ("services.default.health.interval", 9, 24),
        ("services.default.health.expect.status", 9, 45),
        ("services.default.verify.checks.0.allowed_failures", 10, 42),
    ]
    assert all(f.file.endswith("bgproxy.yaml") and f.remedy for f in found)


@pytest.mark.parametrize(
    ("content", "where", "problem"),
    [
        (b"", (0, 0), "the file is empty"),
        (b"# nothing\n", (0, 0), "the file is empty"),
        (b"a: 1\nb: \xff\n", (2, 4), "the byte 0xff is not UTF-8"),
        ("a: 1\n".encode("utf-16"), (1, 1), "the byte 0xff is not UTF-8"),
        (b"a: \0\n", (1, 4), "the character U+0000 is not allowed"),
        (b"#" * (MAX_BYTES + 1), (0, 0), "is larger than 4 MiB"),
    ],
)
def test_a_file_that_holds_no_yaml_is_told_so(content, where, problem):
    """With the place, where there is one."""
    found = fault(content)
    assert (found.line, found.column) == where
    assert problem in found.problem


def test_a_file_as_large_as_may_be_is_read():
    """The bound is the bound."""
    assert load(SERVICE + "#" * (MAX_BYTES - len(SERVICE))).services


def test_a_byte_order_mark_is_no_part_of_the_text():
    """Some editors write one."""
    assert load(b"\xef\xbb\xbf" + SERVICE.encode()) == load(SERVICE)


def test_line_ends_of_other_systems_are_line_ends():
    """And count as lines."""
    assert load(SERVICE.replace("\n", "\r\n")) == load(SERVICE)
    assert fault((SERVICE + "state:\n").replace("\n", "\r\n")).line == 6


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("missing.yaml", "there is no such file"),
        ("missing/bgproxy.yaml", "there is no such file"),
        (".", "cannot be read: Is a directory"),
        ("a\0b", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_so(tmp_path, path, problem):
    """With the system's reason."""
    with pytest.raises(ConfigError) as error:
        load_config(tmp_path / path, {})
    (found,) = error.value.faults
    assert problem in found.problem
    assert found.file == str(tmp_path / path)


def test_a_file_that_may_not_be_read_is_told_so(monkeypatch):
    """The refusal is made up, as root may read everything."""

    def refuse(*_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ConfigError, match="cannot be read: Permission denied"):
        load_config(Path("bgproxy.yaml"), {})


def test_relative_paths_stay_relative():
    """To the working directory, whatever the file's own."""
    assert load(f"state: ./a/b.db\n{SERVICE}").state == Path("a/b.db")


def test_a_large_file_is_read_in_no_time():
    """Five hundred services, and no step that grows with the square of them."""
    one = "{environments: &e {blue: {backends: ['http://h:1']}, green: {backends: []}}, hosts: [a]}"
    rest = "".join(f"  s{n}: {{environments: *e, hosts: [h{n}.example.com]}}\n" for n in range(499))
    assert len(load(f"services:\n  first: {one}\n{rest}").services) == 500


PIECES = [
    *("{", "}", "[", "]", ":", ": ", "- ", ",", "\n", "  ", "\t", "#", "'", '"', "|", ">", "\0"),
    *("&a ", "*a", "<<: ", "!x ", "---\n", "%", "@", "`", "${", "}", "${SECRET}", "$${", "~"),
    *("null", "no", "010", "1e999", "-1", "0", "9" * 30, "1:30", "é", "\ud7ff", "\x85", "unix:"),
    *("http://", "[::1]:80", "(((", "{99999}", "sha256:", "100%", "5m", "1KiB", "services:", "*"),
]
EDITS = st.lists(
    st.tuples(st.integers(0, 4000), st.integers(0, 30), st.sampled_from(PIECES)), max_size=4
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(EDITS)
def test_no_text_raises_anything_but_a_config_error(edits):
    """A file with every key, cut and glued at random: settings, or faults that say where."""
    text = EVERY_KEY
    for position, length, piece in edits:
        begins = position % (len(text) + 1)
        text = text[:begins] + piece + text[begins + length :]
    with contextlib.suppress(ConfigError):
        assert load(text, SECRET="x").services


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_no_bytes_raise_anything_but_a_config_error(data):
    """Nor do bytes of any kind."""
    assert faults(data)
