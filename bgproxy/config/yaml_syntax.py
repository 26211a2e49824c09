"""What YAML's parser complains about, as faults that say what to do.

The parser tells where it gave up and what it hoped for. What people got wrong is mostly one of a
few things, told by the characters at that place.
"""

from __future__ import annotations

import yaml

from bgproxy.errors import Fault

_WORDS = {
    "did not find expected node content": "no value can begin like this",
    "found character that cannot start any token": "no value can begin with this character",
    "mapping values are not allowed in this context": "a key with a value cannot stand here",
    "did not find expected alphabetic or numeric character": "* and & need a name behind them",
    "exceeded maximum nesting depth": "this is nested too deep",
    "found unexpected end of stream": "the closing quote is missing",
    "found unknown escape character": "this escape is not known",
    "found incompatible YAML document": "this version of YAML is not known",
    "found unknown directive name": "this directive is not known",
    "found undefined tag handle": "this tag is not known",
    "could not find expected ':'": "a ':' is missing",
    "did not find expected key": "a key was expected here",
    "did not find expected '-' indicator": "a '-' was expected here",
    "did not find expected ',' or ']'": "the list that begins in line {line} does not end",
    "did not find expected ',' or '}'": "the {{ of line {line} is not closed",
}

# The first whose word is in what the parser says, or whose characters stand at the place, helps.
_REMEDIES_BY_PLACE = (
    ("${", 'put "${NAME}" in quotes where it stands inside { } or [ ]'),
    ("[:", 'put an address that begins with [ in quotes, as in "[::1]:8080"'),
    ("*", 'put text that begins with * in quotes, as in "*.example.com"'),
    ("\t", "indent with spaces, not with tabs"),
)
_REMEDIES_BY_WORD = (
    ("escape", "write \\\\ for a backslash, or use single quotes"),
    ("quoted scalar", "close the quotes"),
    ("nesting depth", "nest less"),
    ("directive", "remove the line"),
    ("incompatible", "remove the line %YAML"),
    ("tag", "remove the tag"),
    ("flow sequence", "separate values with commas and close the ["),
    ("flow mapping", "separate keys with commas and close the {"),
    ("mapping values", "put text that has ': ' in it in quotes; align the keys of one mapping"),
    ("block", "give everything that belongs together the same indentation"),
    ("simple key", "write key: value"),
)
_REMEDY = "put text that begins with a special character in quotes"


def syntax_fault(error: yaml.MarkedYAMLError, text: str) -> Fault:
    """Explain a syntax error.

    Args:
        error: as the scanner or the parser raised it.
        text: what was parsed.
    """
    context, problem = error.context or "", error.problem or "this is not YAML"
    began_there = any(word in context for word in ("quoted scalar", "alias", "anchor", "directive"))
    mark = (error.context_mark if began_there else None) or error.problem_mark
    if mark is None:
        return Fault("", problem, _REMEDY, line=1, column=1)
    began = (error.context_mark or mark).line + 1
    said = _WORDS.get(problem)
    return Fault(
        "",
        said.format(line=began) if said else problem,
        _remedy(f"{context} {problem}", _places(text, mark.line, mark.column)),
        line=mark.line + 1,
        column=mark.column + 1,
    )


def _places(text: str, line: int, column: int) -> tuple[str, str]:
    """The character at a place with the one before it, and alone."""
    lines = text.split("\n")
    if line >= len(lines):
        return ("", "")
    return lines[line][max(0, column - 1) : column + 1], lines[line][column : column + 1]


def _remedy(said: str, places: tuple[str, str]) -> str:
    for characters, remedy in _REMEDIES_BY_PLACE:
        if characters in places:
            return remedy
    return next((remedy for word, remedy in _REMEDIES_BY_WORD if word in said), _REMEDY)


def character_fault(error: yaml.reader.ReaderError, text: str) -> Fault:
    """Explain a character that YAML does not allow."""
    line = text.count("\n", 0, error.position) + 1
    column = error.position - text.rfind("\n", 0, error.position)
    return Fault(
        "",
        f"the character U+{error.character:04X} is not allowed in YAML",
        'remove it, or write it as an escape in double quotes, such as "\\x07"',
        line=line,
        column=column,
    )
