"""reStructuredText for the pages of the reference."""

from __future__ import annotations

import re
from textwrap import indent
from typing import Iterable, List


def heading(text: str, line: str) -> str:
    """Return a heading."""
    return f"{text}\n{line * len(text)}\n\n"


def block(directive: str, signatures: Iterable[str], options: str, body: str) -> str:
    """Return a directive of Sphinx with its content."""
    first, *others = signatures
    lines = f".. {directive}:: {first}\n"
    lines += "".join(f"{' ' * (len(directive) + 6)}{other}\n" for other in others)
    lines += indent(f"{options}\n", "   ") if options else ""
    return f"{lines}\n{indent(body, '   ')}\n"


def listed(text: str) -> str:
    """Return a docstring with its table of options (a name, its default, a text) as a list."""
    lines: List[str] = []
    is_item, depth = False, 0
    for line in text.splitlines():
        item = re.match(r"( *)``\w+`` \([^)]*\): ", line)
        if item:
            lines += [] if is_item else [""]
            lines.append(f"{item[1]}- {line.strip()}")
            is_item, depth = True, len(item[1])
        elif is_item and line.startswith(" " * (depth + 1)):
            lines.append(f"{' ' * depth}  {line.strip()}")
        else:
            lines += ["", line] if is_item and line.strip() else [line]
            is_item = False
    return "\n".join(lines)
