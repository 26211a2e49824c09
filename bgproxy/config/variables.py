"""``${NAME}`` and ``${NAME:-fallback}`` in a configuration's values.

They are replaced in the text of single values, quoted or not, before anything is made of that
text: so a variable can be a number or a duration, but never bring in keys or lists. ``$${`` stands
for a literal ``${``; a ``$`` elsewhere is nothing special.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_REFERENCE = re.compile(
    r"\$\$\{"  # escaped
    r"|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<with_fallback>:-(?P<fallback>[^}]*))?\}"
    r"|\$\{[^}]*\}?"  # anything else that looks like one
)


class VariableError(ValueError):
    """A reference that cannot be replaced.

    Args:
        problem: what is wrong.
        remedy: what would be right.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}; {remedy}")
        self.problem = problem
        self.remedy = remedy


def substitute(text: str, env: Mapping[str, str]) -> str:
    """Replace every reference in a text; what it brings in is not looked at again.

    Args:
        env: the process environment. As in a shell, a variable that is set but empty takes the
            fallback, where there is one.

    Raises:
        VariableError: for a variable that is not set and has no fallback, or is not UTF-8, and
            for a ``${`` that is no reference.
    """
    return _REFERENCE.sub(lambda match: _replacement(match, env), text)


def _replacement(match: re.Match[str], env: Mapping[str, str]) -> str:
    if match[0] == "$${":
        return "${"
    name = match["name"]
    if name is None:
        raise VariableError(
            f"{match[0]!r} is no variable", "write ${NAME} or ${NAME:-fallback}, $${ for a plain ${"
        )
    value = env.get(name, "")
    if not value and match["with_fallback"]:
        return match["fallback"]
    if name not in env:
        raise VariableError(
            f"the environment variable {name} is not set",
            f"set it, or write ${{{name}:-fallback}}",
        )
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise VariableError(
            f"the environment variable {name} is not UTF-8", "set it to text in UTF-8"
        )
    return value
