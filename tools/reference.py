"""The reference of the documentation, from docstrings and signatures of what is installed.

    python -m tools.reference            check that every public name has its place
    python -m tools.reference DIRECTORY  write the pages (reStructuredText, for Sphinx)

What a compiled module has of signatures and types is in its stub, beside it; docstrings are asked
of the objects.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from pathlib import Path
from typing import Dict, List, Set

from tools.reference_cython import cython_page
from tools.reference_entries import Entry
from tools.reference_markup import block, heading
from tools.reference_pages import PAGES, Page, missing, public_names, superfluous
from tools.reference_source import aliases


def main(arguments: List[str]) -> None:
    """Check or write."""
    problems = [f"{name} has no place in the reference" for name in sorted(missing())]
    problems += [f"{name} is not public any more" for name in sorted(superfluous())]
    if problems:
        sys.exit("\n".join([*problems, "(PAGES in tools/reference_pages.py)"]))
    for directory in arguments:
        write(Path(directory))


def undocumented() -> Set[str]:
    """Return the public names, and those of their members, about which nothing is said."""
    homes = public_names()
    placed = (name for page in PAGES for name in page.names)
    return {each for name in placed for each in Entry(name, homes[name]).undocumented()}


def write(directory: Path) -> None:
    """Write all pages; a page that has not changed keeps its time, so that Sphinx skips it."""
    directory.mkdir(parents=True, exist_ok=True)
    homes = public_names()
    texts = {page.name: rendered(page, homes) for page in PAGES}
    texts["types"] = types_page("".join(texts.values()))
    texts["cython"] = cython_page()
    for name, text in texts.items():
        path = directory / f"{name}.rst"
        if not path.is_file() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
    for path in directory.glob("*.rst"):
        if path.stem not in texts:
            path.unlink()


def rendered(page: Page, homes: Dict[str, List[str]]) -> str:
    """Return one page."""
    intro = page.intro
    if page.name == "errors":
        # The tree that the docstring of the module draws.
        intro = inspect.getdoc(importlib.import_module("picows_codec.errors")) or ""
    parts = [heading(page.title, "="), f"{intro}\n\n"]
    parts += [Entry(name, homes[name]).text() for name in page.names]
    return "".join(parts)


def types_page(text: str) -> str:
    """Return the page about the types that signatures of other pages name and no module exports."""
    signatures = "\n".join(re.findall(r"^ *(?:\.\. py:|:type:).*", text, re.MULTILINE))
    named = set(re.findall(r"\w+", signatures))
    found = {name: each.type for name, each in aliases().items() if name in named}
    parts = [
        heading("Types in signatures", "="),
        "Names for what stands behind them; no module exports them.\n\n",
    ]
    parts += [
        block("py:type", [name], f":canonical: {found[name]}", "")
        for name in sorted(found.keys() - public_names().keys())
    ]
    return "".join(parts)


if __name__ == "__main__":
    main(sys.argv[1:])
