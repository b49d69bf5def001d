"""JSON with line breaks and indentation, and in colour.

The text of each number and string stays as the peer wrote it: reading values and writing them
again would round prices and join keys that are there twice.
"""

from __future__ import annotations

import json
import re
from typing import Iterator, List, Optional

from picows_client.cli.terminal_text import harmless

__all__ = ["pretty_json"]

_PART = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')
_MOST_LEVELS = 100  # deeper ones would mostly be indentation
_KEY, _STRING, _NUMBER, _WORD = "34;1", "32", "36", "35"  # of ECMA-48's "select graphic rendition"


def pretty_json(
    text: str, *, is_for_terminal: bool = False, is_coloured: bool = False
) -> Optional[str]:
    """Return the text laid out in lines, or None if it is no JSON or nested too deeply.

    :param is_for_terminal: whether to make it :func:`harmless`.
    """
    try:
        # Numbers are not converted, because those of some thousand digits are refused.
        json.loads(text, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return None
    shown = harmless(text) if is_for_terminal else text
    try:
        return "".join(_laid_out(_PART.findall(shown), is_coloured=is_coloured))
    except RecursionError:
        return None


def _laid_out(parts: List[str], *, is_coloured: bool) -> Iterator[str]:
    depth = 0
    for previous, part, following in zip(["", *parts], parts, [*parts[1:], ""]):
        if part in "{[":
            yield part
            if following not in ("}", "]"):
                depth += 1
                if depth > _MOST_LEVELS:
                    raise RecursionError
                yield "\n" + "  " * depth
        elif part in "}]":
            if previous not in ("{", "["):
                depth -= 1
                yield "\n" + "  " * depth
            yield part
        elif part == ",":
            yield ",\n" + "  " * depth
        elif part == ":":
            yield ": "
        elif is_coloured:
            yield f"\x1b[{_colour_of(part, following)}m{part}\x1b[0m"
        else:
            yield part


def _colour_of(part: str, following: str) -> str:
    if part.startswith('"'):
        return _KEY if following == ":" else _STRING
    return _WORD if part in ("true", "false", "null") else _NUMBER
