"""Tables in Markdown, and their places in the pages that show them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

NOT_MEASURED = "-"


def table(columns: Sequence[str], rows: Mapping[str, Sequence[str]], corner: str = "") -> str:
    """A table with the names of its rows on the left and everything else on the right."""
    lines = [f"| {corner} | {' | '.join(columns)} |", f"|---|{'---:|' * len(columns)}"]
    lines += [f"| {name} | {' | '.join(values)} |" for name, values in rows.items()]
    return "\n".join(lines)


def shown(value: float | None) -> str:
    """Three significant digits; a dash for what was not measured."""
    if value is None:
        return NOT_MEASURED
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f}"


def with_section(page: str, name: str, content: str) -> str:
    """The page with something else between `<!-- NAME -->` and `<!-- end of NAME -->`.

    Raises:
        ValueError: when the page has no such place.
    """
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if len(pattern.findall(page)) != 1:
        raise ValueError(f"no place for {name!r}")
    return pattern.sub(lambda _: f"{begin}\n{content}\n{end}", page)
