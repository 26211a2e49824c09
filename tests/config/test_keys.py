"""Every key by its path."""

from __future__ import annotations

from bgproxy.config.keys import all_keys, json_schema, keys_of, pattern_of


def test_keys_are_found_at_every_depth():
    """In sections, in mappings with names of the user's, and in lists."""
    keys = all_keys()
    assert keys["proxy", "limits", "max_head"].default == "32KiB"
    assert keys["services", "*", "health", "expect", "status"].default == "200-399"
    assert keys["services", "*", "verify", "checks", "[]", "expect", "json"].default == {}
    assert keys["admin", "tokens", "[]", "token"].is_required
    assert keys["services", "*", "drain"].is_section
    assert not keys["services", "*", "active"].is_section


def test_every_key_is_described():
    """In at least a short sentence."""
    assert [pattern for pattern, info in all_keys().items() if not info.description] == []


def test_a_path_in_a_file_follows_a_pattern():
    """Also where it leads to a key that is not known."""
    checks = ("services", "*", "verify", "checks", "[]")
    assert pattern_of(("services", "shop", "verify", "checks", 3)) == checks
    assert pattern_of(("services", "shop")) == ("services", "*")
    assert pattern_of(("nonsense", 1)) == ("*", "[]")
    assert "repeats" in keys_of(checks)
    assert keys_of(("nonsense",)) == []


def test_the_schema_for_editors_says_what_it_is():
    """A dialect, a title, and no titles that only repeat a key."""
    schema = json_schema()
    assert schema["$schema"].startswith("https://json-schema.org/draft/2020-12/")
    assert schema["title"] == "bgproxy configuration"
    assert not any("title" in shape for shape in schema["$defs"].values())
    assert "title" not in schema["properties"]["state"]
