"""Where a fault stands, and what is said about keys that are not known."""

from __future__ import annotations

import pytest

from bgproxy.config.faults import fault_at
from bgproxy.config.yaml_nodes import read_yaml
from tests.config.files import SERVICE, fault, faults, place

ROOT, _ = read_yaml("a:\n  b: [x, {c: y}]\n  d: z\n")


@pytest.mark.parametrize(
    ("path", "at_key", "where"),
    [
        ((), False, ("", 1, 1)),
        (("a", "d"), False, ("a.d", 3, 6)),
        (("a", "d"), True, ("a.d", 3, 3)),
        (("a", "b", 1, "c"), False, ("a.b.1.c", 2, 14)),
        (("a", "b", 1, "c", "[key]"), True, ("a.b.1.c", 2, 11)),
        (("a", "missing"), False, ("a.missing", 2, 3)),
        (("a", "missing", "deeper"), False, ("a.missing.deeper", 2, 3)),
        (("a", "b", 7), False, ("a.b.7", 2, 6)),
        (("a", "d", 0), False, ("a.d", 3, 6)),
        (("a", "d", "token"), False, ("a.d", 3, 6)),
    ],
)
def test_a_fault_is_placed_as_near_as_the_file_goes(path, at_key, where):
    """At the value, at its key, or at the mapping that lacks it; one value may stand for more."""
    assert ROOT is not None
    assert place(fault_at(ROOT, path, "problem", "remedy", at_key=at_key)) == where


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("proxy: {wrokers: 2}", "did you mean workers?"),
        ("proxy: {Listen: x}", "did you mean listen?"),
        ("proxy: {max_connections: 2}", "it belongs to proxy.limits"),
        ("proxy: {drain: {}}", "it belongs to services.*"),
        (
            "admin: {timeout: 2s}",
            "services.*.health, services.*.drain or services.*.verify.warm_up",
        ),
        ("proxy: {zebra: 2}", "known here: listen, workers, limits, trusted_proxies"),
        ("service: {}", "did you mean services?"),
    ],
)
def test_a_key_that_is_not_known_leads_to_one_that_is(text, remedy):
    """A like one here, the same one elsewhere, or all there are."""
    found = fault(f"{text}\n{SERVICE}")
    assert found.problem == "this key is not known"
    assert remedy in found.remedy


def test_a_file_that_is_no_mapping_is_told_what_to_be():
    """Text or a list alone says nothing."""
    for text in ("just text\n", "- a\n- b\n"):
        assert fault(text).problem == "the file is not a mapping of keys"


def test_faults_stand_in_the_order_of_the_file():
    """Whoever found them."""
    found = faults(f"state: ${{UNSET}}\nproxy: {{workers: x}}\nadmin: {{}}\nadmin: {{}}\n{SERVICE}")
    assert [place(f) for f in found] == [
        ("state", 1, 8),
        ("proxy.workers", 2, 18),
        ("admin", 4, 1),
    ]
