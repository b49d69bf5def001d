"""The page of the reference about the C-level API, from the .pxd files."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from textwrap import indent
from typing import Iterator, List, Tuple

from tools.reference_markup import heading

ROOT = Path(__file__).resolve().parents[1]
PXD = ROOT / "packages" / "picows-codec" / "src" / "picows_codec"
TITLE = "C-level API"

# Files of the C-level API, in the order of the tiers.
STABLE = ("constants", "enums", "mask", "utf8", "close", "frame_header")
GATED = ("parser", "frames", "transport", "listener", "batch", "prepared", "broadcasting", "tap")


def cython_page() -> str:
    """Return the page about the C-level API: what its .pxd files declare for others."""
    intro = "What another extension may cimport, from ``picows_codec`` or from the file itself.\n"
    intro += ":doc:`../embedding` says what each tier promises.\n\n"
    parts = [heading(TITLE, "="), intro]
    for tier, files in (("Stable tier", STABLE), ("Gated tier", GATED)):
        parts.append(heading(tier, "-"))
        for name in files:
            text = (PXD / f"{name}.pxd").read_text("utf-8")
            about, declarations = public_declarations(text)
            parts.append(heading(f"picows_codec.{name}", "^"))
            parts.append(f"{about}\n\n.. code-block:: cython\n\n{indent(declarations, '   ')}\n\n")
    return "".join(parts)


def public_declarations(text: str) -> Tuple[str, str]:
    """Return the docstring of a .pxd file, and its declarations without private ones and bodies."""
    match = re.match(r'"""(.*?)"""\n', text, re.DOTALL)
    about = inspect.cleandoc(match[1]) if match else ""
    text = text[match.end() if match else 0 :]
    text = re.sub(r"^(cimport|from) [^\n(]*(\([^)]*\))?\n", "", text, flags=re.MULTILINE)
    kept: List[str] = []
    for whole in statements(text):
        statement = whole
        comments = [line for line in statement if line.lstrip().startswith("#")]
        code = [line for line in statement if line not in comments]
        if not code:
            continue
        head = " ".join(code)
        if re.match(r"cdef inline ", head):  # without its body
            end = next(i for i, line in enumerate(code) if line.endswith(":"))
            statement = [*comments, *code[:end], code[end].rstrip(":")]
            head = " ".join(code[: end + 1])
        if re.match(r"c(p)?def (class _|(?!class|struct|enum)[^(=]*\b_\w+\()", head):
            continue
        kept.append("\n".join(public_lines(statement)))
    return about, "\n\n".join(kept)


def public_lines(statement: List[str]) -> List[str]:
    """Return a statement without private members and the comments above them."""
    kept: List[str] = []
    comments: List[str] = []
    for line in statement:
        if line.lstrip().startswith("#"):
            comments.append(line)
        elif re.match(r"\s+[^#(]*\b_\w+", line):
            comments = []
        else:
            kept += [*comments, line]
            comments = []
    return kept


def statements(text: str) -> Iterator[List[str]]:
    """Yield each statement at the margin with the comment above it, and without empty lines."""
    statement: List[str] = []
    has_code = False
    for line in text.splitlines():
        if not line.strip():
            continue
        begins = line[0] not in " )"
        if begins and has_code:
            yield statement
            statement, has_code = [], False
        statement.append(line)
        has_code = has_code or line[0] not in "#@"
    if statement:
        yield statement
