"""Durations, sizes and shares as people write them, and the numbers they stand for.

| kind | written | number |
| --- | --- | --- |
| duration | ``250ms``, ``2s``, ``1.5s``, ``5m``, ``1h``, ``0`` | seconds, a float |
| size | ``64KiB``, ``10MiB``, ``1GiB``, ``512`` | bytes, an int |
| share | ``5%``, ``0.1%`` | 0 to 1, a float |

What a ``format_`` function writes, its ``parse_`` function reads back as the very same number.
"""

from __future__ import annotations

import re
from decimal import Decimal

_DURATION_UNITS = {
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
}
_SIZE_UNITS = {"": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4}

# Bounded in length, so that no text can make a number of thousands of digits. Long tails of
# decimals are there for what `format_duration` makes of a float.
_NUMBER = r"([0-9]{1,15}(?:\.[0-9]{1,330})?)"
_DURATION = re.compile(rf"{_NUMBER}(ms|s|m|h)")
_SIZE = re.compile(rf"{_NUMBER}(KiB|MiB|GiB|TiB)|([0-9]{{1,18}})")
_SHARE = re.compile(rf"{_NUMBER}%")
_DECIMAL_SIZE = re.compile(r"([0-9.]+) ?([kKmMgGtT])i?[bB]?")


def parse_duration(text: str) -> float:
    """Read a duration.

    Returns:
        Seconds.

    Raises:
        ValueError: with one sentence, problem and remedy parted by a semicolon.
    """
    if text == "0":
        return 0.0
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(
            f"{text!r} is not a duration; "
            "write a number and its unit, such as 250ms, 1.5s, 5m or 1h"
        )
    return float(Decimal(match[1]) * _DURATION_UNITS[match[2]])


def format_duration(seconds: float) -> str:
    """Write a duration in the largest unit that needs no decimals; else in seconds with them.

    Args:
        seconds: at least 0, finite.
    """
    exact = Decimal(repr(float(seconds)))
    for unit in ("h", "m", "s") if exact >= 1 else ("ms",):
        count = exact / _DURATION_UNITS[unit]
        if exact and count == int(count) and count * _DURATION_UNITS[unit] == exact:
            return f"{int(count)}{unit}"
    return f"{exact:f}s" if exact else "0s"


def parse_size(text: str) -> int:
    """Read a size.

    Returns:
        Bytes.

    Raises:
        ValueError: with one sentence, problem and remedy parted by a semicolon.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a size; {_size_remedy(text)}")
    size = Decimal(match[1]) * _SIZE_UNITS[match[2]] if match[1] else Decimal(match[3])
    if size != int(size):
        raise ValueError(f"{text!r} is not a whole number of bytes; {_size_remedy(text)}")
    return int(size)


def _size_remedy(text: str) -> str:
    """What to write instead; units of 1000 and lower-case ones are met by their neighbour."""
    meant = _DECIMAL_SIZE.fullmatch(text)
    if meant is not None:
        return f"write {meant[1]}{meant[2].upper()}iB, in units of 1024"
    return "write a number of bytes or a number and its unit, such as 64KiB, 10MiB or 1GiB"


def format_size(size: int) -> str:
    """Write a size in the largest unit that needs no decimals.

    Args:
        size: bytes, at least 0.
    """
    for unit, factor in reversed(_SIZE_UNITS.items()):
        if size >= factor and size % factor == 0:
            return f"{size // factor}{unit}"
    return "0"


def parse_share(text: str) -> float:
    """Read a share; one above 100 % is for the caller to refuse.

    Returns:
        0 to 1 for 0 % to 100 %.

    Raises:
        ValueError: with one sentence, problem and remedy parted by a semicolon.
    """
    match = _SHARE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a share; write a percentage, such as 5% or 0.1%")
    return float(Decimal(match[1]) / 100)


def format_share(share: float) -> str:
    """Write a share as a percentage.

    Args:
        share: at least 0, finite.
    """
    percent = f"{Decimal(repr(float(share))) * 100:f}"
    return (percent.rstrip("0").rstrip(".") if "." in percent else percent) + "%"
